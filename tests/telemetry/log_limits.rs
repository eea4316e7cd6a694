//! Logs under a flood: a limited number of lines a second, a count of the others, never any payload.

use std::time::{Duration, Instant};

use actix_acceptor::{
    limits::AtLimit, telemetry::CloseReason, AcceptorPool, Conn, Framing, Next, Pool, Protocol, Socket,
};
use bytes::Bytes;
use futures::future::join_all;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PEERS: usize = 200;

/// Fails, or panics, with its first packet.
struct EndOnRequest;

impl Protocol for EndOnRequest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        match &*packet {
            b"panic" => panic!("as asked"),
            _ => Next::fail("as asked"),
        }
    }
}

/// The lines of a pool about endings for this reason, in order.
fn endings(pool: &str, reason: CloseReason) -> Vec<logs::Line> {
    logs::lines(|line| line.is("listener", pool) && line.is("reason", reason.name()))
}

fn left_out(lines: &[logs::Line]) -> usize {
    lines.iter().map(|line| line.fields["left_out"].parse::<usize>().unwrap()).sum()
}

/// All of them at once; returns how many seconds were begun meanwhile.
async fn flood<A>(pool: &Pool<A>, word: &str, reason: CloseReason) -> usize {
    let mut peers = join_all((0..PEERS).map(|_| connect(pool))).await;
    eventually(|| pool.connections() == PEERS).await;
    let begun = Instant::now();
    for peer in &mut peers {
        peer.send(word).await;
    }
    eventually(|| pool.info().closed.get(reason) == PEERS as u64).await;
    begun.elapsed().as_secs() as usize + 1
}

/// A second after the line, at the latest, the next one may be written.
async fn next_second(lines: &[logs::Line]) {
    let last = lines.last().unwrap();
    eventually(|| last.at.elapsed() >= Duration::from_secs(1)).await;
}

/// A second later one more tells how many were left out.
async fn assert_adds_up<A>(pool: &Pool<A>, word: &str, reason: CloseReason, seconds: usize) {
    let lines = endings(pool.name(), reason);
    assert!(lines.len() >= 10 && lines.len() <= 10 * seconds, "{} lines in {seconds} s", lines.len());
    next_second(&lines).await;
    let mut last = connect(pool).await;
    let _ = last.0.write_all(word.as_bytes()).await;
    last.until_gone().await;
    eventually(|| endings(pool.name(), reason).len() > lines.len()).await;
    let lines = endings(pool.name(), reason);
    assert_eq!(lines.len() + left_out(&lines), PEERS + 1, "{lines:?}");
}

#[actix::test]
async fn ten_error_endings_a_second_are_logged() {
    logs::listen();
    let builder = AcceptorPool::with_protocol(|_| EndOnRequest).framing(Framing::lines()).name("errors");
    let pool = builder.bind("127.0.0.1:0").await.unwrap().untyped();
    let seconds = flood(&pool, "fail\n", CloseReason::Error).await;
    assert_adds_up(&pool, "fail\n", CloseReason::Error, seconds).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn log_limits_are_per_close_reason() {
    logs::listen();
    let builder = AcceptorPool::with_protocol(|_| EndOnRequest).framing(Framing::lines()).name("panics");
    let pool = builder.bind("127.0.0.1:0").await.unwrap().untyped();
    let seconds = flood(&pool, "panic\n", CloseReason::Panic).await;
    connect(&pool).await.send("fail\n").await;
    eventually(|| pool.info().closed.get(CloseReason::Error) == 1).await;
    assert_eq!(endings("panics", CloseReason::Error).len(), 1, "it was not flooded");
    assert_adds_up(&pool, "panic\n", CloseReason::Panic, seconds).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn log_limits_apply_to_async_fns() {
    async fn fails(mut socket: Socket) -> std::io::Result<()> {
        socket.read_exact(&mut [0; 5]).await?;
        Err(std::io::Error::other("as asked"))
    }
    logs::listen();
    let pool = AcceptorPool::with_fn(fails).name("failing fns").bind("127.0.0.1:0").await.unwrap().untyped();
    let seconds = flood(&pool, "fail\n", CloseReason::Error).await;
    assert_adds_up(&pool, "fail\n", CloseReason::Error, seconds).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn refusals_log_one_line_a_second() {
    logs::listen();
    let builder = AcceptorPool::with_protocol(|_| Echo).name("refuses").max_connections(1).at_limit(AtLimit::Close);
    let pool = builder.acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let mut guest = connect(&pool).await;
    guest.echo("let in").await;
    let lines = || logs::lines(|line| line.is("listener", "refuses") && line.message() == "refusing peers");
    let address = pool.local_addr().unwrap();
    let mut refused = 0;
    // One peer a look.
    let told_three_times = || {
        BlockingPeer::connect(address).read_to_end();
        refused += 1;
        lines().len() == 3
    };
    eventually(told_three_times).await;
    eventually(|| pool.info().refused.total() == refused).await;
    for pair in lines().windows(2) {
        // What is heard of a line is a little later than the line, on a busy machine.
        assert!(pair[1].at - pair[0].at >= Duration::from_millis(800), "{:?}", pair[1].at - pair[0].at);
    }
    next_second(&lines()).await;
    connect(&pool).await.until_gone().await;
    eventually(|| pool.info().refused.total() == refused + 1).await;
    eventually(|| lines().len() + left_out(&lines()) == refused as usize + 1).await;
    in_time(pool.stop(None)).await;
}

const SECRET: &str = "s3cret";

async fn reads(mut socket: Socket) -> std::io::Result<()> {
    let mut word = [0; SECRET.len()];
    socket.read_exact(&mut word).await?;
    socket.write_all(&word).await?;
    socket.read_exact(&mut word).await?;
    Ok(())
}

#[actix::test]
async fn payload_appears_in_no_log_line_and_no_event() {
    logs::listen();
    let observer = EventRecorder::new();
    let of_lines = |name: &str| {
        let builder =
            AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).max_frame(64).name(name.to_owned());
        builder.packet_timeout(Duration::from_millis(50)).refusal_message(SECRET).observer(observer.clone())
    };
    let pool = of_lines("keeps quiet").max_per_peer(4).bind("127.0.0.1:0").await.unwrap();
    // Finished, in half, too long, not even text, and refused with a refusal_message.
    let words = [format!("{SECRET}\n"), SECRET.to_owned(), SECRET.repeat(100), format!("\u{0}{SECRET}\n")];
    let mut peers = Vec::new();
    for word in &words {
        let mut peer = connect(&pool).await;
        peer.send(word).await;
        peers.push(peer);
        let served = peers.len() as u64;
        eventually(|| pool.info().accepted == served).await;
    }
    eventually(|| pool.info().closed.total() == 2).await;
    let sized = AcceptorPool::with_protocol(|_| Echo).framing(Framing::len4()).name("keeps quiet, too");
    let sized = sized.observer(observer.clone()).bind("127.0.0.1:0").await.unwrap();
    connect(&sized).await.send(SECRET).await;
    eventually(|| sized.info().closed.total() == 1).await;
    let full = of_lines("turns away").max_connections(1).at_limit(AtLimit::Close).bind("127.0.0.1:0").await.unwrap();
    let mut guest = connect(&full).await;
    guest.echo(format!("{SECRET}\n")).await;
    assert_eq!(connect(&full).await.until_gone().await, SECRET.as_bytes());
    let serve = AcceptorPool::with_fn(reads).observer(observer.clone()).bind("127.0.0.1:0").await.unwrap();
    let start = AcceptorPool::with_actor(|socket| Ok(SocketActor::start(socket, reads))).observer(observer.clone());
    let start = start.bind("127.0.0.1:0").await.unwrap();
    for pool in [serve.untyped(), start.untyped()] {
        let mut peer = connect(&pool).await;
        peer.echo(SECRET).await;
        peer.send(SECRET).await;
        eventually(|| pool.info().closed.total() == 1).await;
        in_time(pool.stop(None)).await;
    }
    drop((peers, guest));
    for pool in [pool, sized, full] {
        in_time(pool.stop(None)).await;
    }
    assert!(observer.ends().len() >= 8 && observer.texts().len() > 30);
    let told = observer.texts().into_iter().find(|text| text.contains(SECRET));
    assert_eq!(told, None);
    let said = logs::lines(|line| format!("{line:?}").contains(SECRET));
    assert!(said.is_empty(), "{said:?}");
    assert!(logs::lines(|line| line.level == tracing::Level::DEBUG).len() > 5, "all levels were heard");
}

#[actix::test]
async fn log_limits_apply_to_factory_panics() {
    logs::listen();
    let builder = AcceptorPool::with_protocol(|_| -> Echo { panic!("as asked") }).name("bad factory");
    let pool = builder.bind("127.0.0.1:0").await.unwrap().untyped();
    let begun = Instant::now();
    join_all((0..PEERS).map(|_| async { connect(&pool).await.until_gone().await })).await;
    eventually(|| pool.info().closed.get(CloseReason::Panic) == PEERS as u64).await;
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let lines = endings("bad factory", CloseReason::Panic).len();
    assert!((10..=10 * seconds).contains(&lines), "{lines} lines in {seconds} s");
    in_time(pool.stop(None)).await;
}

/// Panics at every event.
struct PanickingObserver;

impl actix_acceptor::telemetry::Observer for PanickingObserver {
    fn observe(&self, _: &str, _: &actix_acceptor::telemetry::PoolEvent<'_>) {
        panic!("the observer's own fault");
    }
}

#[actix::test]
async fn log_limits_apply_to_observer_panics() {
    logs::listen();
    let pool = AcceptorPool::with_protocol(|_| Echo)
        .name("panicking observer")
        .observer(PanickingObserver)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let begun = Instant::now();
    join_all((0..PEERS).map(|_| async { connect(&pool).await.echo("hello").await })).await;
    eventually(|| pool.info().closed.total() == PEERS as u64).await;
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let lines =
        logs::lines(|line| line.is("pool", "panicking observer") && line.message() == "an observer panicked").len();
    assert!(lines <= 10 * seconds, "{lines} lines in {seconds} s");
    in_time(pool.stop(None)).await;
}
