//! The spans of handlers that own a socket, and of pools whose observers supply spans of their own.

use std::future::{poll_fn, Future};
use std::pin::pin;

use actix_acceptor::telemetry::{Observer, PoolEvent, SpanOf, Spans};
use actix_acceptor::transport::{Address, Handshake, HandshakeError, Handshaken, Stream};
use actix_acceptor::{AcceptorPool, Event, Init, Listener, Next, Socket};
use futures::future::LocalBoxFuture;
use support::logs::listen;
use support::spans::{said_in, spans};
use support::*;
use tracing::{info, info_span, Instrument, Level, Span};

fn say(what: &str) {
    info!(target: "user", "{what}");
}

/// Logs each poll of a future.
async fn saying<F: Future>(what: &str, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        say(what);
        future.as_mut().poll(cx)
    })
    .await
}

struct SayingHandshake;

impl Handshake for SayingHandshake {
    fn handshake(&self, stream: Stream, _: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let shaken = async {
            tokio::task::yield_now().await;
            Ok(Handshaken::new(stream))
        };
        Box::pin(saying("handshake", shaken))
    }
}

/// What the users of a pool have logged, once each, with the connection's peer.
fn said(pool: &str) -> Vec<(String, String)> {
    let of_user = said_in(pool).into_iter().filter(|said| said.target == "user");
    let mut said: Vec<_> = of_user
        .inspect(|said| assert_eq!(said.names(), ["pool", "listener", "connection"], "{said:?}"))
        .map(|said| (said.message.clone(), said.field("peer").to_owned()))
        .collect();
    said.sort();
    said.dedup();
    said
}

#[actix::test]
async fn an_async_fn_and_its_handshake_run_in_the_span() {
    listen();
    let serve = |socket: Socket| {
        say("called");
        let task = async { say("task") }.instrument(socket.span());
        actix_rt::spawn(task);
        saying("polled", echo(socket))
    };
    let listener = Listener::tcp("127.0.0.1:0").handshake(SayingHandshake);
    let builder = AcceptorPool::with_fn(serve).listener(listener).name("fn-span").acceptors(1);
    let pool = builder.observer(Spans::new()).start().await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    let address = peer.address().to_string();
    let expected = ["called", "handshake", "polled", "task"].map(|what| (what.to_owned(), address.clone()));
    eventually(|| said("fn-span") == expected).await;
    in_time(pool.stop(ms(0))).await;
}

#[actix::test]
async fn an_actor_is_started_in_the_span() {
    listen();
    let start = |socket: Socket| {
        say("started");
        let span = socket.span();
        Ok(SocketActor::start(socket, move |socket| echo(socket).instrument(span)))
    };
    let builder = AcceptorPool::with_actor(start).name("actor-span").acceptors(1).observer(Spans::new());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    assert_eq!(said("actor-span"), [("started".to_owned(), peer.address().to_string())]);
    in_time(pool.stop(ms(0))).await;
}

#[actix::test]
async fn closures_of_events_run_in_the_span() {
    listen();
    let init = |_: &mut _| {
        say("on_init");
        Init::new(())
    };
    let on_event = |_: &mut (), event: Event<actix_acceptor::handlers::EventLoop<()>>, _: &mut _| {
        say("on_event");
        match event {
            Event::Packet(packet) => Next::Send(packet),
            event => event.default_next(),
        }
    };
    let builder = AcceptorPool::with_events(init, on_event).name("events-span").acceptors(1).observer(Spans::new());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    let address = peer.address().to_string();
    assert_eq!(said("events-span"), ["on_event", "on_init"].map(|what| (what.to_owned(), address.clone())));
    in_time(pool.stop(ms(0))).await;
}

/// Supplies spans for connections only.
struct TraceIds;

impl Observer for TraceIds {
    fn observe(&self, _: &str, _: &PoolEvent<'_>) {}

    fn span(&self, pool: &str, of: &SpanOf<'_>, parent: &Span) -> Span {
        assert!(parent.is_disabled(), "no span of the pool or listener");
        match of {
            SpanOf::Connection { id, .. } => {
                info_span!(target: "actix_acceptor", "trace", pool, trace = id.get() + 100, reason = "")
            }
            _ => Span::none(),
        }
    }
}

#[actix::test]
async fn an_observer_can_supply_spans_of_its_own() {
    listen();
    let serve = |socket: Socket| saying("polled", echo(socket));
    let builder = AcceptorPool::with_fn(serve).name("own-spans").acceptors(1);
    // Not used: the first one counts.
    let builder = builder.observer(TraceIds).observer(TraceIds);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    let said = said_in("own-spans").remove(0);
    assert_eq!((said.names(), said.field("trace")), (vec!["trace"], "101"));
    drop(peer);
    let own =
        || spans().iter().find(|span| span.name == "trace" && span.field("pool") == "own-spans").cloned().unwrap();
    eventually(|| own().closed).await;
    assert_eq!(own().field("reason"), "peer");
    in_time(pool.stop(ms(0))).await;
}

#[actix::test]
async fn a_level_that_is_not_enabled_opens_no_span() {
    // For this thread only, on which the whole pool runs.
    let subscriber = tracing_subscriber::fmt().with_max_level(Level::INFO).with_writer(std::io::sink).finish();
    let _subscriber = tracing::subscriber::set_default(subscriber);
    for (level, enabled) in [(Level::DEBUG, false), (Level::INFO, true), (Level::ERROR, true)] {
        let (sender, mut spans) = tokio::sync::mpsc::unbounded_channel();
        let serve = move |socket: Socket| {
            let _ = sender.send(socket.span());
            echo(socket)
        };
        let builder = AcceptorPool::with_fn(serve).on_current_arbiter().observer(Spans::new().level(level));
        let pool = builder.bind("127.0.0.1:0").await.unwrap();
        connect(&pool).await.echo("hello").await;
        let span = in_time(spans.recv()).await.unwrap();
        assert_eq!(!span.is_disabled(), enabled, "{level}");
        assert_eq!(span.metadata().filter(|_| enabled).map(|metadata| *metadata.level()), enabled.then_some(level));
        in_time(pool.stop(ms(0))).await;
    }
}

#[actix::test]
async fn without_an_observer_there_is_no_span() {
    listen();
    let (sender, mut spans) = tokio::sync::mpsc::unbounded_channel();
    let serve = move |socket: Socket| {
        let _ = sender.send(socket.span());
        echo(socket)
    };
    let pool = AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.0.writable().await.unwrap();
    assert!(in_time(spans.recv()).await.unwrap().is_none());
    in_time(pool.stop(ms(0))).await;
}
