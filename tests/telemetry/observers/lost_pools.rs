//! A pool whose own arbiter stops still reports everything as closed.

use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{AcceptorPool, PoolError};
use tokio::sync::oneshot;

use support::*;

#[actix::test]
async fn a_lost_pool_reports_listener_and_acceptors_stopped() {
    let observer = EventRecorder::new();
    let (told, handle) = oneshot::channel();
    let arbiter = Arbiter::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(2).grace(Duration::ZERO).observer(observer.clone());
    arbiter.spawn(async move {
        let pool = builder.bind("127.0.0.1:0").await.unwrap();
        let _ = told.send(pool.untyped());
    });
    let pool = in_time(handle).await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    arbiter.stop();
    assert!(matches!(in_time(pool.stopped()).await, Err(PoolError::Orphaned)));
    peer.until_gone().await;
    eventually(|| observer.ends().len() == 1).await;
    let is_end = |seen: &RecordedEvent| {
        matches!(seen, RecordedEvent::ListenerStopped { .. } | RecordedEvent::AcceptorStopped(..))
    };
    eventually(|| observer.seen().iter().filter(|seen| is_end(seen)).count() == 3).await;
}
