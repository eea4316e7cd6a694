//! Streams whose items arrive as messages.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_acceptor::{Active, Timeout};
use futures::stream::{self, Stream, StreamExt};
use tokio::time::Instant;

use super::*;

/// Adds a stream of one item in every callback there is.
struct AddsStreams(UnboundedSender<&'static str>);

impl AddsStreams {
    fn add(&mut self, word: &'static str, conn: &mut Conn<Self>) -> Next<Self> {
        conn.add_stream(stream::iter([word]));
        Next::Continue
    }
}

impl Protocol for AddsStreams {
    type Codec = Framing;
    type Reply = Bytes;
    type User = &'static str;

    fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.add("init", conn)
    }

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.add("ack", conn)
    }

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        if packet == "wait" {
            return conn.wait(async {}, |(), me, conn| me.add("then", conn));
        }
        self.add("packet", conn)
    }

    fn user(&mut self, word: &'static str, conn: &mut Conn<Self>) -> Next<Self> {
        self.0.send(word).unwrap();
        match word {
            "ack" => self.add("user", conn),
            "more" => {
                conn.set_active(Active::Always);
                Next::Continue
            }
            _ => Next::Continue,
        }
    }

    fn timeout(&mut self, timeout: Timeout, conn: &mut Conn<Self>) -> Next<Self> {
        match timeout {
            Timeout::Idle => self.add("idle", conn),
            _ => self.add("timeout", conn),
        }
    }

    fn half_closed(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.add("half_closed", conn)
    }

    fn passive(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        conn.set_active(Active::Always);
        self.add("passive", conn)
    }

    fn shutdown(&mut self, _: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.add("shutdown", conn)
    }
}

#[actix::test]
async fn a_stream_may_be_added_in_any_callback() {
    let (sender, mut words) = unbounded_channel();
    let pool = AcceptorPool::with_protocol(move |_| AddsStreams(sender.clone())).framing(Framing::lines());
    let pool = pool.packet_timeout(Duration::from_millis(100)).idle_timeout(None).half_close(true);
    let pool = pool.active(Active::Count(1)).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    let mut next = async || in_time(words.recv()).await.unwrap();
    let mut begin = [next().await, next().await, next().await];
    begin.sort();
    assert_eq!(begin, ["ack", "init", "user"]);
    peer.send("packet\n").await;
    let mut count = [next().await, next().await];
    count.sort();
    assert_eq!(count, ["packet", "passive"]);
    peer.send("wait\n").await;
    assert_eq!(next().await, "then");
    peer.send("half").await;
    assert_eq!(next().await, "timeout");
    peer.finish().await;
    assert_eq!(next().await, "half_closed");
    let stop = pool.clone();
    let stopping = actix::spawn(async move { stop.stop(None).await });
    assert_eq!(next().await, "shutdown");
    pool.kill(pool.list()[0].id);
    in_time(stopping).await.unwrap();
}

#[actix::test]
async fn a_stream_may_be_added_when_the_peer_is_silent() {
    let (sender, mut words) = unbounded_channel();
    let pool =
        AcceptorPool::with_protocol(move |_| AddsStreams(sender.clone())).idle_timeout(Duration::from_millis(100));
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let _peer = connect(&pool).await;
    while in_time(words.recv()).await.unwrap() != "idle" {}
}

/// Counts how many of it are alive.
struct AliveCounter(Arc<AtomicUsize>);

impl AliveCounter {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        AliveCounter(count.clone())
    }
}

impl Drop for AliveCounter {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[actix::test]
async fn a_stream_that_ends_can_be_replaced() {
    let (_pool, mut peer, address, mut words) = action_connection().await;
    let alive = Arc::new(AtomicUsize::new(0));
    for _ in 0..3 {
        let count = alive.clone();
        let add = to(move |_, conn| {
            let guard = AliveCounter::new(&count);
            let words = stream::iter(["one", "two"]).map(move |word| {
                let _ = &guard;
                say(word).0
            });
            conn.add_stream(words);
            Next::Continue
        });
        in_time(address.send(add)).await.unwrap();
        words.expect(&["one", "two"]).await;
        eventually(|| alive.load(Relaxed) == 0).await;
        peer.echo("goes on\n").await;
        words.expect(&["goes on"]).await;
    }
}

#[actix::test]
async fn streams_are_dropped_with_their_connection() {
    let (pool, _peer, address, mut words) = action_connection().await;
    let alive = Arc::new(AtomicUsize::new(0));
    let count = alive.clone();
    let add = to(move |_, conn| {
        let guard = AliveCounter::new(&count);
        conn.add_stream(stream::pending().map(move |word| {
            let _ = &guard;
            word
        }));
        Next::Continue
    });
    in_time(address.send(add)).await.unwrap();
    assert_eq!(alive.load(Relaxed), 1);
    pool.kill(pool.list()[0].id);
    words.expect(&["closed: killed"]).await;
    eventually(|| alive.load(Relaxed) == 0).await;
}

#[actix::test]
async fn an_endless_stream_starves_no_socket() {
    let (pool, mut peer, address, _words) = action_connection().await;
    let (mut neighbour, ..) = connect_with_address(&pool).await;
    let nothing = Run(Arc::new(|_: &mut ActionProtocol, _: &mut Conn<ActionProtocol>| Next::Continue));
    let endless = to(move |_, conn| {
        conn.add_stream(stream::repeat(nothing.clone()));
        Next::Continue
    });
    in_time(address.send(endless)).await.unwrap();
    for _ in 0..20 {
        peer.echo("own\n").await;
        neighbour.echo("neighbour\n").await;
        // Nor the mailbox.
        in_time(address.send(to(|_, _| Next::Continue))).await.unwrap();
    }
    in_time(pool.stop(Duration::from_secs(1))).await;
}

/// Says when it is polled.
struct ReportsPolls(Arc<AtomicUsize>, &'static str);

impl Stream for ReportsPolls {
    type Item = Run;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Run>> {
        self.0.fetch_add(1, Relaxed);
        match std::mem::take(&mut self.1) {
            "" => Poll::Ready(None),
            word => Poll::Ready(Some(say(word).0)),
        }
    }
}

#[actix::test]
async fn a_wait_pauses_streams_and_loses_no_item() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let (gate, polled) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let (at, count) = (gate.clone(), polled.clone());
    let both = to(move |_, conn| {
        conn.add_stream(ReportsPolls(count.clone(), "item"));
        conn.wait(at.passed(), |(), desk, _| desk.say("done"))
    });
    in_time(address.send(both)).await.unwrap();
    peer.send("packet\n").await;
    eventually(|| pool.list()[0].bytes_in == 7).await;
    assert_eq!(polled.load(Relaxed), 0);
    gate.open();
    words.expect(&["done", "item", "packet"]).await;
}

#[actix::test]
async fn a_stream_panic_ends_its_connection() {
    let (pool, mut peer, address, mut words) = action_connection().await;
    let (mut other, ..) = connect_with_address(&pool).await;
    words.expect(&["ack"]).await;
    in_time(address.send(to(|_, conn| {
        conn.add_stream(stream::poll_fn(|_| panic!("in the stream")));
        Next::Continue
    })))
    .await
    .unwrap();
    peer.until_gone().await;
    words.expect(&["closed: panic"]).await;
    other.echo("lives\n").await;
}
