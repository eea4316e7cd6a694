//! The packet rate of a connection: a token bucket, and what happens when it is empty.

use std::time::Duration;

use actix_acceptor::limits::{OverRate, PacketRate};
use actix_acceptor::{handlers::ProtocolService, telemetry::CloseReason, AcceptorPool, BoxError, Builder, Conn};
use actix_acceptor::{Connection, Framing, Next, Pool, Protocol, Timeout, User};
use bytes::Bytes;
use support::*;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::time::Instant;
use tokio_util::codec::LinesCodec;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// An echo of lines. What `wait` and `time` bring comes after a second.
fn act(call: &Call, conn: &mut Conn<Probe>) -> Next<Probe> {
    match call {
        Call::Packet(bytes) | Call::User(bytes) if bytes == "wait" => {
            conn.wait(tokio::time::sleep(SECOND), |(), _, _| Next::Send(text("waited")))
        }
        Call::Packet(bytes) | Call::User(bytes) if bytes == "time" => {
            conn.after(SECOND, text("timed"));
            Next::Continue
        }
        Call::Packet(bytes) | Call::User(bytes) => Next::Send(bytes.clone()),
        call => protocol_default(call),
    }
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn rated(burst: u32, per: Duration, over: OverRate) -> (Builder<ProtocolService<Probe>>, Callbacks) {
    let (builder, callbacks) = Probe::pool(act);
    let builder = builder.framing(Framing::lines()).idle_timeout(None).packet_timeout(None);
    (builder.acceptors(1).packet_rate(burst, per, over), callbacks)
}

/// In memory, three packets in three seconds.
async fn slowed(
    set: impl FnOnce(Builder<ProtocolService<Probe>>) -> Builder<ProtocolService<Probe>>,
) -> (Pool<Connection<Probe>>, ScriptHandle, Peer<DuplexStream>, Callbacks) {
    let (builder, callbacks) = rated(3, 3 * SECOND, OverRate::Slow);
    let (pool, script_handle) = in_memory(set(builder)).await;
    let peer = script_handle.connect();
    (pool, script_handle, peer, callbacks)
}

/// Expects these lines so long after `from`.
#[track_caller]
fn expect_at<'a, S: AsyncRead + AsyncWrite + Unpin>(
    peer: &'a mut Peer<S>,
    lines: &'a str,
    from: Instant,
    at: Duration,
) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        peer.expect(lines.as_bytes()).await;
        let took = from.elapsed();
        assert!(took >= at && took <= at + ms(5), "{caller}: {lines:?} came after {took:?} instead of {at:?}");
    }
}

#[test]
fn each_packet_takes_a_token() {
    paused(async {
        let (_pool, _script_handle, mut peer, _) = slowed(|builder| builder).await;
        // The bucket holds no more than its burst, however long it fills.
        for pause in [3 * SECOND, HOUR] {
            let began = Instant::now();
            for (line, at) in [("1\n", 0), ("2\n", 0), ("3\n", 0), ("4\n", 1), ("5\n", 2), ("6\n", 3)] {
                peer.send(line).await;
                expect_at(&mut peer, line, began, at * SECOND).await;
            }
            elapse(pause).await;
        }
    });
}

#[test]
fn what_one_read_brought_is_answered_and_paid_for_later() {
    paused(async {
        let (_pool, _script_handle, mut peer, _) = slowed(|builder| builder).await;
        let began = Instant::now();
        let lines = "x\n".repeat(20);
        peer.send(&lines).await;
        expect_at(&mut peer, &lines, began, Duration::ZERO).await;
        peer.send("after\n").await;
        // 17 tokens were missing, and another one is needed.
        expect_at(&mut peer, "after\n", began, 18 * SECOND).await;
    });
}

#[test]
fn only_packets_are_slowed() {
    paused(async {
        let (pool, _script_handle, mut peer, mut callbacks) = slowed(|builder| builder).await;
        let began = Instant::now();
        peer.send("time\nwait\n".to_owned() + &"x\n".repeat(100)).await;
        expect_at(&mut peer, "waited\n", began, SECOND).await;
        peer.expect(b"timed\n").await;
        peer.expect("x\n".repeat(100).as_bytes()).await;
        peer.send("much later\n").await;
        let (id, address) = pool.addresses().remove(0);
        address.send(User(text("message"))).await.unwrap();
        expect_at(&mut peer, "message\n", began, SECOND).await;
        address.send(User(text("time"))).await.unwrap();
        expect_at(&mut peer, "timed\n", began, 2 * SECOND).await;
        address.send(User(text("wait"))).await.unwrap();
        expect_at(&mut peer, "waited\n", began, 3 * SECOND).await;
        address.send(User(text("message"))).await.unwrap();
        expect_at(&mut peer, "message\n", began, 3 * SECOND).await;
        assert!(pool.close(id, Some(text("bye")), HOUR));
        peer.expect(b"bye\n").await;
        assert_eq!(callbacks.closed().await.0, CloseReason::Local);
        assert!(began.elapsed() < 4 * SECOND);
    });
}

#[test]
fn a_drain_is_not_slowed() {
    paused(async {
        let (pool, _script_handle, mut peer, mut callbacks) = slowed(|builder| builder).await;
        let began = Instant::now();
        peer.send("x\n".repeat(1_000)).await;
        peer.expect("x\n".repeat(1_000).as_bytes()).await;
        pool.stop(None).await;
        assert_eq!(callbacks.closed().await.0, CloseReason::Shutdown);
        assert!(began.elapsed() < SECOND);
    });
}

#[test]
fn a_wait_refills_the_bucket() {
    paused(async {
        let (_pool, _script_handle, mut peer, _) = slowed(|builder| builder).await;
        let began = Instant::now();
        peer.send("wait\nwait\nwait\nwait\nwait\n").await;
        for second in 1..=5 {
            expect_at(&mut peer, "waited\n", began, second * SECOND).await;
        }
        // Its token was added during the last wait.
        peer.send("x\n").await;
        expect_at(&mut peer, "x\n", began, 5 * SECOND).await;
    });
}

#[test]
fn timeouts_stand_still_while_a_connection_is_slowed() {
    paused(async {
        let set = |builder: Builder<_>| builder.idle_timeout(2 * SECOND).packet_timeout(SECOND);
        let (_pool, script_handle, mut peer, mut callbacks) = slowed(set).await;
        let began = Instant::now();
        peer.send("1\n2\n3\n4\n5\n6\nhal").await;
        expect_at(&mut peer, "1\n2\n3\n4\n5\n6\n", began, Duration::ZERO).await;
        elapse(2 * SECOND).await;
        peer.send("f\n").await;
        // Slowed for four seconds. The packet timeout of a second is counted without them.
        expect_at(&mut peer, "half\n", began, 4 * SECOND).await;
        peer.send("incomplete").await;
        let at = callbacks.until(&Call::partial(b"incomplete")).await;
        assert!(at - began > 5 * SECOND && at - began < ms(6_200), "{:?}", at - began);
        callbacks.closed().await;

        let (mut silent, began) = (script_handle.connect(), Instant::now());
        silent.send("1\n2\n3\n4\n5\n6\n").await;
        let at = callbacks.until(&Call::Timeout(Timeout::Idle)).await;
        assert_on_time(began, at, 6 * SECOND);
    });
}

#[test]
fn the_first_packet_above_the_rate_closes_the_connection() {
    paused(async {
        let (builder, mut callbacks) = rated(3, 3 * SECOND, OverRate::Close);
        let (pool, script_handle) = in_memory(builder).await;
        let mut patient = script_handle.connect();
        for _ in 0..100 {
            patient.echo("x\n").await;
            elapse(SECOND).await;
        }
        let mut fast = script_handle.connect();
        fast.send("1\n2\n3\n4\n5\n").await;
        fast.expect(b"1\n2\n3\n").await;
        let (reason, why) = callbacks.closed().await;
        assert_eq!((reason, &*why), (CloseReason::PacketRate, "packet rate exceeded"));
        assert_eq!(pool.info().closed.get(CloseReason::PacketRate), 1);
        patient.echo("still here\n").await;
    });
}

/// Says so of lines that are too long.
struct Strict;

impl Protocol for Strict {
    type Codec = LinesCodec;
    type Reply = String;
    type User = ();

    fn packet(&mut self, line: String, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(line)
    }

    fn decode_error(&mut self, _: &BoxError, _: &mut Conn<Self>) -> Next<Self> {
        Next::send("too long")
    }
}

#[actix::test]
async fn what_cannot_be_decoded_takes_a_token() {
    let builder = AcceptorPool::with_codec(|_| Strict, || LinesCodec::new_with_max_length(4));
    let pool = builder.packet_rate(3, HOUR, OverRate::Close).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("fits\nmuch too long\nmuch too long\nmuch too long\n").await;
    assert_eq!(peer.read_to_end().await, b"fits\ntoo long\ntoo long\n");
    eventually(|| pool.info().closed.get(CloseReason::PacketRate) == 1).await;
}

#[actix::test]
async fn a_changed_packet_rate_applies_to_new_connections() {
    let (builder, _callbacks) = Probe::pool(act);
    let pool = builder.framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    let mut old = connect(&pool).await;
    old.echo("hello\n").await;
    let rate = Some(PacketRate::new(1, HOUR, OverRate::Close));
    let changed = in_time(pool.change(move |settings| settings.packet_rate = rate)).await.unwrap();
    assert_eq!(changed.to_string(), r#"packet_rate: none -> { burst = 1, per = "1h", over = "close" }"#);
    let mut new = connect(&pool).await;
    new.echo("hello\n").await;
    new.send("one too many\n").await;
    assert_eq!(new.read_to_end().await, b"");
    for _ in 0..10 {
        old.echo("no limit\n").await;
    }
}

/// The end of the input is handled at once if nothing was sent before it that is still to be paid for.
#[actix::test]
async fn packets_before_a_fin_are_paid_for() {
    let (builder, mut callbacks) = rated(2, ms(100), OverRate::Slow);
    let pool = builder.idle_timeout(5 * SECOND).bind("127.0.0.1:0").await.unwrap();
    for lines in ["", "later\n"] {
        let mut peer = connect(&pool).await;
        let began = Instant::now();
        peer.send("1\n2\n3\n4\n5\n6\n7\n8\n").await;
        peer.expect(b"1\n2\n3\n4\n5\n6\n7\n8\n").await;
        if !lines.is_empty() {
            peer.send(lines).await;
        }
        peer.finish().await;
        assert_eq!(peer.read_to_end().await, lines.as_bytes());
        assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
        // Seven tokens are missing.
        assert!(lines.is_empty() || began.elapsed() >= ms(350), "{:?}", began.elapsed());
    }
}

#[actix::test]
async fn a_slowed_connection_does_not_outlive_its_peer() {
    let (builder, mut callbacks) = rated(1, HOUR, OverRate::Slow);
    let pool = builder.idle_timeout(ms(300)).bind("127.0.0.1:0").await.unwrap();
    for rest in ["", "incomplete", "more\n"] {
        let mut peer = connect(&pool).await;
        peer.echo("1\n").await;
        if !rest.is_empty() {
            peer.send(rest).await;
        }
        let began = Instant::now();
        peer.finish().await;
        let (reason, _) = callbacks.closed().await;
        let expected = if rest.is_empty() { CloseReason::Peer } else { CloseReason::Idle };
        assert_eq!(reason, expected, "{rest:?}");
        assert!(rest.is_empty() || began.elapsed() >= ms(300), "{rest:?}");
    }
    // A reset ends it at once.
    let mut peer = connect(&pool).await;
    peer.echo("1\n").await;
    peer.send("more\n").await;
    peer.reset();
    assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
}

#[actix::test]
async fn a_flood_of_a_slowed_peer_starves_no_other() {
    let (builder, _callbacks) = rated(1_000, ms(10), OverRate::Slow);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut flood = BlockingPeer::connect(pool.local_addr().unwrap());
    let mut reader = BlockingPeer(flood.0.try_clone().unwrap());
    let writer = std::thread::spawn(move || (0..50).for_each(|_| flood.send("x\n".repeat(2_000))));
    let answers = std::thread::spawn(move || reader.read_exact(50 * 2_000 * 2).len());
    let mut other = connect(&pool).await;
    for _ in 0..100 {
        other.echo("other\n").await;
    }
    let joined = tokio::task::spawn_blocking(move || (writer.join().is_ok(), answers.join().is_ok()));
    assert_eq!(in_time(joined).await.unwrap(), (true, true));
}
