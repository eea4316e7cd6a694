//! A pool that has ended: every call that would change it is an error.

use std::time::Duration;

use actix_acceptor::error::{PoolEnded, SettingsError, StartError, SuspendError};
use actix_acceptor::{
    AcceptorPool, Framing, Listener, PoolError, SendError, Settings, SettingsPatch, Socket, SuspendMode,
};
use support::acceptors::{block, run_local_tasks};
use support::*;

#[actix::test]
async fn changing_an_ended_pool_is_an_error() {
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello\n").await;
    let id = pool.list()[0].id;
    in_time(pool.stop(Duration::ZERO)).await;
    assert_eq!(pool.set_protocol(|_| Echo), Err(PoolEnded));
    assert_eq!(pool.set_codec(Framing::raw), Err(PoolEnded));
    assert_eq!(pool.set_framing(Framing::raw()), Err(PoolEnded));
    let listeners = pool.set_listeners(vec![Listener::tcp("127.0.0.1:0")]).await;
    let error = listeners.unwrap_err();
    assert!(matches!(error, StartError::ListenerClosed));
    assert_eq!(error.to_string(), "the pool is not running: it has ended or is draining");
    assert_eq!(pool.change(|settings| settings.grace = None).await.unwrap_err(), SettingsError::NotRunning);
    assert_eq!(pool.apply(SettingsPatch::from(Settings::default())).await.unwrap_err(), SettingsError::NotRunning);
    assert!(matches!(pool.suspend(SuspendMode::Hold).await, Err(SuspendError::NotRunning)));
    assert!(matches!(pool.resume().await, Err(SuspendError::NotRunning)));
    assert!(matches!(pool.broadcast("hello".into()), Err(SendError::Closed)));
    assert!(!pool.kill(id) && !pool.exempt(id) && pool.find(id).is_none());

    let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await.unwrap();
    in_time(pool.stop(Duration::ZERO)).await;
    assert_eq!(pool.set_fn(|_: Socket| async {}), Err(PoolEnded));
}

#[actix::test]
async fn a_call_in_progress_fails_when_the_pools_arbiter_stops() {
    let (hand, handed) = tokio::sync::oneshot::channel();
    let home = actix::Arbiter::new();
    home.spawn(async move {
        let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1).bind("127.0.0.1:0").await.unwrap();
        let _ = hand.send(pool);
    });
    let pool = in_time(handed).await.unwrap();
    // The suspension waits for the acceptor, everything else for the suspension.
    let blocked = block(&pool, 1).await;
    let suspending = pool.suspend(SuspendMode::Close);
    let changing = pool.change(|settings| settings.grace = None);
    let listening = pool.set_listeners(vec![Listener::tcp("127.0.0.1:0")]);
    let stopping = async {
        run_local_tasks().await;
        home.stop();
    };
    let (suspended, changed, listens, ()) =
        in_time(async { tokio::join!(suspending, changing, listening, stopping) }).await;
    drop(blocked);
    assert!(matches!(suspended, Err(SuspendError::NotRunning)), "{suspended:?}");
    assert_eq!(changed.unwrap_err(), SettingsError::NotRunning);
    assert!(matches!(listens, Err(StartError::ListenerClosed)), "{listens:?}");
    assert!(matches!(in_time(pool.stopped()).await, Err(PoolError::Orphaned)));
}

#[actix::test]
async fn a_second_kill_of_a_connection_returns_false() {
    // On this thread: the connection does not run between the calls.
    let (memory, connector) = actix_acceptor::transport::Memory::new("killed");
    let pool = AcceptorPool::with_protocol(|_| Echo).on_current_arbiter().listen(memory).await.unwrap();
    let _peer = connector.connect().await.unwrap();
    in_time(pool.wait_for(|connections| connections == 1, None)).await.unwrap();
    let id = pool.list()[0].id;
    assert_eq!([pool.kill(id), pool.kill(id)], [true, false]);
    in_time(pool.wait_for(|connections| connections == 0, None)).await.unwrap();
    assert!(!pool.kill(id));
    in_time(pool.stop(Duration::ZERO)).await;
}
