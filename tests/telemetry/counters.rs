//! What a pool says: counters that always add up, and one log line per ending.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_acceptor::transport::Tcp;
use actix_acceptor::{info::PoolInfo, limits::OverRate, telemetry::CloseReason};
use actix_acceptor::{AcceptorPool, Connection, Framing, Pool, Socket};
use actix_acceptor::{Conn, Next, Protocol};
use bytes::Bytes;
use futures::future::join_all;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[actix::test]
async fn accepted_is_connections_plus_closed_at_every_moment() {
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let (address, done) = (pool.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let churn: Vec<_> = (0..4)
        .map(|_| {
            let done = done.clone();
            std::thread::spawn(move || {
                while !done.load(Relaxed) {
                    BlockingPeer::connect(address).echo("hello");
                }
            })
        })
        .collect();
    let mut last = pool.info();
    let looks = tokio::task::spawn_blocking({
        let pool = pool.untyped();
        move || {
            let started = Instant::now();
            while last.accepted < 1_000 {
                assert!(started.elapsed() < TIME_LIMIT);
                let info = pool.info();
                assert_adds_up(&info);
                assert!(info.accepted >= last.accepted && info.closed.total() >= last.closed.total());
                assert!(info.bytes_in >= last.bytes_in && info.bytes_out >= last.bytes_out);
                last = info;
            }
        }
    });
    looks.await.unwrap();
    done.store(true, Relaxed);
    churn.into_iter().for_each(|thread| thread.join().unwrap());
    eventually(|| pool.connections() == 0).await;
    let info = pool.info();
    assert_adds_up(&info);
    assert_eq!((info.closed.get(CloseReason::Peer), info.bytes_in), (info.accepted, 5 * info.accepted));
    assert_eq!(info.bytes_out, info.bytes_in);
    in_time(pool.stop(None)).await;
    assert_eq!(pool.info().accepted, info.accepted, "the numbers outlive the pool");
}

fn assert_adds_up(info: &PoolInfo) {
    assert_eq!(info.accepted, info.connections + info.closed.total(), "{info:?}");
    assert_eq!(info.connections, info.acceptors.iter().map(|acceptor| acceptor.connections).sum::<u64>());
    assert_eq!(info.closed.total(), info.closed.iter().map(|(_, count)| count).sum::<u64>());
}

#[actix::test]
async fn bytes_are_counted_to_the_last_prefix_included() {
    let builder = AcceptorPool::with_protocol(|_| Echo).framing(Framing::len2()).acceptors(2);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peers = join_all((0..10).map(|_| connect(&pool))).await;
    for (number, peer) in peers.iter_mut().enumerate() {
        let packet = vec![1; 1000 * number];
        let prefixed = [&(packet.len() as u16).to_be_bytes()[..], &packet].concat();
        peer.echo(&prefixed).await;
        // Half a packet is counted as well.
        peer.send([0]).await;
    }
    let (bytes_in, bytes_out) = (10 * 3 + 45_000, 10 * 2 + 45_000);
    eventually(|| (pool.info().bytes_in, pool.info().bytes_out) == (bytes_in, bytes_out)).await;
    let list = pool.list();
    for (info, peer) in
        list.iter().map(|info| (info, peers.iter().position(|p| info.peer.socket() == Some(p.address()))))
    {
        let number = peer.unwrap() as u64;
        assert_eq!((info.bytes_in, info.bytes_out), (1000 * number + 3, 1000 * number + 2));
    }
    assert_eq!((pool.info().packets, pool.info().unsent), (10, 0));
    drop(peers);
    eventually(|| pool.connections() == 0).await;
    assert_eq!((pool.info().bytes_in, pool.info().bytes_out), (bytes_in, bytes_out), "closed ones count on");
    assert_eq!(pool.info().packets, 10);
    in_time(pool.stop(None)).await;
}

const SECRET: &str = "s3cret";
/// How many packets a connection may send.
const RATE: u32 = 20;

/// Every way for a connection without a handshake to end, and how often: another number for each.
fn ways() -> impl Iterator<Item = (CloseReason, usize)> {
    let plain = |reason: &CloseReason| !matches!(reason, CloseReason::Handshake | CloseReason::Truncated);
    // Ten lines a second and reason are written, except for those at the debug level: no more than that end for one.
    let times = [13, 10, 1, 2, 3, 4, 8, 5, 6, 7, 14, 9, 12, 15, 11];
    CloseReason::ALL.iter().copied().filter(plain).zip(times)
}

/// Ends connections in every way, each several times; returns how each peer's ended. The others end with the pool.
async fn end_in_every_way(
    pool: &Pool<Connection<EndOnRequest>>,
    aged: &Pool<Connection<EndOnRequest>>,
) -> Vec<(SocketAddr, CloseReason)> {
    let mut ended = Vec::new();
    let mut peers = Vec::new();
    for (reason, times) in ways() {
        for _ in 0..times {
            let mut peer = connect(if reason == CloseReason::MaxAge { aged } else { pool }).await;
            ended.push((peer.address(), reason));
            peer.echo(format!("{SECRET}\n")).await;
            match reason {
                CloseReason::Peer => peer.finish().await,
                CloseReason::PacketTimeout => peer.send(format!("packet_timeout\n{SECRET}")).await,
                CloseReason::PacketRate => peer.send(format!("{SECRET}\n").repeat(RATE as usize)).await,
                CloseReason::TooLong => peer.send(SECRET.repeat(100)).await,
                CloseReason::Killed => {
                    let list = pool.list();
                    let me = list.iter().find(|info| info.peer.socket() == Some(peer.address())).unwrap();
                    assert!(pool.kill(me.id));
                }
                CloseReason::MaxAge | CloseReason::Shutdown => {}
                reason => peer.send(format!("{}\n", reason.name())).await,
            }
            peers.push(peer);
        }
    }
    // One that stays until the end takes the name over from the last that is to be replaced.
    let stays = ended.iter().position(|(_, reason)| *reason == CloseReason::Shutdown).unwrap();
    peers[stays].send("replaced\n").await;
    let (_, shut) = ways().find(|(reason, _)| *reason == CloseReason::Shutdown).unwrap();
    eventually(|| pool.connections() == shut && aged.connections() == 0).await;
    in_time(pool.stop(TIME_LIMIT)).await;
    ended
}

async fn ending_pools(name: &str) -> (Pool<Connection<EndOnRequest>>, Pool<Connection<EndOnRequest>>) {
    let builder = || AcceptorPool::with_protocol(|_| EndOnRequest).framing(Framing::lines()).max_frame(64).acceptors(2);
    let builder = || builder().packet_rate(RATE, Duration::from_secs(3_600), OverRate::Close);
    let pool = builder().name(name).send_timeout(Duration::from_millis(100)).bind("127.0.0.1:0").await.unwrap();
    let aged = builder().name(format!("{name}, aged")).max_age(Duration::from_millis(200));
    (pool, aged.bind("127.0.0.1:0").await.unwrap())
}

#[actix::test]
async fn every_reason_is_counted_exactly() {
    let (pool, aged) = ending_pools("counted").await;
    end_in_every_way(&pool, &aged).await;
    for (reason, times) in ways() {
        let pool = if reason == CloseReason::MaxAge { &aged } else { &pool };
        assert_eq!(pool.info().closed.get(reason), times as u64, "{reason:?}");
    }
    assert_eq!(aged.info().closed.total(), aged.info().closed.get(CloseReason::MaxAge));
    assert_adds_up(&pool.info());
    in_time(aged.stop(None)).await;
}

/// The level at which an ending is logged.
fn level(reason: CloseReason) -> tracing::Level {
    use CloseReason::*;
    match reason {
        Panic => tracing::Level::ERROR,
        Error => tracing::Level::WARN,
        Idle | PacketTimeout | SendTimeout | TooLong | PacketRate | MaxAge | Truncated | SlowConsumer => {
            tracing::Level::INFO
        }
        _ => tracing::Level::DEBUG,
    }
}

#[actix::test]
async fn each_ending_logs_one_line_without_payload() {
    logs::listen();
    let (pool, aged) = ending_pools("logged").await;
    let ended = end_in_every_way(&pool, &aged).await;
    let ours = |line: &logs::Line| {
        let listener = line.fields.get("listener").or(line.fields.get("pool"));
        listener.is_some_and(|listener| listener.starts_with("logged"))
    };
    assert!(ended.len() > 60);
    for (peer, reason) in ended {
        let peer = peer.to_string();
        // The same port may have gone to either pool: each has a peer of its own by it.
        let listener = if reason == CloseReason::MaxAge { "logged, aged" } else { "logged" };
        let of_listener = |line: &logs::Line| line.is("listener", listener) && line.fields.contains_key("reason");
        let lines = logs::lines(|line| of_listener(line) && line.is("peer", &peer));
        assert_eq!(lines.len(), 1, "{peer} {reason:?}: {lines:?}");
        assert!(lines[0].is("reason", reason.name()), "{reason:?}: {lines:?}");
        assert_eq!((lines[0].level, lines[0].message()), (level(reason), "connection closed"));
    }
    for line in logs::lines(ours) {
        assert!(!format!("{line:?}").contains(SECRET), "{line:?}");
    }
    in_time(aged.stop(None)).await;
}

#[actix::test]
async fn each_socket_ending_logs_one_line() {
    async fn fails(mut socket: Socket) -> std::io::Result<()> {
        let mut word = [0; 6];
        socket.read_exact(&mut word).await?;
        socket.write_all(&word).await?;
        Err(std::io::Error::other("as asked"))
    }
    logs::listen();
    let pool = AcceptorPool::with_fn(fails).name("a logged socket").bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo(SECRET).await;
    let (address, _) = (peer.address().to_string(), peer.until_gone().await);
    eventually(|| pool.connections() == 0).await;
    let lines = logs::lines(|line| line.is("listener", "a logged socket") && line.is("peer", &address));
    let endings: Vec<_> = lines.iter().filter(|line| line.is("reason", "error")).collect();
    assert_eq!(endings.len(), 1, "{lines:?}");
    assert_eq!((endings[0].level, endings[0].message()), (tracing::Level::WARN, "connection closed"));
    assert!(endings[0].is("detail", "as asked"), "{endings:?}");
    assert!(lines.iter().all(|line| !format!("{line:?}").contains(SECRET)));
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn the_log_line_has_the_number_of_lost_bytes() {
    const LENGTH: usize = 16 << 20;
    struct Greets;
    impl Protocol for Greets {
        type Codec = Framing;
        type Reply = Bytes;
        type User = ();
        fn ack(&mut self, _: &mut Conn<Self>) -> Next<Self> {
            Next::Send(vec![0; LENGTH].into())
        }
        fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
            Next::Continue
        }
    }
    logs::listen();
    let builder = AcceptorPool::with_protocol(|_| Greets).framing(Framing::raw()).name("a slow reader");
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let peer = connect(&pool).await;
    eventually(|| pool.list().iter().any(|connection| connection.bytes_out > 0)).await;
    eventually(|| pool.info().unsent > 0 && pool.info().unsent == pool.list()[0].unsent).await;
    assert!(pool.kill(pool.list()[0].id));
    eventually(|| pool.info().closed.get(CloseReason::Killed) == 1).await;
    assert_eq!(pool.info().unsent, 0);
    let lines = logs::lines(|line| line.is("listener", "a slow reader") && line.is("reason", "killed"));
    let lost = LENGTH - usize::try_from(pool.info().bytes_out).unwrap();
    assert!(lines[0].is("detail", &format!("{lost} bytes were not sent")), "{lost}: {lines:?}");
    drop(peer);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn an_idle_socket_is_logged_as_an_idle_protocol_connection() {
    async fn reads(mut socket: Socket) -> std::io::Result<()> {
        socket.read_u8().await.map(|_| ())
    }
    logs::listen();
    let builder = AcceptorPool::with_fn(reads).name("an idle socket").idle_timeout(Duration::from_millis(50));
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    let (address, _) = (peer.address().to_string(), peer.until_gone().await);
    eventually(|| pool.info().closed.get(CloseReason::Idle) == 1).await;
    let lines = logs::lines(|line| line.is("listener", "an idle socket") && line.is("reason", "idle"));
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((line.level, line.message()), (level(CloseReason::Idle), "connection closed"));
    assert!(line.is("peer", &address) && line.is("left_out", "0"), "{line:?}");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_factory_panic_logs_one_line_with_peer_and_reason() {
    logs::listen();
    let builder = AcceptorPool::with_protocol(|_| -> Echo { panic!("as asked") });
    let pool = builder.name("a bad factory").bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    let address = peer.address().to_string();
    peer.until_gone().await;
    eventually(|| pool.info().closed.total() == 1).await;
    let lines = logs::lines(|line| {
        line.is("listener", "a bad factory") && line.is("peer", &address) && line.is("reason", "panic")
    });
    assert_eq!(lines.len(), 1, "{:?}", logs::lines(|line| line.is("peer", &address)));
    in_time(pool.stop(None)).await;
}

#[cfg(unix)]
#[actix::test]
async fn accept_errors_log_one_line_a_second_for_all_acceptors() {
    logs::listen();
    let (transport, script_handle) = ScriptedTransport::in_front_of(Tcp::bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let pool =
        AcceptorPool::with_protocol(|_| Echo).acceptors(4).name("out of descriptors").listen(transport).await.unwrap();
    let errors = 24;
    (0..errors).for_each(|_| script_handle.accept_fails(libc::EMFILE));
    eventually(|| script_handle.left() == 0).await;
    let lines = logs::lines(|line| {
        line.is("listener", "out of descriptors") && line.message() == "accept failed; retrying after a pause"
    });
    assert!(lines.len() >= 2, "{lines:?}");
    for pair in lines.windows(2) {
        // What is heard of a line is a little later than the line, on a busy machine.
        assert!(pair[1].at - pair[0].at >= Duration::from_millis(800), "{lines:?}");
    }
    let left_out: usize = lines.iter().map(|line| line.fields["left_out"].parse::<usize>().unwrap()).sum();
    assert!(left_out > 0 && left_out + lines.len() <= errors, "{lines:?}");
    assert_eq!(pool.info().accept_errors, errors as u64);
    connect(&pool).await.echo("at last").await;
    in_time(pool.stop(Duration::ZERO)).await;
}
