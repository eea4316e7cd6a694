//! The watchdog: what is counted and logged as a blocked arbiter, and what is not.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::{
    handlers::ProtocolService, telemetry::CloseReason, AcceptorPool, Builder, Framing, Next, Pool, Socket, StartError,
};
use support::acceptors::*;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

const LIMIT: Duration = Duration::from_millis(100);
/// A limit that nothing reaches which is not meant to, however busy the machine is.
const FAR: Duration = Duration::from_millis(1_000);

/// Packets that block their callback: `sleep 30` for 30 milliseconds, `gate` until it opens; `panic` panics.
fn blocking_pool(gate: Option<Gate>) -> Builder<ProtocolService<Probe>> {
    let (builder, _) = Probe::pool(move |call, _| match call {
        Call::Packet(line) => {
            let text = std::str::from_utf8(line).unwrap();
            match text.split_once(' ') {
                Some((_, millis)) => sleep(Duration::from_millis(millis.parse().unwrap())),
                None if text == "gate" => drop(gate.as_ref().unwrap().pass()),
                None if text == "panic" => panic!("as asked"),
                None => {}
            }
            Next::Send(line.clone())
        }
        call => protocol_default(call),
    });
    builder.framing(Framing::lines())
}

/// The peers that were blocked, in order.
fn blocked_connections(observer: &EventRecorder) -> Vec<Option<u64>> {
    let culprit = |seen| match seen {
        RecordedEvent::Blocked { id, .. } => Some(id),
        _ => None,
    };
    observer.seen().into_iter().filter_map(culprit).collect()
}

fn id_of<A>(pool: &Pool<A>, peer: &Peer) -> Option<u64> {
    let address = Some(peer.address());
    pool.list().into_iter().find(|info| info.peer.socket() == address).map(|info| info.id.get())
}

/// A peer of each of two acceptors.
async fn one_per_acceptor<A>(pool: &Pool<A>) -> [Peer; 2] {
    let mut peers = one_peer_per_acceptor(pool).await;
    // The last one is the first of its acceptor.
    let last = peers.pop().unwrap();
    [peers.remove(0), last]
}

fn warnings(listener: &str) -> Vec<logs::Line> {
    logs::lines(|line| line.is("listener", listener) && line.fields.contains_key("so_far"))
}

/// The first one: a block is observed before it is logged.
async fn logged(listener: &str) -> logs::Line {
    eventually(|| !warnings(listener).is_empty()).await;
    warnings(listener).remove(0)
}

fn peer_of(line: &logs::Line) -> &str {
    line.fields["peer"].trim_matches('"')
}

#[actix::test]
async fn a_blocking_callback_is_counted_once_and_logged() {
    logs::listen();
    let ((gate, open), observer) = (Gate::new(), EventRecorder::new());
    let builder = blocking_pool(Some(gate)).name("blocks").watchdog(LIMIT).acceptors(2).observer(observer.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let [mut peer, mut other] = one_per_acceptor(&pool).await;
    let asked = Instant::now();
    peer.send("gate\n").await;
    eventually(|| pool.info().blocked == 1).await;
    assert!(asked.elapsed() >= LIMIT, "early: {:?}", asked.elapsed());
    // While another one is blocked for the limit, it is still the same block.
    let (id, other_id) = (id_of(&pool, &peer), id_of(&pool, &other));
    other.send("gate\n").await;
    eventually(|| blocked_connections(&observer).contains(&other_id)).await;
    (0..2).for_each(|_| open.send(()).unwrap());
    peer.expect(b"gate\n").await;
    other.expect(b"gate\n").await;
    assert_eq!(blocked_connections(&observer), [id, other_id]);
    assert_eq!(pool.info().blocked, 2);

    let line = logged("blocks").await;
    assert!(line.is("id", &id.unwrap().to_string()) && line.level == tracing::Level::WARN, "{line:?}");
    assert_eq!(peer_of(&line), peer.address().to_string());
    assert!(line.fields.contains_key("acceptor") && line.is("left_out", "0"), "{line:?}");

    // A block of its own is counted of its own.
    peer.send("gate\n").await;
    eventually(|| blocked_connections(&observer) == [id, other_id, id]).await;
    open.send(()).unwrap();
    peer.expect(b"gate\n").await;
    assert_eq!(pool.info().blocked, 3);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn blocking_below_the_limit_is_not_counted() {
    let pool = blocking_pool(None).watchdog(FAR).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    for _ in 0..10 {
        peer.echo("sleep 30\n").await;
    }
    assert_eq!(pool.info().blocked, 0);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn short_callbacks_in_a_busy_connection_are_not_counted() {
    let limit = Duration::from_millis(150);
    let pool = blocking_pool(None).watchdog(limit).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    let started = Instant::now();
    // All at once: a turn takes 128 of them, which is longer than the limit.
    peer.echo("sleep 3\n".repeat(1_000)).await;
    assert!(started.elapsed() > 10 * limit);
    assert_eq!(pool.info().blocked, 0);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn two_blocked_arbiters_are_both_counted() {
    logs::listen();
    let (gate, open) = Gate::new();
    let pool = blocking_pool(Some(gate)).name("two").watchdog(LIMIT).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let mut peers = one_per_acceptor(&pool).await;
    for peer in &mut peers {
        peer.send("gate\n").await;
    }
    eventually(|| pool.info().blocked >= 2).await;
    assert_eq!(pool.info().blocked, 2);
    logged("two").await;
    peers.iter().for_each(|_| open.send(()).unwrap());
    for peer in &mut peers {
        peer.expect(b"gate\n").await;
    }
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn suppressed_lines_are_counted_in_the_next_one() {
    logs::listen();
    let (gate, open) = Gate::new();
    let builder = blocking_pool(Some(gate)).name("often").watchdog(Duration::from_millis(20)).acceptors(1);
    let pool = builder.observer(GateOpener(open)).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    let started = Instant::now();
    while warnings("often").len() < 2 {
        assert!(started.elapsed() < TIME_LIMIT);
        peer.echo("gate\n").await;
    }
    let lines = warnings("often");
    let left_out: u64 = lines[1].fields["left_out"].parse().unwrap();
    assert!(left_out > 0 && lines[1].at - lines[0].at > Duration::from_millis(800), "{lines:?}");
    assert!(pool.info().blocked >= 2 + left_out);
    in_time(pool.stop(None)).await;
}

/// The time in which another pool with this limit blocks that many times.
async fn as_long_as_blocks(count: u64, limit: Duration) {
    let (gate, open) = Gate::new();
    let builder = blocking_pool(Some(gate)).watchdog(limit).acceptors(1).observer(GateOpener(open));
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    for _ in 0..count {
        peer.echo("gate\n").await;
    }
    assert_eq!(pool.info().blocked, count);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_panic_leaves_no_activity_marked() {
    // Shorter than a tick: no beat comes between.
    let pool = blocking_pool(None).watchdog(LIMIT / 2).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut idle = connect(&pool).await;
    idle.echo("hello\n").await;
    let mut peer = connect(&pool).await;
    peer.send("panic\n").await;
    peer.until_gone().await;
    eventually(|| pool.info().closed.get(CloseReason::Panic) == 1).await;
    let before = pool.info().blocked;
    as_long_as_blocks(8, LIMIT / 2).await;
    assert_eq!(pool.info().blocked, before, "whoever panicked is not at work any more");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn without_a_watchdog_nothing_is_counted() {
    logs::listen();
    let (gate, open) = Gate::new();
    let pool =
        blocking_pool(Some(gate)).name("unwatched").watchdog(None).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("gate\n").await;
    as_long_as_blocks(4, LIMIT).await;
    open.send(()).unwrap();
    peer.expect(b"gate\n").await;
    assert_eq!((pool.info().blocked, warnings("unwatched").len()), (0, 0));
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_limit_of_zero_is_refused() {
    let refused = blocking_pool(None).watchdog(Duration::ZERO).bind("127.0.0.1:0").await;
    assert!(matches!(refused, Err(StartError::InvalidSetting(InvalidSetting { setting: "watchdog", .. }))));
}

/// Peers of threads of their own: this arbiter is the one that is blocked.
fn visit<A>(pool: &Pool<A>, line: &'static str) -> impl std::future::Future<Output = ()> {
    let address = pool.local_addr().unwrap();
    let visit = tokio::task::spawn_blocking(move || BlockingPeer::connect(address).echo(line));
    async move { in_time(visit).await.unwrap() }
}

#[actix::test]
async fn the_current_arbiter_is_watched_too() {
    logs::listen();
    let (gate, open) = Gate::new();
    let builder = blocking_pool(Some(gate)).name("current").on_current_arbiter().acceptors(3).watchdog(LIMIT);
    let pool = builder.observer(GateOpener(open)).bind("127.0.0.1:0").await.unwrap();
    let mut idle = Vec::new();
    while pool.info().acceptors.iter().any(|acceptor| acceptor.connections == 0) {
        idle.push(connect(&pool).await);
        eventually(|| pool.connections() == idle.len()).await;
    }
    visit(&pool, "gate\n").await;
    assert_eq!(pool.info().blocked, 1, "one thread, however many acceptors are on it: {:?}", warnings("current"));
    assert!(logged("current").await.is("id", &(idle.len() + 1).to_string()));
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_blocking_factory_is_logged_with_its_peer() {
    logs::listen();
    let (gate, open) = Gate::new();
    let builder = AcceptorPool::with_protocol(move |_| {
        gate.pass();
        Echo
    });
    let builder = builder.name("a slow factory").watchdog(LIMIT).observer(GateOpener(open));
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.echo("hello").await;
    assert_eq!(pool.info().blocked, 1);
    assert!(logged("a slow factory").await.is("id", "1"));
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_blocking_start_of_an_actor_is_logged_with_its_peer() {
    logs::listen();
    let (gate, open) = Gate::new();
    let builder = AcceptorPool::with_actor(move |socket| {
        gate.pass();
        Ok(SocketActor::start(socket, echo))
    });
    let builder = builder.name("a slow start").watchdog(LIMIT).observer(GateOpener(open));
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.echo("hello").await;
    assert_eq!(pool.info().blocked, 1);
    assert!(logged("a slow start").await.is("id", "1"));
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn only_blocking_async_fns_are_logged() {
    async fn serve(mut socket: Socket, gate: Gate, may_go_on: Arc<Notify>) -> std::io::Result<()> {
        loop {
            match socket.read_u8().await? {
                b'b' => drop(gate.pass()),
                b'a' => may_go_on.notified().await,
                _ => {}
            }
            socket.write_all(b".").await?;
            // The next word is another turn's, however soon it comes.
            tokio::task::yield_now().await;
        }
    }
    logs::listen();
    let ((gate, open), observer, go_on) = (Gate::new(), EventRecorder::new(), Arc::new(Notify::new()));
    let may_go_on = go_on.clone();
    let builder = AcceptorPool::with_fn(move |socket| serve(socket, gate.clone(), may_go_on.clone())).name("a fn");
    let builder = builder.watchdog(LIMIT).acceptors(2).observer(observer.clone()).observer(GateOpener(open));
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    while pool.info().acceptors.iter().any(|acceptor| acceptor.connections == 0) {
        let mut peer = connect(&pool).await;
        peer.send("-").await;
        peer.expect(b".").await;
        peers.push(peer);
    }
    // The last one has its acceptor for itself.
    let (mut blocks, mut awaits) = (peers.pop().unwrap(), peers);
    for peer in &mut awaits {
        peer.send("a").await;
    }
    for _ in 0..4 {
        blocks.send("b").await;
        blocks.expect(b".").await;
    }
    awaits.iter().for_each(|_| go_on.notify_one());
    for peer in &mut awaits {
        peer.expect(b".").await;
    }
    assert_eq!(blocked_connections(&observer), [id_of(&pool, &blocks); 4]);
    assert_eq!(pool.info().blocked, 4);
    assert_eq!(peer_of(&logged("a fn").await), blocks.address().to_string());
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_blocking_actor_is_noticed_without_a_name() {
    logs::listen();
    let (gate, open) = Gate::new();
    // Its polls are not the pool's.
    let builder = AcceptorPool::with_actor(move |socket| {
        let gate = gate.clone();
        let greet = move |mut socket: Socket| {
            gate.pass();
            async move { socket.write_all(b"hello").await }
        };
        Ok(SocketActor::start(socket, greet))
    });
    let builder = builder.name("own").watchdog(LIMIT).acceptors(1).observer(GateOpener(open));
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    assert_eq!(connect(&pool).await.read_to_end().await, b"hello");
    assert_eq!(pool.info().blocked, 1);
    logged("own").await;
    let lines = warnings("own");
    assert!(lines.len() == 1 && !lines[0].fields.contains_key("id") && lines[0].is("acceptor", "0"), "{lines:?}");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn waiting_and_idle_connections_are_not_counted() {
    let ((gate, open), (done, finish), observer) = (Gate::new(), Gate::new(), EventRecorder::new());
    let (builder, _diary) = Probe::pool(move |call, conn| match call {
        Call::Packet(packet) if packet == "work" => {
            let (packet, done) = (packet.clone(), done.clone());
            let work = move || {
                done.pass();
                packet
            };
            conn.blocking(work, |packet, _, _| Next::Send(packet))
        }
        Call::Packet(packet) => {
            if packet == "gate" {
                gate.pass();
            }
            Next::Send(packet.clone())
        }
        call => protocol_default(call),
    });
    let builder = builder.framing(Framing::lines()).watchdog(LIMIT).acceptors(2).observer(observer.clone());
    let pool = builder.observer(GateOpener(open)).bind("127.0.0.1:0").await.unwrap();
    let mut peers = one_peer_per_acceptor(&pool).await;
    // The last one has its acceptor for itself.
    let (mut blocks, mut idle) = (peers.pop().unwrap(), peers);
    idle[0].send("work\n").await;
    for _ in 0..4 {
        blocks.echo("gate\n").await;
    }
    finish.send(()).unwrap();
    idle[0].expect(b"work\n").await;
    assert_eq!(blocked_connections(&observer), [id_of(&pool, &blocks); 4]);
    in_time(pool.stop(None)).await;
}

/// A tick that never comes is no blocked arbiter: the clock stands still, the thread does not.
#[test]
fn a_paused_clock_is_not_taken_for_a_blocked_arbiter() {
    paused(async {
        let (transport, script_handle) = ScriptedTransport::in_memory();
        let pool = blocking_pool(None).on_current_arbiter().watchdog(LIMIT).listen(transport).await.unwrap();
        let mut peer = script_handle.connect();
        peer.echo("hello\n").await;
        // The runtime holds the paused clock while it blocks elsewhere. What is tested is that real time goes by.
        tokio::task::spawn_blocking(|| sleep(8 * LIMIT)).await.unwrap();
        peer.echo("hello\n").await;
        assert_eq!(pool.info().blocked, 0);
        pool.stop(None).await;
    });
}
