//! The transport in memory, as a user tests a protocol with it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use actix_acceptor::transport::{Memory, MemoryConnector, TransportKind};
use actix_acceptor::{
    handlers::ProtocolService,
    limits::{BacklogPolicy, Rule},
    telemetry::{CloseReason, RefusalReason},
    AcceptorPool, Builder, Connection, Drain, Framing, Pool, SuspendMode, Timeout,
};
use support::*;
use tokio::io::DuplexStream;
use tokio::time::{timeout, Instant};

fn echo() -> Builder<ProtocolService<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw())
}

async fn in_memory(builder: Builder<ProtocolService<Echo>>) -> (Pool<Connection<Echo>>, MemoryConnector) {
    let (memory, connector) = Memory::new("test");
    (in_time(builder.listen(memory)).await.unwrap(), connector)
}

async fn dial(connector: &MemoryConnector) -> Peer<DuplexStream> {
    Peer(in_time(connector.connect()).await.unwrap())
}

#[actix::test]
async fn memory_peers_are_served_counted_and_numbered() {
    let (pool, connector) = in_memory(echo().acceptors(2)).await;
    assert_eq!((pool.name(), &*pool.local_addrs()[0].url()), ("test", "other://test"));
    let mut peers = Vec::new();
    for number in 0..20 {
        let mut peer = dial(&connector).await;
        peer.echo(format!("peer {number}")).await;
        peers.push(peer);
    }
    let mut names: Vec<_> = pool.list().iter().map(|connection| connection.peer.to_string()).collect();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), pool.info().accepted), (20, 20));
    assert!(names.contains(&"test/20".to_owned()), "{names:?}");
    let report = in_time(pool.stop(Duration::from_secs(5))).await;
    assert_eq!((report.asked, report.finished), (20, 20));
    for mut peer in peers {
        assert_eq!(peer.read_to_end().await, b"");
    }
    assert_eq!(connector.connect().await.unwrap_err().kind(), ErrorKind::ConnectionRefused, "the pool is gone");
}

#[test]
fn an_hour_of_idle_time_passes_at_once_on_a_paused_clock() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| {
            assert_eq!((conn.transport(), conn.peer_credentials()), (TransportKind::Other, None));
            protocol_default(call)
        });
        let (memory, connector) = Memory::new("test");
        let hour = Duration::from_secs(3_600);
        let _pool = builder.idle_timeout(hour).on_current_arbiter().listen(memory).await.unwrap();
        let mut peer = Peer(connector.connect().await.unwrap());
        peer.send("x").await;
        let spoke = callbacks.until(&Call::packet("x")).await;
        let (call, at) = callbacks.next_ever().await;
        assert_eq!(call, Call::Timeout(Timeout::Idle));
        assert!((hour..hour * 11 / 10).contains(&(at - spoke)), "{:?}", at - spoke);
        assert_eq!(callbacks.closed().await.0, CloseReason::Idle);
        assert_eq!(peer.read_to_end().await, b"");
    });
}

#[actix::test]
async fn a_suspension_refuses_or_holds_peers_in_memory() {
    let (pool, connector) = in_memory(echo()).await;
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    assert_eq!(connector.connect().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    in_time(pool.resume()).await.unwrap();
    dial(&connector).await.echo("resumed").await;
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    let mut held = dial(&connector).await;
    held.send("held").await;
    assert_eq!(pool.info().accepted, 1);
    in_time(pool.resume()).await.unwrap();
    held.expect(b"held").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[test]
fn while_the_queue_is_full_connecting_waits() {
    paused(async {
        let (memory, connector) = Memory::bounded("small", 2);
        let pool = echo().on_current_arbiter().listen(memory).await.unwrap();
        pool.suspend(SuspendMode::Hold).await.unwrap();
        let _queued = (connector.connect().await.unwrap(), connector.connect().await.unwrap());
        let began = Instant::now();
        assert!(timeout(Duration::from_secs(60), connector.connect()).await.is_err(), "no place in the queue");
        assert!(began.elapsed() >= Duration::from_secs(60));
        let (third, resumed) = tokio::join!(connector.connect(), pool.resume());
        resumed.unwrap();
        Peer(third.unwrap()).echo("third").await;
        // A peer that waits while the port closes is refused.
        pool.suspend(SuspendMode::Hold).await.unwrap();
        let _queued = (connector.connect().await.unwrap(), connector.connect().await.unwrap());
        let (late, _) = tokio::join!(connector.connect(), pool.drain(Drain::immediate()));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[actix::test]
async fn the_backlog_policy_applies_to_memory() {
    for (backlog_on_close, accepted, unserved) in
        [(BacklogPolicy::Accept, 1, 0), (BacklogPolicy::Refuse, 1, 1), (BacklogPolicy::Drop, 0, 0)]
    {
        let (pool, connector) = in_memory(echo().acceptors(1)).await;
        in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
        let mut queued = dial(&connector).await;
        let report = in_time(pool.drain(Drain::grace(Duration::from_secs(5)).backlog_on_close(backlog_on_close))).await;
        assert_eq!((pool.info().accepted, report.unserved), (accepted, unserved), "{backlog_on_close:?}");
        assert_eq!(queued.read_to_end().await, b"", "{backlog_on_close:?}");
    }
}

#[actix::test]
async fn a_small_buffer_makes_both_sides_wait() {
    let (pool, connector) = in_memory(echo()).await;
    let mut peer = Peer(in_time(connector.buffer(16).connect()).await.unwrap());
    for _ in 0..100 {
        peer.echo("0123456789abcdef").await;
    }
    let all = vec![b'x'; 100_000];
    let (mut read, mut write) = tokio::io::split(peer.0);
    let mut back = vec![0; all.len()];
    let sending = tokio::io::AsyncWriteExt::write_all(&mut write, &all);
    let receiving = tokio::io::AsyncReadExt::read_exact(&mut read, &mut back);
    in_time(async { tokio::try_join!(sending, receiving).unwrap() }).await;
    assert!(back == all);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_new_acceptor_takes_over_the_queue() {
    let (pool, connector) = in_memory(echo().acceptors(1)).await;
    for _ in 0..3 {
        eventually(|| !pool.acceptors().is_empty()).await;
        let acceptor = pool.acceptors().remove(0);
        let _ = in_time(acceptor.send(Crash)).await;
        dial(&connector).await.echo("after a crash").await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn memory_peers_with_an_address_are_limited_by_it() {
    let rules = [Rule::deny("192.0.2.0/24").unwrap()];
    let (pool, connector) = in_memory(echo().max_per_peer(1).rules(rules)).await;
    let from = |address: &str| connector.connect_from(address.parse::<SocketAddr>().unwrap());
    let mut first = Peer(in_time(from("10.0.0.7:1")).await.unwrap());
    first.echo("first").await;
    assert_eq!(pool.list()[0].peer.to_string(), "10.0.0.7:1");
    assert_eq!(Peer(in_time(from("10.0.0.7:2")).await.unwrap()).read_to_end().await, b"", "the second of its address");
    assert_eq!(Peer(in_time(from("192.0.2.1:1")).await.unwrap()).read_to_end().await, b"", "denied");
    Peer(in_time(from("10.0.0.8:1")).await.unwrap()).echo("another").await;
    let refused = pool.info().refused;
    assert_eq!((refused.get(RefusalReason::PerPeer), refused.get(RefusalReason::Denied)), (1, 1));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[test]
fn accept_errors_on_demand_precede_the_queued_peers() {
    paused(async {
        let (memory, connector) = Memory::new("test");
        let pool = echo().on_current_arbiter().listen(memory).await.unwrap();
        let began = Instant::now();
        // Of one connection: the next one is accepted at once.
        connector.fail_accept(ErrorKind::ConnectionAborted.into());
        dial(&connector).await.echo("accepted").await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        // Of a resource: after a pause.
        connector.fail_accept(ErrorKind::OutOfMemory.into());
        dial(&connector).await.echo("accepted after a pause").await;
        assert!((100..=550).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
        // Of the listener: by another acceptor.
        connector.fail_accept(ErrorKind::NotConnected.into());
        dial(&connector).await.echo("accepted by another").await;
        assert_eq!(pool.info().acceptors[0].restarts, 1);
        // A closed transport forgets its errors.
        pool.suspend(SuspendMode::Hold).await.unwrap();
        connector.fail_accept(ErrorKind::NotConnected.into());
        pool.suspend(SuspendMode::Close).await.unwrap();
        pool.resume().await.unwrap();
        dial(&connector).await.echo("accepted by the same").await;
        assert_eq!(pool.info().acceptors[0].restarts, 1);
    });
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Crash;

impl actix::Handler<Crash> for actix_acceptor::Acceptor {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Self::Context) {
        panic!("the test asked for it");
    }
}

#[actix::test]
async fn other_threads_may_connect() {
    let (pool, connector) = in_memory(echo().acceptors(2)).await;
    let threads = (0..4).map(|_| {
        let connector = connector.clone();
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for _ in 0..50 {
                    dial(&connector).await.echo("from elsewhere").await;
                }
            });
        })
    });
    for done in in_time(futures::future::join_all(threads)).await {
        done.unwrap();
    }
    assert_eq!(pool.info().accepted, 200);
    in_time(pool.stop(Duration::ZERO)).await;
}
