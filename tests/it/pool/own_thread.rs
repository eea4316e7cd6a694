//! `start_on_own_thread`: pools of programs without an actix system.

use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use actix_acceptor::telemetry::CloseReason;
use actix_acceptor::{AcceptorPool, Builder, Drain, Listener, PoolError, StartError};
use support::acceptors::AcceptorFailure;
use support::*;

const GRACE: Duration = Duration::from_secs(5);

fn echo() -> Builder<impl actix_acceptor::handlers::Service> {
    AcceptorPool::with_protocol(|_| Echo).acceptors(1).listener(Listener::tcp("127.0.0.1:0"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_is_used_from_another_runtime() {
    let pool = in_time(echo().start_on_own_thread()).await.unwrap();
    let handle = pool.clone();
    let task = tokio::spawn(async move {
        let mut peer = connect(&handle).await;
        peer.echo("from a task").await;
        assert_eq!(handle.wait_for(|connections| connections == 1, GRACE).await, Ok(1));
        handle.change(|settings| settings.max_connections = 7).await.unwrap();
        assert!(handle.kill(handle.list()[0].id));
        peer.until_gone().await;
        assert_eq!(handle.wait_for(|connections| connections == 0, GRACE).await, Ok(0));
    });
    in_time(task).await.unwrap();
    assert_eq!(pool.info().max_connections, 7);
    assert_eq!(pool.info().closed.get(CloseReason::Killed), 1);
    let address = pool.local_addr().unwrap();
    in_time(pool.stop(GRACE)).await;
    pool.join().unwrap();
    TcpListener::bind(address).expect("the port is free");
}

#[test]
fn plain_threads_start_and_drain_a_pool() {
    let pool = echo().start_on_own_thread().wait().unwrap();
    let mut peer = BlockingPeer::connect(pool.local_addr().unwrap());
    peer.echo("hello");
    let handle = pool.clone();
    let report = std::thread::spawn(move || pool.drain_and_join(Drain::grace(Duration::ZERO))).join().unwrap().unwrap();
    assert_eq!((report.asked, report.forced), (1, 1));
    assert_eq!(handle.connections(), 0);
}

#[tokio::test]
async fn the_errors_of_the_start_are_returned() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let builder = move || echo().listener(Listener::tcp(address));
    match in_time(builder().start_on_own_thread()).await {
        Err(StartError::SystemError { what, .. }) => assert_eq!(what, address.to_string()),
        other => panic!("{other:?}"),
    }
    let waited = tokio::task::spawn_blocking(move || builder().start_on_own_thread().wait());
    assert!(matches!(in_time(waited).await.unwrap(), Err(StartError::SystemError { .. })));
    let invalid = in_time(echo().max_connections(0).start_on_own_thread()).await;
    assert!(matches!(invalid, Err(StartError::InvalidSetting(_))), "{invalid:?}");
    let no_listener = AcceptorPool::with_protocol(|_| Echo).start_on_own_thread();
    assert!(matches!(in_time(no_listener).await, Err(StartError::InvalidSetting(_))));
}

#[test]
fn a_dropped_start_leaves_nothing_behind() {
    let (held, released) = mpsc::channel::<()>();
    let factory = move |_: &actix_acceptor::Peer| {
        let _ = &held;
        Echo
    };
    let builder = AcceptorPool::with_protocol(factory).acceptors(1).listener(Listener::tcp("127.0.0.1:0"));
    drop(builder.start_on_own_thread());
    // The factory is dropped with the pool.
    assert_eq!(released.recv_timeout(Duration::from_secs(30)), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_pool_outlives_its_dropped_thread_handle() {
    let thread = echo().start_on_own_thread().wait().unwrap();
    let pool = thread.clone();
    drop(thread);
    BlockingPeer::connect(pool.local_addr().unwrap()).echo("still there");
    actix::System::new().block_on(in_time(pool.stop(Duration::ZERO)));
}

#[tokio::test]
async fn join_returns_why_a_pool_has_failed() {
    let pool = in_time(echo().max_restarts(0, GRACE).start_on_own_thread()).await.unwrap();
    pool.acceptors()[0].do_send(AcceptorFailure::Stop);
    assert!(matches!(in_time(pool.stopped()).await, Err(PoolError::TooManyRestarts { .. })));
    assert!(matches!(pool.join(), Err(PoolError::TooManyRestarts { .. })));
}

#[tokio::test]
async fn a_pool_that_has_failed_is_not_drained() {
    let pool = in_time(echo().max_restarts(0, GRACE).start_on_own_thread()).await.unwrap();
    pool.acceptors()[0].do_send(AcceptorFailure::Stop);
    assert!(matches!(in_time(pool.stopped()).await, Err(PoolError::TooManyRestarts { .. })));
    let drained = pool.drain_and_join(Drain::grace(GRACE));
    assert!(matches!(drained, Err(PoolError::TooManyRestarts { .. })));
}
