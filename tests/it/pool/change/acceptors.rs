//! More acceptors, and fewer.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{AcceptorPool, Connection, Pool};

use support::acceptors::*;
use support::*;

async fn pool(acceptors: usize) -> Pool<Connection<Echo>> {
    AcceptorPool::with_protocol(|_| Echo).acceptors(acceptors).bind("127.0.0.1:0").await.unwrap()
}

/// Changes the number, and waits until that many run.
async fn staff<A>(pool: &Pool<A>, acceptors: usize) {
    pool.change(move |settings| settings.acceptors = Some(acceptors)).await.unwrap();
    eventually(|| pool.acceptors().len() == acceptors).await;
    assert_eq!(pool.info().acceptors.len(), acceptors);
}

/// Connections that come and go as fast as they can, and how many did.
async fn load<A>(pool: &Pool<A>, stop: Arc<AtomicBool>) -> u64 {
    let mut served = 0;
    while !stop.load(Relaxed) {
        let mut peer = connect(pool).await;
        peer.echo("hello").await;
        peer.finish().await;
        assert_eq!(peer.read_to_end().await, b"");
        served += 1;
    }
    served
}

#[actix::test]
async fn resizing_under_load_loses_no_connection() {
    let pool = pool(1).await;
    let stop = Arc::<AtomicBool>::default();
    let loads: Vec<_> = (0..8)
        .map(|_| {
            let (pool, stop) = (pool.clone(), stop.clone());
            actix_rt::spawn(async move { load(&pool, stop).await })
        })
        .collect();
    let mut old = Vec::new();
    for acceptors in [4, 1, 3, 1, 4] {
        staff(&pool, acceptors).await;
        for _ in 0..10 {
            let mut peer = connect(&pool).await;
            peer.echo("hello").await;
            old.push(peer);
        }
    }
    stop.store(true, Relaxed);
    let mut served = 0;
    for load in loads {
        served += in_time(load).await.unwrap();
    }
    for peer in &mut old {
        peer.echo("still here").await;
    }
    pool.wait_for(|connections| connections == 50, TIME_LIMIT).await.unwrap();
    let info = pool.info();
    assert_eq!((info.accepted, info.closed.total()), (served + 50, served));
    assert_eq!(restarts(&pool), 0, "nobody has died");
    let report = in_time(pool.stop(Duration::from_secs(60))).await;
    assert_eq!((report.asked, report.finished), (50, 50), "those of places given up are told, too");
}

#[actix::test]
async fn added_acceptors_serve() {
    let pool = pool(1).await;
    staff(&pool, 3).await;
    one_peer_per_acceptor(&pool).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn quick_resizes_take_nothing_from_the_restart_budget() {
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(4).max_restarts(1, Duration::from_secs(600));
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    for _ in 0..5 {
        for acceptors in [1, 4] {
            pool.change(move |settings| settings.acceptors = Some(acceptors)).await.unwrap();
        }
    }
    connect(&pool).await.echo("hello").await;
    // The first one was never stopped. Its death is the only one.
    pool.acceptors()[0].do_send(AcceptorFailure::Panic);
    eventually(|| restarts(&pool) > 0 && pool.acceptors().len() == 4 || !pool.is_ready()).await;
    assert!(pool.is_ready(), "{:?}", pool.status());
    assert_eq!(restarts(&pool), 1);
    connect(&pool).await.echo("hello").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_removed_acceptor_that_dies_is_not_replaced() {
    let pool = pool(3).await;
    staff(&pool, 1).await;
    for die in AcceptorFailure::ALL {
        kill(&pool.untyped(), die).await;
        connect(&pool).await.echo("hello").await;
        assert_eq!(pool.acceptors().len(), 1);
    }
    staff(&pool, 3).await;
    connect(&pool).await.echo("hello").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn acceptors_on_the_current_arbiter_can_be_resized() {
    let pool = AcceptorPool::with_protocol(|_| Echo).on_current_arbiter().bind("127.0.0.1:0").await.unwrap();
    for acceptors in [3, 1, 2] {
        staff(&pool, acceptors).await;
        connect(&pool).await.echo("hello").await;
    }
    pool.change(|settings| settings.acceptors = None).await.unwrap();
    eventually(|| pool.acceptors().len() == 1).await;
    connect(&pool).await.echo("hello").await;
    in_time(pool.stop(Duration::ZERO)).await;
}
