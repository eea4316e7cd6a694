//! Accepting that stops at a connection limit: one event and one line, however many connections come and go.

use std::time::Duration;

use actix_acceptor::limits::AtLimit;
use actix_acceptor::telemetry::LimitScope;
use actix_acceptor::{AcceptorPool, Listener, Pool, SuspendMode};
use support::*;

fn reports(observer: &EventRecorder) -> Vec<RecordedEvent> {
    let is_report =
        |seen: &RecordedEvent| matches!(seen, RecordedEvent::LimitReached { .. } | RecordedEvent::LimitCleared { .. });
    observer.seen().into_iter().filter(is_report).collect()
}

fn reached(listener: &str, scope: LimitScope, limit: usize) -> RecordedEvent {
    RecordedEvent::LimitReached { listener: listener.to_owned(), scope, limit }
}

fn cleared(listener: &str) -> RecordedEvent {
    RecordedEvent::LimitCleared { listener: listener.to_owned() }
}

async fn served<A>(pool: &Pool<A>) -> Peer {
    let mut peer = connect(pool).await;
    peer.echo("hello").await;
    peer
}

async fn waits<A>(pool: &Pool<A>) -> Peer {
    let mut peer = connect(pool).await;
    peer.send("hello").await;
    eventually(|| pool.info().waiting_acceptors > 0).await;
    peer
}

#[actix::test]
async fn a_reached_limit_is_reported_once_until_it_is_cleared() {
    logs::listen();
    let observer = EventRecorder::new();
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1).max_connections(2).observer(observer.clone());
    let pool = pool.listener(Listener::tcp("127.0.0.1:0").name("crowded")).start().await.unwrap();
    let mut inside = vec![served(&pool).await];
    assert_eq!(
        (reports(&observer), pool.info().waiting_acceptors, pool.listeners()[0].is_at_limit),
        (vec![], 0, false)
    );
    inside.push(served(&pool).await);
    // Connections come and go, and each time the acceptor waits again.
    for _ in 0..20 {
        let mut next = waits(&pool).await;
        inside.remove(0).finish().await;
        next.expect(b"hello").await;
        inside.push(next);
    }
    let mut last = waits(&pool).await;
    assert_eq!(reports(&observer), [reached("crowded", LimitScope::Pool, 2)]);
    assert_eq!((pool.info().waiting_acceptors, pool.listeners()[0].is_at_limit), (1, true));
    inside.clear();
    last.expect(b"hello").await;
    eventually(|| reports(&observer).len() == 2).await;
    assert_eq!(reports(&observer)[1], cleared("crowded"));
    assert_eq!((pool.info().waiting_acceptors, pool.listeners()[0].is_at_limit), (0, false));
    // And once more.
    let _inside = served(&pool).await;
    let _waits = waits(&pool).await;
    eventually(|| reports(&observer).len() == 3).await;
    in_time(pool.stop(Duration::ZERO)).await;
    eventually(|| reports(&observer).len() == 4).await;
    assert_eq!(reports(&observer)[3], cleared("crowded"));
    let lines = |message| logs::lines(|line| line.is("listener", "crowded") && line.message() == message);
    let reached = lines("connection limit reached; further peers wait in the kernel's queue");
    assert_eq!(reached.len(), 2, "{reached:?}");
    assert!(reached[0].is("limit", "2") && reached[0].is("scope", "pool"), "{reached:?}");
    assert_eq!(lines("connection limit cleared").len(), 2);
}

#[actix::test]
async fn the_limit_of_a_listener_is_reported_as_its_own() {
    let observer = EventRecorder::new();
    let narrow = Listener::tcp("127.0.0.1:0").name("narrow").max_connections(1);
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(4).max_connections(9).observer(observer.clone());
    let pool = pool.listener(narrow).listener(Listener::tcp("127.0.0.1:0").name("wide")).start().await.unwrap();
    let _inside = served(&pool).await;
    let _waits = waits(&pool).await;
    eventually(|| reports(&observer).len() == 1).await;
    assert_eq!(reports(&observer), [reached("narrow", LimitScope::Listener, 1)]);
    assert_eq!(pool.listeners().iter().map(|listener| listener.is_at_limit).collect::<Vec<_>>(), [true, false]);
    // A listener that does not accept is not at its limit.
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    eventually(|| reports(&observer).len() == 2).await;
    assert_eq!((pool.info().waiting_acceptors, pool.listeners()[0].is_at_limit), (0, false));
    in_time(pool.resume()).await.unwrap();
    eventually(|| reports(&observer).len() == 3).await;
    assert_eq!(reports(&observer)[1..], [cleared("narrow"), reached("narrow", LimitScope::Listener, 1)]);
    // Nor is one whose peers are refused.
    in_time(pool.change(|settings| settings.at_limit = AtLimit::Close)).await.unwrap();
    eventually(|| reports(&observer).len() == 4).await;
    assert_eq!((pool.info().waiting_acceptors, pool.listeners()[0].is_at_limit), (0, false));
    in_time(pool.stop(Duration::ZERO)).await;
    assert_eq!(reports(&observer).len(), 4);
}
