//! A subscriber that panics, or calls the pool, costs no connection.

use std::sync::{Arc, Mutex};

use actix_acceptor::telemetry::{CloseReason, Observer, PoolEvent, SpanOf, Spans};
use actix_acceptor::{AcceptorPool, PoolHandle};
use support::*;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::Registry;

/// Runs a function at every call about a span of the library, and at its log lines.
struct Calls<F>(F);

impl<F: Fn(&str) + Send + Sync + 'static, S: Subscriber> Layer<S> for Calls<F> {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        (self.0)("new");
    }

    fn on_record(&self, _: &Id, _: &Record<'_>, _: Context<'_, S>) {
        (self.0)("record");
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target().starts_with("actix_acceptor::registry") {
            (self.0)("event");
        }
    }

    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        (self.0)("enter");
    }

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {
        (self.0)("exit");
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        (self.0)("close");
    }
}

/// A pool on the current thread, whose subscriber calls `call`.
fn subscribed(call: impl Fn(&str) + Send + Sync + 'static) -> tracing::subscriber::DefaultGuard {
    tracing::subscriber::set_default(Registry::default().with(Calls(call)))
}

#[actix::test]
async fn a_subscriber_that_panics_costs_no_connection() {
    for panics_at in ["new", "record", "event", "enter", "exit", "close"] {
        let _subscriber = subscribed(move |call| assert!(call != panics_at, "the subscriber's own fault"));
        let observer = EventRecorder::new();
        let builder = AcceptorPool::with_protocol(|_| Echo).on_current_arbiter().observer(Spans::new());
        let pool = builder.observer(observer.clone()).bind("127.0.0.1:0").await.unwrap();
        let (mut peer, mut other) = (connect(&pool).await, connect(&pool).await);
        peer.echo("hello").await;
        other.echo("hello").await;
        drop(peer);
        eventually(|| pool.connections() == 1).await;
        other.echo("still there").await;
        drop(other);
        eventually(|| observer.ends().len() == 2).await;
        let info = pool.info();
        assert_eq!((info.connections, info.closed.get(CloseReason::Peer)), (0, 2), "{panics_at}");
        in_time(pool.stop(None)).await;
    }
}

/// An observer that panics when it is asked for a span.
struct PanickingSpans;

impl Observer for PanickingSpans {
    fn observe(&self, _: &str, _: &PoolEvent<'_>) {}

    fn span(&self, _: &str, _: &SpanOf<'_>, _: &Span) -> Span {
        panic!("the observer's own fault");
    }
}

#[actix::test]
async fn a_panic_of_one_observer_leaves_the_span_to_the_next() {
    support::logs::listen();
    let builder = AcceptorPool::with_protocol(|_| Echo).name("next-spans").acceptors(1).observer(PanickingSpans);
    let pool = builder.observer(Spans::new()).bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.echo("hello").await;
    for name in ["pool", "listener", "acceptor", "connection"] {
        assert_eq!(support::spans::of("next-spans", name).len(), 1, "{name}");
    }
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_subscriber_may_call_the_pool() {
    let pool: Arc<Mutex<Option<PoolHandle>>> = Arc::default();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let _subscriber = {
        let (pool, calls) = (pool.clone(), calls.clone());
        subscribed(move |call| {
            let handle = pool.lock().unwrap().clone();
            if let Some(handle) = handle {
                let seen = handle.list().len() + handle.connections() + handle.listeners().len();
                calls.lock().unwrap().push((call.to_owned(), seen));
            }
        })
    };
    let builder = AcceptorPool::with_protocol(|_| Echo).on_current_arbiter().observer(Spans::new());
    let started = builder.bind("127.0.0.1:0").await.unwrap();
    *pool.lock().unwrap() = Some(started.untyped());
    connect(&started).await.echo("hello").await;
    eventually(|| started.connections() == 0).await;
    in_time(started.stop(None)).await;
    let calls = calls.lock().unwrap();
    for call in ["new", "enter", "exit", "record", "close"] {
        assert!(calls.iter().any(|(seen, _)| seen == call), "{call}: {calls:?}");
    }
    pool.lock().unwrap().take();
}
