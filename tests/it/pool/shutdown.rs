//! `Shutdown` and `drain_when`, without signals: `tests/processes` has those.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix_acceptor::info::Status;
use actix_acceptor::{AcceptorPool, Drain, Listener, Shutdown};
use support::draining::*;
use support::*;
use tokio::sync::oneshot;

#[actix::test]
async fn pools_drain_together_and_then_runs_in_order() {
    let (first, second) = (start_drain_pool(1).await, start_drain_pool(1).await);
    let (mut one, mut other) = (connect(&first.pool).await, connect(&second.pool).await);
    one.echo("stay\n").await;
    other.echo("hello\n").await;
    let (trigger, triggered) = oneshot::channel::<()>();
    let steps = Rc::new(RefCell::new(Vec::new()));
    let step = |name: &'static str| {
        let steps = steps.clone();
        move || async move {
            tokio::task::yield_now().await;
            steps.borrow_mut().push(name);
        }
    };
    let shutdown = Shutdown::when(triggered)
        .drain(&first.pool, Drain::grace(LONG))
        .drain(&second.pool, Drain::grace(LONG))
        .then(step("one"))
        .then(step("two"));
    let shutdown = actix_rt::spawn(shutdown.into_future());
    one.echo("not yet\n").await;
    trigger.send(()).unwrap();
    // The second pool does not wait for the first.
    other.expect(b"bye\n").await;
    eventually(|| second.pool.status() == Status::Ended).await;
    assert_eq!((first.pool.status(), steps.borrow().len()), (Status::Draining, 0));
    drop(one);
    let report = in_time(shutdown).await.unwrap().unwrap();
    assert_eq!(report.pools.iter().map(counts).collect::<Vec<_>>(), [[1, 1, 0, 0], [1, 1, 0, 0]]);
    assert_eq!((report.was_cut_short, &*steps.borrow() as &[_]), (false, &["one", "two"][..]));
}

#[actix::test]
async fn the_end_of_one_pool_begins_the_shutdown() {
    let (first, second) = (start_drain_pool(1).await, start_drain_pool(1).await);
    let shutdown = Shutdown::when(std::future::pending::<()>());
    let shutdown = shutdown.drain(&first.pool, Drain::grace(LONG)).drain(&second.pool, Drain::grace(LONG));
    let (report, _) = in_time(async { tokio::join!(shutdown.into_future(), second.pool.stop(None)) }).await;
    assert_eq!(report.unwrap().pools.len(), 2);
    assert_eq!((first.pool.status(), second.pool.status()), (Status::Ended, Status::Ended));
}

#[actix::test]
async fn a_supervised_pool_is_shut_down_for_good() {
    let make = || AcceptorPool::with_protocol(|_| Echo).acceptors(1).listener(Listener::tcp("127.0.0.1:0"));
    let supervised = AcceptorPool::supervised(make).start().await.unwrap();
    let mut peer = connect(&supervised.pool().unwrap()).await;
    peer.echo("hello").await;
    let report = in_time(Shutdown::when(async {}).drain(&supervised, Drain::grace(Duration::ZERO)).into_future()).await;
    assert_eq!(report.unwrap().pools[0].asked, 1);
    in_time(supervised.stopped()).await.unwrap();
    assert!(supervised.pool().is_none());
}

#[actix::test]
async fn a_shutdown_without_pools_waits_for_its_future() {
    let (trigger, triggered) = oneshot::channel::<()>();
    let over = Rc::new(RefCell::new(false));
    let shutdown = Shutdown::when(triggered).then({
        let over = over.clone();
        move || async move { *over.borrow_mut() = true }
    });
    let running = actix_rt::spawn(async { shutdown.await.unwrap() });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!*over.borrow());
    trigger.send(()).unwrap();
    let report = in_time(running).await.unwrap();
    assert_eq!((report.pools.len(), report.was_cut_short), (0, false));
    assert!(*over.borrow());
}

#[actix::test]
async fn drain_when_waits_for_its_future_or_the_end() {
    let drained = start_drain_pool(1).await;
    let mut peer = connect(&drained.pool).await;
    peer.echo("hello\n").await;
    let (trigger, triggered) = oneshot::channel::<()>();
    let pool = drained.pool.clone();
    let draining = actix_rt::spawn(async move { pool.drain_when(triggered, Drain::grace(LONG)).await });
    peer.echo("not yet\n").await;
    trigger.send(()).unwrap();
    peer.expect(b"bye\n").await;
    assert_eq!(counts(&in_time(draining).await.unwrap()), [1, 1, 0, 0]);
    // The pool has ended.
    let never = std::future::pending::<()>();
    assert_eq!(counts(&in_time(drained.pool.drain_when(never, Drain::grace(LONG))).await), [1, 1, 0, 0]);
}

#[test]
fn without_a_runtime_there_are_no_signals() {
    let shutdown = Shutdown::on_signals();
    let error = actix::System::new().block_on(shutdown.into_future()).unwrap_err();
    assert!(error.to_string().contains("in a tokio runtime"), "{error}");
}

#[actix::test]
async fn drains_can_be_awaited_on_any_thread() {
    fn is_send(future: impl Send) -> impl Send {
        future
    }
    let drained = start_drain_pool(1).await;
    drop(is_send(drained.pool.drain_on_signal(Drain::immediate())));
    drop(is_send(drained.pool.drain_when(std::future::ready(()), Drain::immediate())));
    in_time(drained.pool.stop(None)).await;
}
