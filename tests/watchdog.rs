//! The watchdog: what is counted and logged as a blocked arbiter, and what is not.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use actix::prelude::*;
use actix_acceptor::{AcceptorPool, Ack, Builder, Framing, Next, PoolHandle, ProtocolDoor, Reason, Socket, StartError};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMIT: Duration = Duration::from_millis(100);
/// A limit that nothing reaches which is not meant to, however busy the machine is.
const FAR: Duration = Duration::from_millis(1_000);

/// Blocks callbacks until they are let go.
#[derive(Clone)]
struct Gate(Arc<Mutex<Receiver<()>>>);

impl Gate {
    fn new() -> (Gate, Sender<()>) {
        let (open, gate) = channel();
        (Gate(Arc::new(Mutex::new(gate))), open)
    }

    fn pass(&self) {
        self.0.lock().unwrap().recv_timeout(PATIENCE).unwrap();
    }
}

/// Lets one callback go once so many blocks are counted: from a thread of its own, for the blocked arbiter may be this one.
fn open_when_counted(pool: &PoolHandle, open: &Sender<()>, count: u64) {
    let (pool, open, asked) = (pool.clone(), open.clone(), Instant::now());
    std::thread::spawn(move || {
        while pool.info().blocked < count && asked.elapsed() < PATIENCE {
            sleep(Duration::from_millis(2));
        }
        let _ = open.send(());
    });
}

/// Packets that tell their callback to block: `sleep 30` for so many milliseconds, `gate`, `panic` after a moment.
fn sleeper(gate: Option<Gate>) -> Builder<ProtocolDoor<Probe>> {
    let (builder, _) = Probe::pool(move |call, _| match call {
        Call::Packet(line) => {
            let text = std::str::from_utf8(line).unwrap();
            match text.split_once(' ') {
                Some((_, millis)) => sleep(Duration::from_millis(millis.parse().unwrap())),
                None if text == "gate" => gate.as_ref().unwrap().pass(),
                None if text == "panic" => {
                    sleep(Duration::from_millis(5));
                    panic!("as asked");
                }
                None => {}
            }
            Next::Send(line.clone())
        }
        call => otherwise(call),
    });
    builder.framing(Framing::lines())
}

fn warnings(listener: &str) -> Vec<logs::Line> {
    logs::lines(|line| line.is("listener", listener) && line.fields.contains_key("so_far"))
}

fn peer_of(line: &logs::Line) -> &str {
    line.fields["peer"].trim_matches('"')
}

#[actix::test]
async fn a_callback_that_blocks_is_counted_once_and_logged_with_its_connection() {
    logs::listen();
    let (gate, open) = Gate::new();
    let pool = sleeper(Some(gate)).name("blocks").watchdog(LIMIT).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let (mut idle, mut peer) = (connect(&pool).await, connect(&pool).await);
    idle.echo("hello\n").await;
    peer.echo("hello\n").await;
    let asked = Instant::now();
    peer.send("gate\n").await;
    eventually(|| pool.info().blocked == 1).await;
    assert!(asked.elapsed() >= LIMIT, "early: {:?}", asked.elapsed());
    // As long again, several times over: it is still the same block.
    sleep(4 * LIMIT);
    open.send(()).unwrap();
    peer.expect(b"gate\n").await;
    peer.echo("hello\n").await;
    assert_eq!(pool.info().blocked, 1);

    let address = peer.address();
    let id = pool.list().into_iter().find(|info| info.peer.socket() == Some(address)).unwrap().id;
    let lines = warnings("blocks");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].is("id", &id.to_string()) && lines[0].level == tracing::Level::WARN, "{lines:?}");
    assert_eq!(peer_of(&lines[0]), address.to_string());
    assert!(lines[0].fields.contains_key("acceptor") && lines[0].is("left_out", "0"), "{lines:?}");

    // A block of its own is counted of its own.
    open_when_counted(&pool, &open, 2);
    peer.echo("gate\n").await;
    assert_eq!(pool.info().blocked, 2);
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn what_stays_below_the_limit_is_not_counted() {
    let pool = sleeper(None).watchdog(FAR).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    for _ in 0..10 {
        peer.echo("sleep 30\n").await;
    }
    assert_eq!(pool.info().blocked, 0);
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn a_thousand_short_callbacks_in_a_busy_connection_are_not_counted() {
    let limit = Duration::from_millis(150);
    let pool = sleeper(None).watchdog(limit).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    let started = Instant::now();
    // All at once: a turn takes 128 of them, which is longer than the limit.
    peer.echo("sleep 3\n".repeat(1_000)).await;
    assert!(started.elapsed() > 10 * limit);
    assert_eq!(pool.info().blocked, 0);
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn two_arbiters_that_are_blocked_at_once_are_both_counted() {
    logs::listen();
    let (gate, open) = Gate::new();
    let pool = sleeper(Some(gate)).name("two").watchdog(LIMIT).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    while pool.info().acceptors.iter().any(|acceptor| acceptor.connections == 0) {
        let mut peer = connect(&pool).await;
        peer.echo("hello\n").await;
        peers.push(peer);
    }
    for peer in &mut peers {
        peer.send("gate\n").await;
    }
    eventually(|| pool.info().blocked >= 2).await;
    assert_eq!(pool.info().blocked, 2);
    assert!(!warnings("two").is_empty());
    peers.iter().for_each(|_| open.send(()).unwrap());
    for peer in &mut peers {
        peer.expect(b"gate\n").await;
    }
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn lines_that_were_left_out_are_told_with_the_next_one() {
    logs::listen();
    let pool = sleeper(None).name("often").watchdog(Duration::from_millis(20)).acceptors(1);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    let started = Instant::now();
    while warnings("often").len() < 2 {
        assert!(started.elapsed() < PATIENCE);
        peer.echo("sleep 100\n").await;
    }
    let lines = warnings("often");
    let left_out: u64 = lines[1].fields["left_out"].parse().unwrap();
    assert!(left_out > 0 && lines[1].at - lines[0].at > Duration::from_millis(800), "{lines:?}");
    assert!(pool.info().blocked >= 2 + left_out);
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn a_panic_leaves_nothing_marked() {
    // Shorter than a tick: no beat comes between.
    let pool = sleeper(None).watchdog(LIMIT / 2).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut idle = connect(&pool).await;
    idle.echo("hello\n").await;
    let mut peer = connect(&pool).await;
    peer.send("panic\n").await;
    peer.until_gone().await;
    eventually(|| pool.info().closed.get(Reason::Panic) == 1).await;
    let before = pool.info().blocked;
    tokio::time::sleep(4 * LIMIT).await;
    assert_eq!(pool.info().blocked, before, "whoever panicked is not at work any more");
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn without_a_watchdog_nothing_is_counted() {
    logs::listen();
    let pool = sleeper(None).name("unwatched").watchdog(None).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("sleep 400\n").await;
    assert_eq!((pool.info().blocked, warnings("unwatched").len()), (0, 0));
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn a_limit_of_zero_is_refused() {
    let refused = sleeper(None).watchdog(Duration::ZERO).bind("127.0.0.1:0").await;
    assert!(matches!(refused, Err(StartError::InvalidSetting { setting: "watchdog", .. })));
}

/// Peers of threads of their own: this arbiter is the one that is blocked.
fn visit(pool: &PoolHandle, line: &'static str) -> impl std::future::Future<Output = ()> {
    let address = pool.local_addr().unwrap();
    let visit = tokio::task::spawn_blocking(move || BlockingPeer::connect(address).echo(line));
    async move { soon(visit).await.unwrap() }
}

#[actix::test]
async fn it_watches_the_current_arbiter_as_well() {
    logs::listen();
    let (gate, open) = Gate::new();
    let builder = sleeper(Some(gate)).name("current").on_current_arbiter().acceptors(3).watchdog(LIMIT);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut idle = Vec::new();
    while pool.info().acceptors.iter().any(|acceptor| acceptor.connections == 0) {
        idle.push(connect(&pool).await);
        eventually(|| pool.connections() == idle.len()).await;
    }
    open_when_counted(&pool, &open, 1);
    visit(&pool, "gate\n").await;
    assert_eq!(pool.info().blocked, 1, "one thread, however many acceptors are on it: {:?}", warnings("current"));
    assert!(warnings("current")[0].is("id", &(idle.len() + 1).to_string()));
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn a_factory_that_blocks_is_named_by_the_connection_it_is_for() {
    logs::listen();
    let (gate, open) = Gate::new();
    let builder = AcceptorPool::protocol(move |_| {
        gate.pass();
        Echo
    });
    let pool = builder.name("a slow factory").watchdog(LIMIT).bind("127.0.0.1:0").await.unwrap();
    open_when_counted(&pool, &open, 1);
    connect(&pool).await.echo("hello").await;
    assert_eq!(pool.info().blocked, 1);
    assert!(warnings("a slow factory")[0].is("id", "1"));
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn an_async_fn_that_blocks_is_named_and_one_that_awaits_is_not() {
    async fn serve(mut socket: Socket, gate: Gate) -> std::io::Result<()> {
        loop {
            match socket.read_u8().await? {
                b'b' => gate.pass(),
                _ => tokio::time::sleep(4 * LIMIT).await,
            }
            socket.write_all(b".").await?;
        }
    }
    logs::listen();
    let (gate, open) = Gate::new();
    let builder = AcceptorPool::serve(move |socket| serve(socket, gate.clone())).name("a fn").watchdog(LIMIT);
    let pool = builder.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let (mut first, mut second) = (connect(&pool).await, connect(&pool).await);
    second.send("a").await;
    second.expect(b".").await;
    assert_eq!(pool.info().blocked, 0, "{:?}", warnings("a fn"));
    open_when_counted(&pool, &open, 1);
    first.send("b").await;
    first.expect(b".").await;
    assert_eq!(pool.info().blocked, 1);
    assert!(peer_of(&warnings("a fn")[0]) == first.address().to_string());
    soon(pool.stop(Duration::ZERO)).await;
}

/// An actor of one's own: its polls are not the pool's.
struct Own(Option<Socket>, Gate);

impl Actor for Own {
    type Context = Context<Self>;
}

impl Handler<Ack> for Own {
    type Result = ();

    fn handle(&mut self, _: Ack, ctx: &mut Context<Self>) {
        self.1.pass();
        let mut socket = self.0.take().unwrap();
        let greet = async move { socket.write_all(b"hello").await };
        ctx.spawn(greet.into_actor(self).map(|_, _, ctx| ctx.stop()));
    }
}

#[actix::test]
async fn an_actor_of_ones_own_that_blocks_is_noticed_without_a_name() {
    logs::listen();
    let (gate, open) = Gate::new();
    let builder = AcceptorPool::start(move |socket| Ok(Own(Some(socket), gate.clone()).start())).name("own");
    let pool = builder.watchdog(LIMIT).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    open_when_counted(&pool, &open, 1);
    assert_eq!(connect(&pool).await.read_to_end().await, b"hello");
    assert_eq!(pool.info().blocked, 1);
    let lines = warnings("own");
    assert!(lines.len() == 1 && !lines[0].fields.contains_key("id") && lines[0].is("acceptor", "0"), "{lines:?}");
    soon(pool.stop(None)).await;
}

#[actix::test]
async fn connections_that_wait_or_are_idle_are_not_counted() {
    let (builder, _diary) = Probe::pool(|call, conn| match call {
        Call::Packet(packet) => {
            let packet = packet.clone();
            let work = move || {
                sleep(8 * LIMIT);
                packet
            };
            conn.blocking(work, |packet, _, _| Next::Send(packet))
        }
        call => otherwise(call),
    });
    let pool = builder.watchdog(2 * LIMIT).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let (_idle, mut peer) = (connect(&pool).await, connect(&pool).await);
    peer.echo("work").await;
    assert_eq!(pool.info().blocked, 0);
    soon(pool.stop(None)).await;
}

/// A tick that never comes is no blocked arbiter: the clock stands still, the thread does not.
#[test]
fn a_paused_clock_is_not_taken_for_a_blocked_arbiter() {
    paused(async {
        let (transport, director) = Scripted::in_memory();
        let pool = sleeper(None).on_current_arbiter().watchdog(LIMIT).listen(transport).await.unwrap();
        let mut peer = director.connect();
        peer.echo("hello\n").await;
        // The runtime holds the paused clock while it blocks elsewhere.
        tokio::task::spawn_blocking(|| sleep(8 * LIMIT)).await.unwrap();
        peer.echo("hello\n").await;
        assert_eq!(pool.info().blocked, 0);
        pool.stop(None).await;
    });
}
