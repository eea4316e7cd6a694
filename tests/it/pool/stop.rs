//! The stop of a pool: the port closes, all connections get a shutdown at once, the deadline ends the rest.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use actix_acceptor::{
    telemetry::CloseReason, AcceptorPool, Closed, Conn, Connection, ConnectionInfo, Framing, Next, Pool, Protocol,
};
use bytes::Bytes;
use futures::future::join_all;
use support::*;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::time::Instant;

/// What a connection does at a shutdown: named by its peer's last packet.
struct ShutdownAction {
    last_word: Bytes,
    told: UnboundedSender<(Instant, Option<Instant>)>,
    go: watch::Receiver<bool>,
    recorder: Recorder,
}

impl Protocol for ShutdownAction {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        self.last_word = packet.clone();
        Next::Send(packet)
    }

    fn shutdown(&mut self, deadline: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.told.send((Instant::now(), deadline)).unwrap();
        assert!(conn.is_draining());
        match &*self.last_word {
            b"go" => Next::SendAndStop(Bytes::from("bye")),
            b"wait" => {
                let mut go = self.go.clone();
                let gone = async move { go.wait_for(|go| *go).await.is_ok() };
                conn.wait(gone, |_, _, _| Next::Stop)
            }
            _ => Next::Continue,
        }
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.recorder.note(why);
    }
}

struct StopTest {
    pool: Pool<Connection<ShutdownAction>>,
    told: UnboundedReceiver<(Instant, Option<Instant>)>,
    go: watch::Sender<bool>,
    closings: Closings,
}

async fn start_test() -> StopTest {
    let (telling, told) = unbounded_channel();
    let (go, going) = watch::channel(false);
    let (recorder, closings) = Recorder::new();
    let factory = move |_: &_| ShutdownAction {
        last_word: Bytes::new(),
        told: telling.clone(),
        go: going.clone(),
        recorder: recorder.clone(),
    };
    let pool = AcceptorPool::with_protocol(factory).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    StopTest { pool, told, go, closings }
}

impl StopTest {
    async fn peers(&self, count: usize, word: &str) -> Vec<Peer> {
        let mut peers = join_all((0..count).map(|_| connect(&self.pool))).await;
        join_all(peers.iter_mut().map(|peer| peer.echo(word))).await;
        peers
    }
}

async fn refused<A>(pool: &Pool<A>) -> bool {
    match TcpStream::connect(pool.local_addr().unwrap()).await {
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

#[actix::test]
async fn shutdown_is_called_on_all_connections_at_once() {
    let mut start_test = start_test().await;
    let mut peers = start_test.peers(200, "wait").await;
    let pool = start_test.pool.clone();
    let asked = Instant::now();
    let grace = Duration::from_secs(60);
    let stopping = actix_rt::spawn(async move { pool.stop(grace).await });
    // No connection ends before all got their shutdown; otherwise the last one would never arrive.
    let mut moments = Vec::new();
    for _ in 0..200 {
        let (moment, deadline) = in_time(start_test.told.recv()).await.unwrap();
        moments.push(moment);
        assert!((grace..grace + Duration::from_secs(5)).contains(&(deadline.unwrap() - asked)));
    }
    let spread = *moments.iter().max().unwrap() - *moments.iter().min().unwrap();
    assert!(spread < Duration::from_millis(250), "{spread:?}");
    assert_eq!(start_test.pool.connections(), 200);
    assert!(refused(&start_test.pool).await, "the port is closed by now");
    assert!(start_test.pool.status() == actix_acceptor::info::Status::Draining);
    start_test.go.send(true).unwrap();
    let report = in_time(stopping).await.unwrap();
    assert_eq!((report.asked, report.finished, report.forced), (200, 200, 0));
    for peer in &mut peers {
        assert_eq!(peer.read_to_end().await, b"");
    }
    assert_eq!(start_test.pool.info().closed.get(CloseReason::Shutdown), 200);
}

#[actix::test]
async fn a_stop_ends_connections_at_the_deadline_not_before() {
    let mut start_test = start_test().await;
    let mut going = start_test.peers(3, "go").await;
    let mut staying = start_test.peers(2, "stay").await;
    let mut waiting = start_test.peers(1, "wait").await;
    let (grace, asked) = (Duration::from_millis(300), Instant::now());
    let report = in_time(start_test.pool.stop(grace)).await;
    assert!(asked.elapsed() >= grace);
    assert!(asked.elapsed() < grace + Duration::from_secs(1), "blocked arbiters alone are waited for longer");
    assert_eq!((report.asked, report.finished, report.forced), (6, 3, 3));
    for peer in &mut going {
        assert_eq!(peer.read_to_end().await, b"bye");
    }
    for peer in staying.iter_mut().chain(&mut waiting) {
        assert_eq!(peer.until_gone().await, b"");
    }
    for reason in [CloseReason::Shutdown; 3].into_iter().chain([CloseReason::Killed; 3]) {
        assert_eq!(start_test.closings.reason().await, reason);
    }
    assert!(start_test.closings.is_empty());
    assert_eq!(start_test.told.len(), 6, "each was told once");
}

#[actix::test]
async fn a_connection_may_go_on_being_served_until_the_deadline() {
    let leave: [fn(Peer); 2] = [drop, Peer::reset];
    for leave in leave {
        let mut start_test = start_test().await;
        let mut peer = start_test.peers(1, "stay").await.remove(0);
        let pool = start_test.pool.clone();
        let stopping = actix_rt::spawn(async move { pool.stop(Duration::from_secs(60)).await });
        in_time(start_test.told.recv()).await.unwrap();
        peer.echo("still served").await;
        leave(peer);
        let report = in_time(stopping).await.unwrap();
        assert_eq!((report.asked, report.finished, report.forced), (1, 1, 0));
        assert_eq!(start_test.closings.reason().await, CloseReason::Shutdown);
    }
}

#[actix::test]
async fn a_stop_without_a_grace_waits_without_limit() {
    let mut start_test = start_test().await;
    let peers = start_test.peers(2, "stay").await;
    let pool = start_test.pool.clone();
    let mut stopping = actix_rt::spawn(async move { pool.stop(None).await });
    for _ in 0..2 {
        let (_, deadline) = in_time(start_test.told.recv()).await.unwrap();
        assert_eq!(deadline, None);
    }
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut stopping).await.is_err(), "they are still there");
    drop(peers);
    let report = in_time(stopping).await.unwrap();
    assert_eq!((report.asked, report.finished, report.forced), (2, 2, 0));
}

#[actix::test]
async fn a_grace_of_zero_calls_no_shutdown() {
    let mut start_test = start_test().await;
    let mut peers = start_test.peers(20, "go").await;
    let report = in_time(start_test.pool.stop(Duration::ZERO)).await;
    assert_eq!((report.finished, report.forced), (0, 20));
    for peer in &mut peers {
        assert_eq!(peer.until_gone().await, b"");
    }
    assert!(start_test.told.is_empty(), "{} were asked", start_test.told.len());
    for _ in 0..20 {
        assert_eq!(start_test.closings.reason().await, CloseReason::Killed);
    }
}

#[actix::test]
async fn two_stops_share_the_nearer_deadline_and_the_report() {
    let mut start_test = start_test().await;
    let _peers = start_test.peers(2, "stay").await;
    let stops = [None, Some(Duration::from_secs(3600))].map(|grace| {
        let pool = start_test.pool.clone();
        actix_rt::spawn(async move { pool.stop(grace).await })
    });
    in_time(start_test.told.recv()).await.unwrap();
    let sooner = Duration::from_millis(200);
    let asked = Instant::now();
    let report = in_time(start_test.pool.stop(sooner)).await;
    assert!(asked.elapsed() >= sooner);
    assert_eq!((report.asked, report.finished, report.forced), (2, 0, 2));
    for stop in stops {
        assert_eq!(in_time(stop).await.unwrap(), report);
    }
    assert_eq!(in_time(start_test.pool.stop(None)).await, report, "one that comes too late as well");
    in_time(start_test.told.recv()).await.unwrap();
    assert!(start_test.told.is_empty(), "each was told once");
}

#[actix::test]
async fn a_second_stop_does_not_extend_the_deadline() {
    for told_first in [false, true] {
        let mut start_test = start_test().await;
        let _peers = start_test.peers(2, "stay").await;
        let (first, asked) = (Duration::from_millis(300), Instant::now());
        let mut stops = Vec::new();
        for grace in [Some(first), Some(Duration::from_secs(3600)), None] {
            let pool = start_test.pool.clone();
            stops.push(actix_rt::spawn(async move { pool.stop(grace).await }));
            if told_first && stops.len() == 1 {
                let (_, deadline) = in_time(start_test.told.recv()).await.unwrap();
                assert!(deadline.unwrap() >= asked + first);
            }
        }
        for stop in stops {
            let report = in_time(stop).await.unwrap();
            assert_eq!((report.asked, report.finished, report.forced), (2, 0, 2));
        }
        assert!(asked.elapsed() >= first);
    }
}

#[actix::test]
async fn two_stops_at_the_same_time_are_one() {
    let start_test = start_test().await;
    let _peers = start_test.peers(10, "go").await;
    let (one, other) = in_time(async {
        tokio::join!(start_test.pool.stop(Duration::from_secs(60)), start_test.pool.stop(Duration::from_secs(60)))
    })
    .await;
    assert_eq!(one, other);
    assert_eq!((one.asked, one.finished, one.forced), (10, 10, 0));
}

#[actix::test]
async fn stopped_resolves_for_all_and_for_late_callers() {
    let start_test = start_test().await;
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let pool = start_test.pool.untyped();
            actix_rt::spawn(async move { pool.stopped().await })
        })
        .collect();
    in_time(start_test.pool.stop(Duration::ZERO)).await;
    for waiter in waiters {
        in_time(waiter).await.unwrap().unwrap();
    }
    in_time(start_test.pool.stopped()).await.unwrap();
}

#[actix::test]
async fn after_a_stop_the_port_is_free_at_once() {
    let mut address = "127.0.0.1:0".parse().unwrap();
    for _ in 0..200 {
        let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2).bind(address).await.expect("the port is free");
        address = pool.local_addr().unwrap();
        // Ours is the end that closes first: the one of which the kernel keeps a memory.
        let mut peer = connect(&pool).await;
        peer.echo("hello").await;
        in_time(pool.stop(None)).await;
        assert_eq!(peer.read_to_end().await, b"");
        assert!(refused(&pool).await, "the port is closed");
    }
}

#[actix::test]
async fn peers_connecting_during_a_stop_never_hang() {
    let start_test = start_test().await;
    let address = start_test.pool.local_addr().unwrap();
    let load: Vec<_> = (0..4)
        .map(|_| {
            std::thread::spawn(move || {
                let (mut peers, mut refused) = (Vec::new(), 0);
                while refused < 5 {
                    match std::net::TcpStream::connect(address) {
                        // A port without a listener may be connected to itself.
                        Ok(peer) if peer.local_addr().unwrap() != address => {
                            // Some leave at once, some stay to the end.
                            refused = 0;
                            if peers.len() < 100 {
                                peers.push(peer);
                            }
                        }
                        _ => refused += 1,
                    }
                }
                for mut peer in peers {
                    peer.set_read_timeout(Some(TIME_LIMIT)).unwrap();
                    if let Err(error) = peer.read(&mut [0]) {
                        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                    }
                }
            })
        })
        .collect();
    eventually(|| start_test.pool.info().accepted > 200).await;
    let report = in_time(start_test.pool.stop(Duration::from_millis(100))).await;
    for thread in load {
        in_time(tokio::task::spawn_blocking(move || thread.join())).await.unwrap().expect("none hangs");
    }
    let info = start_test.pool.info();
    assert_eq!((info.connections, info.accepted), (0, info.closed.total()));
    assert_eq!(report.asked, report.finished + report.forced);
    assert_eq!(info.closed.get(CloseReason::Killed) as usize, report.forced);
}

#[actix::test]
async fn a_stop_sends_queued_bytes_before_closing() {
    struct AnswersLate;
    impl Protocol for AnswersLate {
        type Codec = Framing;
        type Reply = Bytes;
        type User = ();

        fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
            Next::Send(Bytes::from(vec![7; 4 * 1024 * 1024]))
        }
    }
    let pool = AcceptorPool::with_protocol(|_| AnswersLate).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("all of it").await;
    eventually(|| pool.info().bytes_out > 0).await;
    let stopping = actix_rt::spawn({
        let pool = pool.clone();
        async move { pool.stop(Duration::from_secs(60)).await }
    });
    assert_eq!(peer.read_to_end().await.len(), 4 * 1024 * 1024);
    assert_eq!(in_time(stopping).await.unwrap().forced, 0);
}
