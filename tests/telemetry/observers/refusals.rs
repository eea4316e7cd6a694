//! Peers that are turned away: one word each, with the reason.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use actix_acceptor::{
    handlers::ProtocolService,
    limits::{AtLimit, BacklogPolicy, Rule},
    telemetry::RefusalReason,
    AcceptorPool, Builder, Drain, Pool, PoolHandle, SuspendMode,
};

use socket2::{Domain, Socket, Type};

use support::*;

const LONG: Duration = Duration::from_secs(3_600);

async fn observed(builder: Builder<ProtocolService<Echo>>) -> (PoolHandle, EventRecorder) {
    let observer = EventRecorder::new();
    let builder = builder.acceptors(1).name("refusing").observer(observer.clone());
    (builder.bind("127.0.0.1:0").await.unwrap().untyped(), observer)
}

fn refusals(observer: &EventRecorder) -> Vec<RecordedEvent> {
    observer.seen().into_iter().filter(|seen| matches!(seen, RecordedEvent::Refused { .. })).collect()
}

fn refused(peer: String, reason: RefusalReason) -> RecordedEvent {
    RecordedEvent::Refused { peer, listener: "refusing".to_owned(), reason }
}

/// Comes, and waits to be turned away: by a reset perhaps, that may be as early as the connection is. Answers from where.
fn connect_from_free_port<A>(pool: &Pool<A>) -> SocketAddr {
    let peer = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    peer.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = peer.local_addr().unwrap().as_socket().unwrap();
    peer.set_read_timeout(Some(TIME_LIMIT)).unwrap();
    let read = peer.connect(&pool.local_addr().unwrap().into()).and_then(|()| TcpStream::from(peer).read(&mut [0]));
    match read {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
    address
}

/// Admits that number and refuses the next three.
async fn refuses_three(builder: Builder<ProtocolService<Echo>>, admits: usize, reason: RefusalReason) {
    let (pool, observer) = observed(builder).await;
    let mut guests = Vec::new();
    for _ in 0..admits {
        let mut guest = connect(&pool).await;
        guest.echo("let in").await;
        guests.push(guest);
    }
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(refused(connect_from_free_port(&pool).to_string(), reason));
    }
    eventually(|| refusals(&observer).len() == 3).await;
    assert_eq!(refusals(&observer), expected);
    in_time(pool.stop(None)).await;
    assert_eq!((refusals(&observer).len(), observer.connections().len()), (3, 3 * admits), "{reason:?}");
    assert_eq!((pool.info().refused.get(reason), pool.info().refused.total()), (3, 3));
}

#[actix::test]
async fn refusals_are_reported_with_peer_and_listener() {
    let builder = || AcceptorPool::with_protocol(|_| Echo);
    refuses_three(builder().max_connections(2).at_limit(AtLimit::Close), 2, RefusalReason::Limit).await;
    refuses_three(builder().max_connections(1).at_limit(AtLimit::Reset), 1, RefusalReason::Limit).await;
    let hold = AtLimit::Hold(Duration::from_millis(20));
    refuses_three(builder().max_connections(1).at_limit(hold), 1, RefusalReason::Limit).await;
    refuses_three(builder().max_per_peer(2), 2, RefusalReason::PerPeer).await;
    refuses_three(builder().accept_rate(2, LONG), 2, RefusalReason::Rate).await;
    refuses_three(builder().peer_rate(1, LONG), 1, RefusalReason::Rate).await;
    refuses_three(builder().rules([Rule::deny("127.0.0.0/8").unwrap()]), 0, RefusalReason::Denied).await;
    refuses_three(builder().overload(|unserved_peer| unserved_peer.connections == 1), 1, RefusalReason::Overload).await;
}

#[actix::test]
async fn a_reserve_refusal_follows_its_accept_error() {
    let observer = EventRecorder::new();
    let (transport, script_handle) = ScriptedTransport::in_memory();
    let builder =
        AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("refusing").reserve_descriptor(true).watchdog(None);
    let pool = builder.observer(observer.clone()).listen(transport).await.unwrap();
    let (open, gate) = channel::<()>();
    script_handle.accept(move || {
        // Until the peer is there.
        gate.recv_timeout(TIME_LIMIT).unwrap();
        Err(std::io::Error::from_raw_os_error(libc::EMFILE))
    });
    let mut peer = script_handle.connect();
    open.send(()).unwrap();
    peer.until_gone().await;
    eventually(|| refusals(&observer).len() == 1).await;
    let error = RecordedEvent::AcceptError { listener: "refusing".to_owned(), acceptor: 0, code: Some(libc::EMFILE) };
    assert_eq!(observer.seen()[2..], [error, refused("memory".to_owned(), RefusalReason::Descriptors)]);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn peers_refused_by_a_drain_are_reported() {
    let (pool, observer) = observed(AcceptorPool::with_protocol(|_| Echo)).await;
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    let (mut peers, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let peer = connect(&pool).await;
        expected.push(refused(peer.address().to_string(), RefusalReason::Draining));
        peers.push(peer);
    }
    let report = in_time(pool.drain(Drain::grace(None).backlog_on_close(BacklogPolicy::Refuse))).await;
    assert_eq!((refusals(&observer), report.unserved), (expected, 3));
    assert_eq!(observer.connections(), []);
}
