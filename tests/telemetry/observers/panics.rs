//! An observer that panics is logged, and affects nothing else.

use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{
    limits::AtLimit,
    telemetry::{Alarm, CloseReason, Observer, PoolEvent},
    AcceptorPool, Ack, Socket, SuspendMode,
};

use support::*;

/// Panics at every event.
struct PanickingObserver;

impl Observer for PanickingObserver {
    fn observe(&self, _: &str, _: &PoolEvent<'_>) {
        panic!("the observer's own fault");
    }
}

#[actix::test]
async fn a_panicking_observer_does_not_stop_the_others() {
    logs::listen();
    let observer = EventRecorder::new();
    let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).name("touchy").watchdog(None).max_connections(1);
    let builder = builder.at_limit(AtLimit::Close).alarm(Alarm::new("one", 1));
    let builder = builder.observer(PanickingObserver).observer(observer.clone()).observer(PanickingObserver);
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    connect(&pool).await.until_gone().await;
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    in_time(pool.resume()).await.unwrap();
    peer.echo("still there").await;
    peer.finish().await;
    peer.until_gone().await;
    eventually(|| observer.ends().len() == 1).await;
    in_time(pool.stop(None)).await;
    let seen = observer.seen();
    // Listener and acceptor, the peer refused, the alarm twice, the connection, twice the listener, and all over.
    assert_eq!(seen.len(), 2 + 1 + 2 + 3 + 2 + 2, "{seen:#?}");
    let info = pool.info();
    assert_eq!((info.accepted, info.refused.total(), info.closed.get(CloseReason::Peer)), (2, 1, 1));
    let panics = logs::lines(|line| line.is("pool", "touchy") && line.message() == "an observer panicked");
    assert!(!panics.is_empty() && panics.len() <= 2 * seen.len());
    assert!(panics.iter().all(|line| line.is("panic", "the observer's own fault")), "{panics:?}");
}

struct Unwinds(Option<Socket>);

impl Actor for Unwinds {
    type Context = Context<Self>;
}

impl Handler<Ack> for Unwinds {
    type Result = ();

    fn handle(&mut self, _: Ack, _: &mut Context<Self>) {
        let _held_while_it_unwinds = self.0.take();
        panic!("as asked");
    }
}

#[actix::test]
async fn an_observer_may_panic_during_an_unwind() {
    let observer = EventRecorder::new();
    let start = |socket| Ok(Unwinds(Some(socket)).start());
    let builder = AcceptorPool::with_actor(start).acceptors(1).observer(PanickingObserver).observer(observer.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    for times in 1..=3 {
        connect(&pool).await.until_gone().await;
        eventually(|| observer.ends().len() == times).await;
    }
    assert!(observer.ends().iter().all(|(_, end)| end.reason == CloseReason::Panic), "{:?}", observer.ends());
    in_time(pool.stop(Duration::ZERO)).await;
}
