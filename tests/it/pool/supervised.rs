//! Pools that are restarted after they have ended with an error.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use actix_acceptor::{
    handlers::ProtocolService, info::Status, transport::Memory, AcceptorPool, Builder, Connection, Framing, Listener,
    Pool, PoolError, StartError, SupervisedError, SupervisedPool,
};
use support::acceptors::AcceptorFailure;
use support::*;
use tokio::time::Instant;

type EchoPool = Pool<Connection<Echo>>;

/// A pool that ends as soon as its acceptor does.
fn fragile(listener: Listener) -> Builder<ProtocolService<Echo>> {
    let builder = AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(1).grace(Duration::ZERO);
    builder.max_restarts(0, Duration::from_secs(1)).listener(listener)
}

/// On the test's own arbiter, for a paused clock.
fn in_memory() -> Builder<ProtocolService<Echo>> {
    fragile(Listener::from_transport(Memory::new("memory").0)).on_current_arbiter()
}

async fn fail(pool: &EchoPool) {
    pool.acceptors()[0].do_send(AcceptorFailure::Stop);
    assert!(matches!(in_time(pool.stopped()).await, Err(PoolError::TooManyRestarts { .. })));
}

async fn next_pool(supervised: &SupervisedPool<Connection<Echo>>) -> EchoPool {
    in_time(supervised.subscribe().wait_for(Option::is_some)).await.unwrap().clone().unwrap()
}

async fn until_no_pool(supervised: &SupervisedPool<Connection<Echo>>) {
    drop(in_time(supervised.subscribe().wait_for(Option::is_none)).await.unwrap());
}

const SHORT: Duration = Duration::from_millis(1);

#[actix::test]
async fn a_pool_that_fails_is_restarted() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let make = move || fragile(Listener::tcp(address)).name("supervised");
    let supervised = in_time(AcceptorPool::supervised(make).backoff(SHORT, SHORT).start()).await.unwrap();
    for round in 1..=3 {
        let pool = supervised.pool().unwrap();
        connect(&pool).await.echo("hello").await;
        fail(&pool).await;
        until_no_pool(&supervised).await;
        let next = next_pool(&supervised).await;
        assert_eq!((pool.status(), next.status()), (Status::Ended, Status::Running));
        assert!(pool.suspend(actix_acceptor::SuspendMode::Hold).await.is_err());
        connect(&next).await.echo("again").await;
        assert_eq!((next.local_addr(), supervised.restarts()), (Some(address), round));
        assert_eq!(AcceptorPool::find("supervised").unwrap().info().accepted, 1, "the counters begin anew");
    }
    in_time(supervised.stop(None)).await;
    assert!(in_time(supervised.stopped()).await.is_ok() && supervised.pool().is_none());
    assert!(AcceptorPool::find("supervised").is_none());
    std::net::TcpListener::bind(address).expect("the port is closed");
}

#[actix::test]
async fn a_pool_that_is_stopped_is_not_restarted() {
    let calls = Rc::new(Cell::new(0));
    let counted = calls.clone();
    let make = move || {
        counted.set(counted.get() + 1);
        fragile(Listener::tcp("127.0.0.1:0"))
    };
    let supervised = in_time(AcceptorPool::supervised(make).start()).await.unwrap();
    in_time(supervised.pool().unwrap().stop(None)).await;
    assert!(in_time(supervised.stopped()).await.is_ok());
    assert_eq!((calls.get(), supervised.restarts()), (1, 0));
    assert_eq!(in_time(supervised.stop(None)).await.asked, 0, "again");
}

#[actix::test]
async fn a_first_start_that_fails_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let failed = in_time(AcceptorPool::supervised(move || fragile(Listener::tcp(address))).start()).await;
    assert!(matches!(failed, Err(StartError::SystemError { .. })));
    for (supervised, setting) in [
        (AcceptorPool::supervised(in_memory).backoff(Duration::ZERO, SHORT), "backoff"),
        (AcceptorPool::supervised(in_memory).backoff(2 * SHORT, SHORT), "backoff"),
        (AcceptorPool::supervised(in_memory).max_restarts(1, Duration::ZERO), "max_restarts"),
    ] {
        match in_time(supervised.start()).await {
            Err(StartError::InvalidSetting(invalid)) => assert_eq!(invalid.setting, setting),
            other => panic!("{other:?}"),
        }
    }
}

#[actix::test]
async fn later_starts_that_fail_are_repeated() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let calls = Rc::new(Cell::new(0));
    let counted = calls.clone();
    let make = move || {
        counted.set(counted.get() + 1);
        match counted.get() {
            1 => fragile(Listener::tcp("127.0.0.1:0")),
            2 => panic!("as asked"),
            _ => fragile(Listener::tcp(address)),
        }
    };
    let supervised = in_time(AcceptorPool::supervised(make).backoff(SHORT, SHORT).start()).await.unwrap();
    fail(&supervised.pool().unwrap()).await;
    eventually(|| calls.get() > 5).await;
    assert!(supervised.pool().is_none(), "the port is taken");
    drop(taken);
    assert_eq!(next_pool(&supervised).await.local_addr(), Some(address));
    in_time(supervised.stop(None)).await;
}

#[actix::test]
async fn more_restarts_than_allowed_end_the_supervision() {
    tokio::time::pause();
    let is_first = Cell::new(true);
    let make = move || if is_first.take() { in_memory() } else { in_memory().acceptors(0) };
    let (first, longest) = (Duration::from_secs(10), Duration::from_secs(25));
    let supervised = AcceptorPool::supervised(make).backoff(first, longest).max_restarts(3, Duration::from_secs(3600));
    let supervised = supervised.start().await.unwrap();
    let began = Instant::now();
    supervised.pool().unwrap().acceptors()[0].do_send(AcceptorFailure::Stop);
    match supervised.stopped().await {
        Err(error @ SupervisedError::TooManyRestarts { limit: 3, .. }) => {
            let source = error.source().unwrap().to_string();
            assert!(source.contains("acceptors"), "{source}");
        }
        other => panic!("{other:?}"),
    }
    // 10, 20 and 25 seconds, each shortened by up to a half.
    let took = began.elapsed().as_secs_f64();
    assert!((27.5..=56.0).contains(&took), "{took}");
    assert_eq!((supervised.restarts(), supervised.pool().is_none()), (3, true));
}

#[actix::test]
async fn a_stop_cancels_a_restart() {
    tokio::time::pause();
    let hour = Duration::from_secs(3600);
    let supervised = AcceptorPool::supervised(in_memory).backoff(hour, hour).start().await.unwrap();
    supervised.pool().unwrap().acceptors()[0].do_send(AcceptorFailure::Stop);
    supervised.subscribe().wait_for(Option::is_none).await.unwrap();
    let began = Instant::now();
    let other = supervised.clone();
    supervised.stop(None).await;
    assert!(other.stopped().await.is_ok() && other.pool().is_none());
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[actix::test]
async fn a_pool_that_ran_long_is_restarted_soon() {
    tokio::time::pause();
    let (first, longest) = (Duration::from_secs(1), Duration::from_secs(1000));
    let supervised = AcceptorPool::supervised(in_memory).backoff(first, longest).start().await.unwrap();
    let mut pauses = Vec::new();
    for ran in [0, 0, 0, 0, 2000] {
        tokio::time::sleep(Duration::from_secs(ran)).await;
        supervised.pool().unwrap().acceptors()[0].do_send(AcceptorFailure::Stop);
        supervised.subscribe().wait_for(Option::is_none).await.unwrap();
        let began = Instant::now();
        supervised.subscribe().wait_for(Option::is_some).await.unwrap();
        pauses.push(began.elapsed().as_secs_f64());
    }
    assert!(pauses[3] >= 3.9 && pauses[4] <= 1.1, "{pauses:?}");
    supervised.stop(None).await;
}

#[actix::test]
async fn the_end_of_its_arbiter_ends_the_supervision() {
    let (arbiter, (sender, started)) = (actix_rt::Arbiter::new(), tokio::sync::oneshot::channel());
    arbiter.spawn_fn(move || {
        actix_rt::spawn(async move {
            let supervised = AcceptorPool::supervised(|| fragile(Listener::tcp("127.0.0.1:0"))).start().await;
            drop(sender.send(supervised.unwrap()));
        });
    });
    let supervised = in_time(started).await.unwrap();
    arbiter.stop();
    assert!(matches!(in_time(supervised.stopped()).await, Err(SupervisedError::Orphaned)));
    assert!(supervised.pool().is_none());
}
