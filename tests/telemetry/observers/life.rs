//! The events of a pool as a whole, of held peers, and the kinds of accept errors.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_acceptor::limits::AtLimit;
use actix_acceptor::telemetry::{AcceptErrorKind, Observer, PoolEvent};
use actix_acceptor::{AcceptorPool, Drain, SuspendMode};
use support::acceptors::AcceptorFailure;
use support::logs::{self, listen};
use support::*;
use tracing::Level;

#[actix::test]
async fn a_pool_reports_every_change_of_its_state() {
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).observer(observer.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    assert_eq!(observer.of_pool(), ["started"], "before the start returns");
    in_time(pool.change(|settings| settings.max_connections = 7)).await.unwrap();
    in_time(pool.change(|settings| settings.max_connections = 7)).await.unwrap();
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    in_time(pool.resume()).await.unwrap();
    in_time(pool.resume()).await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    let drain = Drain::grace(Duration::from_secs(3)).delay(Duration::from_millis(10));
    let (first, second) = in_time(async { tokio::join!(pool.drain(drain), pool.drain(Drain::immediate())) }).await;
    assert_eq!(first.forced, second.forced);
    let life = [
        "started",
        "changed max_connections: 16384 -> 7",
        "suspended Close",
        "suspended Hold",
        "resumed",
        "draining 10ms Some(3s)",
        &format!("ended ok, {} forced, 0 unserved", first.forced),
    ];
    assert_eq!(observer.of_pool(), life);
}

#[actix::test]
async fn a_failed_start_reports_no_events_of_a_pool() {
    let observer = EventRecorder::new();
    let (transport, script_handle) = ScriptedTransport::in_memory();
    script_handle.share(|| Err(io::Error::other("as scripted")));
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).observer(observer.clone());
    assert!(builder.listen(transport).await.is_err());
    assert!(!observer.seen().is_empty());
    assert_eq!(observer.of_pool(), [""; 0]);
}

#[actix::test]
async fn a_pool_that_fails_reports_why() {
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).observer(observer.clone());
    let pool = builder.max_restarts(0, Duration::from_secs(1)).bind("127.0.0.1:0").await.unwrap();
    pool.acceptors()[0].do_send(AcceptorFailure::Panic);
    let error = in_time(pool.stopped()).await.unwrap_err();
    let ended = format!("ended {error}, 0 forced, 0 unserved");
    assert_eq!(observer.of_pool(), ["started", "draining 0ns Some(5s)", &ended]);
}

#[actix::test]
async fn held_peers_and_their_release_are_reported() {
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).max_connections(1).name("holds");
    let hold = Duration::from_secs(60);
    let builder = builder.at_limit(AtLimit::Hold(hold)).observer(observer.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut inside = connect(&pool).await;
    inside.echo("hello").await;
    let mut served = connect(&pool).await;
    let events = |count: usize| {
        let events = observer.of_pool();
        (events.len() > count).then(|| events[1..].to_vec())
    };
    eventually(|| events(1).is_some()).await;
    let mut refused = connect(&pool).await;
    eventually(|| events(2).is_some()).await;
    let (first, second) = (served.address(), refused.address());
    assert_eq!(events(2).unwrap(), [format!("held {first} at holds: limit"), format!("held {second} at holds: limit")]);
    drop(inside);
    served.echo("hello").await;
    assert_eq!(events(3).unwrap()[2..], [format!("released {first} at holds")]);
    in_time(pool.stop(Duration::ZERO)).await;
    refused.until_gone().await;
    let released = observer.of_pool().iter().filter(|event| event.starts_with("released")).count();
    assert_eq!(released, 2, "{:?}", observer.of_pool());
}

/// What happens to peers, in order.
#[derive(Clone, Default)]
struct Order(Arc<Mutex<Vec<&'static str>>>);

impl Observer for Order {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        self.0.lock().unwrap().push(match event {
            PoolEvent::PeerHeld { .. } => "held",
            PoolEvent::PeerReleased { .. } => "released",
            PoolEvent::ConnectionStarted { .. } => "started",
            PoolEvent::Refused { .. } => "refused",
            _ => return,
        });
    }
}

#[actix::test]
async fn a_release_is_reported_before_what_follows() {
    let order = Order::default();
    let seen = || order.0.lock().unwrap().clone();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).max_connections(1).observer(order.clone());
    let pool = builder.at_limit(AtLimit::Hold(Duration::from_secs(60))).bind("127.0.0.1:0").await.unwrap();
    let mut inside = connect(&pool).await;
    inside.echo("hello").await;
    let mut served = connect(&pool).await;
    eventually(|| seen() == ["started", "held"]).await;
    drop(inside);
    served.echo("hello").await;
    assert_eq!(seen(), ["started", "held", "released", "started"]);
    let mut refused = connect(&pool).await;
    eventually(|| seen().len() == 5).await;
    in_time(pool.stop(Duration::ZERO)).await;
    refused.until_gone().await;
    assert_eq!(seen()[4..], ["held", "released", "refused"]);
}

#[derive(Clone, Default)]
struct AcceptErrors(Arc<Mutex<Vec<(i32, AcceptErrorKind)>>>);

impl Observer for AcceptErrors {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        if let PoolEvent::AcceptError { error, kind, .. } = event {
            self.0.lock().unwrap().push((error.raw_os_error().unwrap(), *kind));
        }
    }
}

#[actix::test]
async fn every_accept_error_is_reported_with_its_kind() {
    listen();
    let observer = AcceptErrors::default();
    let (transport, script_handle) = ScriptedTransport::in_memory();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("kinds").observer(observer.clone());
    let pool = builder.listen(transport).await.unwrap();
    let codes = [
        (libc::ECONNABORTED, AcceptErrorKind::Connection),
        (libc::EPROTO, AcceptErrorKind::Connection),
        (libc::EMFILE, AcceptErrorKind::Resource),
        (libc::EBADF, AcceptErrorKind::Listener),
    ];
    codes.iter().for_each(|(code, _)| script_handle.accept_fails(*code));
    eventually(|| observer.0.lock().unwrap().len() == codes.len()).await;
    // Those of one peer are not counted.
    assert_eq!(pool.info().accept_errors, 2);
    assert_eq!(*observer.0.lock().unwrap(), codes);
    let errors = |line: &logs::Line| line.message() == "a peer left before it was accepted";
    assert!(logs::lines(errors).iter().all(|line| line.level == Level::DEBUG));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn the_end_of_a_connection_has_the_text_of_its_error() {
    let observer = EventRecorder::new();
    let fails = |_| async { Err::<(), _>(io::Error::other("as asked")) };
    let builder = AcceptorPool::with_fn(fails).acceptors(1).observer(observer.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.until_gone().await;
    eventually(|| observer.ends().len() == 1).await;
    assert_eq!(observer.ends()[0].1.detail.as_deref(), Some("as asked"));
    in_time(pool.stop(None)).await;

    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).observer(observer.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    peer.finish().await;
    peer.until_gone().await;
    eventually(|| observer.ends().len() == 1).await;
    assert_eq!(observer.ends()[0].1.detail, None);
    in_time(pool.stop(None)).await;
}
