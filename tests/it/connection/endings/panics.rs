//! A panic, wherever it is, ends its own connection and no other.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{
    telemetry::CloseReason, AcceptorPool, Ack, BoxError, Closed, Conn, Connection, ConnectionContext, ConnectionInfo,
    Framing, Next, Peer as Who, Pool, Protocol, Reply, Socket,
};
use bytes::Bytes;
use futures::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use support::FailingCodec;
use support::*;

/// Echoes, and panics in the place that a packet names.
struct PanicsOnRequest(Recorder);

impl Protocol for PanicsOnRequest {
    type Codec = FailingCodec;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        match &packet[..] {
            b"callback" => panic!("in the callback"),
            b"formatted" => panic!("with {} texts", 2),
            b"no text" => std::panic::panic_any(7),
            b"send" => {
                let _ = conn.send("poison".into());
                Next::Continue
            }
            b"reply" => Next::Send("poison".into()),
            b"future" => conn.wait(async { panic!("in the future") }, |(): (), _, _| Next::Continue),
            b"woken" => conn.wait(wait_for_wake(), |(), _, _| Next::Continue),
            b"then" => conn.wait(async {}, |(), _, _| panic!("in what comes then")),
            b"reply then" => conn.wait(async {}, |(), _, _| Next::Send("poison".into())),
            b"stream" => {
                conn.add_stream(stream::poll_fn(|_| panic!("in the stream")));
                Next::Continue
            }
            b"item" => {
                conn.add_stream(stream::iter([()]));
                Next::Continue
            }
            _ => Next::Send(packet),
        }
    }

    fn user(&mut self, _: (), _: &mut Conn<Self>) -> Next<Self> {
        panic!("in user")
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.note(why);
    }
}

/// Panics only in its second turn.
async fn wait_for_wake() {
    tokio::task::yield_now().await;
    panic!("in the woken future")
}

#[derive(Message)]
#[rtype(result = "()")]
enum PanicPlace {
    Handler,
    With,
    Spawned,
    Waited,
}

impl Handler<PanicPlace> for Connection<PanicsOnRequest> {
    type Result = ();

    fn handle(&mut self, what: PanicPlace, ctx: &mut ConnectionContext<PanicsOnRequest>) {
        match what {
            PanicPlace::Handler => panic!("in the handler"),
            PanicPlace::With => self.with(|_, _| panic!("in with")),
            PanicPlace::Spawned => {
                ctx.spawn(wait_for_wake().into_actor(self));
            }
            PanicPlace::Waited => ctx.wait(wait_for_wake().into_actor(self)),
        }
    }
}

#[actix::test]
async fn a_panic_in_any_callback_ends_one_connection() {
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_protocol(move |_| PanicsOnRequest(recorder.clone()))
        .on_current_arbiter()
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut good = connect(&pool).await;
    good.echo("hello\n").await;
    let said = [
        ("callback\n", "in the callback"),
        ("formatted\n", "with 2 texts"),
        ("no text\n", "payload is not a string"),
        ("send\n", "poison in encode"),
        ("reply\n", "poison in encode"),
        ("poison\n", "poison in decode"),
        ("future\n", "in the future"),
        ("woken\n", "in the woken future"),
        ("then\n", "in what comes then"),
        ("reply then\n", "poison in encode"),
        ("stream\n", "in the stream"),
        ("item\n", "in user"),
    ];
    let mut panics = 0;
    for (words, text) in said {
        let mut bad = connect(&pool).await;
        bad.send(words).await;
        expect_panic_end(&mut bad, &mut closings, text).await;
        good.echo("hello\n").await;
        panics += 1;
    }
    let mut bad = connect(&pool).await;
    bad.send("poison").await;
    bad.finish().await;
    expect_panic_end(&mut bad, &mut closings, "poison in decode_eof").await;
    type SendMessage = fn(&Addr<Connection<PanicsOnRequest>>);
    let told: [(SendMessage, &str); 5] = [
        (|address| address.do_send(PanicPlace::Handler), "in the handler"),
        (|address| address.do_send(PanicPlace::With), "in with"),
        (|address| address.do_send(PanicPlace::Spawned), "in the woken future"),
        (|address| address.do_send(PanicPlace::Waited), "in the woken future"),
        (|address| address.do_send(Reply("poison".into())), "poison in encode"),
    ];
    for (order, text) in told {
        let mut bad = connect(&pool).await;
        bad.echo("hello\n").await;
        order(&pool.addresses().pop().unwrap().1);
        expect_panic_end(&mut bad, &mut closings, text).await;
        good.echo("hello\n").await;
        panics += 1;
    }
    eventually(|| pool.connections() == 1).await;
    assert_eq!((pool.info().closed.get(CloseReason::Panic), pool.info().closed.total()), (panics + 1, panics + 1));
    in_time(pool.stop(Duration::ZERO)).await;
}

async fn expect_panic_end(bad: &mut Peer, closings: &mut Closings, text: &str) {
    assert_eq!(bad.until_gone().await, b"", "{text}");
    assert_eq!(closings.next().await, (CloseReason::Panic, format!("a callback panicked: {text}")));
}

#[actix::test]
async fn panics_end_no_other_connection() {
    let (recorder, closings) = Recorder::new();
    let pool = AcceptorPool::with_protocol(move |_| PanicsOnRequest(recorder.clone()))
        .acceptors(2)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        good.push(connect(&pool).await);
        bad.push(connect(&pool).await);
    }
    let ways = ["callback\n", "poison\n", "send\n", "future\n", "then\n", "stream\n", "item\n", "woken\n"];
    for (number, (good, bad)) in good.iter_mut().zip(&mut bad).enumerate() {
        good.echo(format!("before {number}\n")).await;
        bad.send(ways[number % ways.len()]).await;
        good.echo(format!("meanwhile {number}\n")).await;
    }
    for bad in &mut bad {
        assert_eq!(bad.until_gone().await, b"");
    }
    for (number, good) in good.iter_mut().enumerate() {
        good.echo(format!("after {number}\n")).await;
    }
    eventually(|| pool.connections() == 100).await;
    let info = pool.info();
    assert_eq!((info.closed.get(CloseReason::Panic), info.closed.total()), (100, 100));
    assert!(info.acceptors.iter().all(|acceptor| acceptor.restarts == 0));
    in_time(pool.stop(None)).await;
    drop(pool);
    let mut reasons = closings.rest().await;
    assert_eq!(reasons.split_off(100), [CloseReason::Shutdown; 100]);
    assert_eq!(reasons, [CloseReason::Panic; 100]);
}

/// Counts the states that were made.
fn counted(made: &Arc<AtomicUsize>, recorder: &Recorder) -> impl Fn(&Who) -> PanicsOnRequest + Send + Sync + 'static {
    let (made, recorder) = (made.clone(), recorder.clone());
    move |_| {
        made.fetch_add(1, Relaxed);
        PanicsOnRequest(recorder.clone())
    }
}

async fn only_the_second_is_served(pool: &Pool<Connection<PanicsOnRequest>>) {
    assert_eq!(connect(pool).await.until_gone().await, b"");
    connect(pool).await.echo("hello\n").await;
    eventually(|| pool.connections() == 0).await;
    let closed = pool.info().closed;
    assert_eq!((closed.get(CloseReason::Panic), closed.get(CloseReason::Peer), closed.total()), (1, 1, 2));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_factory_panic_ends_one_connection_and_is_logged() {
    logs::listen();
    let (made, (recorder, closings)) = (Arc::default(), Recorder::new());
    let make = counted(&made, &recorder);
    let factory = move |peer: &Who| if peer.id.get() == 1 { panic!("in the factory") } else { make(peer) };
    let pool = AcceptorPool::with_protocol(factory).on_current_arbiter().bind("127.0.0.1:0").await.unwrap();
    only_the_second_is_served(&pool).await;
    let lines = logs::lines(|line| line.is("detail", "the factory panicked: in the factory"));
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((line.level, line.message()), (tracing::Level::ERROR, "connection closed"));
    assert!(line.is("reason", "panic") && line.is("id", "1") && line.fields.contains_key("peer"), "{line:?}");
    drop((pool, recorder));
    assert_eq!((closings.rest().await, made.load(Relaxed)), (vec![CloseReason::Peer], 1));
}

#[actix::test]
async fn a_codec_factory_panic_closes_the_protocol() {
    let (made, (recorder, closings)) = (Arc::default(), Recorder::new());
    let codecs = AtomicUsize::new(0);
    let codec = move || {
        assert!(codecs.fetch_add(1, Relaxed) > 0, "in the codec's maker");
        FailingCodec::default()
    };
    let builder = AcceptorPool::with_codec(counted(&made, &recorder), codec);
    let pool = builder.on_current_arbiter().bind("127.0.0.1:0").await.unwrap();
    only_the_second_is_served(&pool).await;
    drop((pool, recorder));
    assert_eq!(closings.rest().await.len(), made.load(Relaxed));
}

#[actix::test]
async fn a_codec_factory_panic_after_a_timeout_ends_one_connection() {
    let (recorder, mut closings) = Recorder::new();
    let codecs = AtomicUsize::new(0);
    let codec = move || {
        assert!(codecs.fetch_add(1, Relaxed) < 2, "in the codec's maker");
        FailingCodec::default()
    };
    let pool = AcceptorPool::with_codec(move |_| PanicsOnRequest(recorder.clone()), codec)
        .packet_timeout(Duration::from_millis(50))
        .on_current_arbiter()
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let (mut good, mut bad) = (connect(&pool).await, connect(&pool).await);
    good.echo("hello\n").await;
    bad.send("hal").await;
    expect_panic_end(&mut bad, &mut closings, "in the codec's maker").await;
    good.echo("hello\n").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

/// An error whose `Display` and `Debug` panic.
#[derive(Debug)]
struct PanickingDisplay;

impl std::fmt::Display for PanickingDisplay {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("in the error's text")
    }
}

impl std::error::Error for PanickingDisplay {}

/// Fails with a [`PanickingDisplay`].
struct FailsWithPanickingDisplay(Recorder);

impl Protocol for FailsWithPanickingDisplay {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        if packet == "fail" {
            Next::fail(PanickingDisplay)
        } else {
            Next::Send(packet)
        }
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        // Not the text.
        self.0.note(&Closed::Panic(why.reason().name().to_owned()));
    }
}

#[actix::test]
async fn an_error_with_a_panicking_display_is_still_an_error() {
    logs::listen();
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_protocol(move |_| FailsWithPanickingDisplay(recorder.clone()))
        .name("no text")
        .on_current_arbiter()
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let (mut good, mut bad) = (connect(&pool).await, connect(&pool).await);
    good.echo("hello").await;
    bad.send("fail").await;
    assert_eq!(bad.until_gone().await, b"");
    good.echo("hello").await;
    eventually(|| pool.connections() == 1).await;
    assert_eq!(pool.info().closed.get(CloseReason::Error), 1);
    assert_eq!(closings.next().await.1, "a callback panicked: error");
    let lines = logs::lines(|line| line.is("detail", "in the error's text") && line.is("listener", "no text"));
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((line.level, line.message()), (tracing::Level::WARN, "connection closed"));
    assert!(line.is("reason", "error"), "{line:?}");
    in_time(pool.stop(Duration::ZERO)).await;
}

/// An actor that is never started.
struct NeverStarted;

impl Actor for NeverStarted {
    type Context = Context<Self>;
}

impl Handler<Ack> for NeverStarted {
    type Result = ();

    fn handle(&mut self, _: Ack, _: &mut Context<Self>) {}
}

#[actix::test]
async fn a_panicking_display_is_counted_by_fn_and_actor() {
    async fn fails(mut socket: Socket) -> Result<(), PanickingDisplay> {
        let _ = socket.read_u8().await;
        Err(PanickingDisplay)
    }
    let refuses = |_| Err::<Addr<NeverStarted>, BoxError>(PanickingDisplay.into());
    let pools = [
        AcceptorPool::with_fn(fails).acceptors(1).bind("127.0.0.1:0").await.unwrap().untyped(),
        AcceptorPool::with_actor(refuses).acceptors(1).bind("127.0.0.1:0").await.unwrap().untyped(),
    ];
    for pool in pools {
        for count in 1..=3 {
            let mut bad = connect(&pool).await;
            // It may be refused already.
            let _ = bad.0.write_all(b"x").await;
            assert_eq!(bad.until_gone().await, b"");
            eventually(|| pool.connections() == 0).await;
            let closed = pool.info().closed;
            assert_eq!((closed.get(CloseReason::Error), closed.total()), (count, count), "{closed:?}");
        }
        assert_eq!(pool.info().acceptors[0].restarts, 0, "an acceptor paid for it");
        in_time(pool.stop(None)).await;
    }
}
