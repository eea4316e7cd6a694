//! The limit changed while the pool runs, and connections taken off it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_acceptor::{limits::AtLimit, telemetry::RefusalReason, Pool, PoolHandle};
use futures::future::join_all;

use super::counting::*;
use support::*;

async fn set_max<A>(pool: &Pool<A>, max: usize) {
    in_time(pool.change(move |settings| settings.max_connections = max)).await.unwrap();
    assert_eq!((pool.info().max_connections, pool.settings().max_connections), (max, max));
}

#[actix::test]
async fn a_raised_limit_admits_waiting_peers_at_once() {
    for acceptors in [1, 3] {
        let counter = ConnectionCounter::default();
        let pool = counter.pool().acceptors(acceptors).max_connections(2).bind("127.0.0.1:0").await.unwrap();
        let _inside = fill(&pool, 2).await;
        let mut waiting = Vec::new();
        for _ in 0..5 {
            waiting.push(unserved_peer(&pool).await);
        }
        waiting[0].expect_waiting().await;
        let raised = Instant::now();
        set_max(&pool, 5).await;
        // The kernel hands them out in order.
        for peer in &mut waiting[..3] {
            peer.expect_served().await;
        }
        assert!(raised.elapsed() < Duration::from_secs(1), "{:?}", raised.elapsed());
        waiting[3].expect_waiting().await;
        assert_eq!((counter.alive(), counter.most(), pool.info().accepted), (5, 5, 5));
        set_max(&pool, 7).await;
        eventually(|| counter.alive() == 7).await;
        ends(&pool).await;
    }
}

#[actix::test]
async fn a_lowered_limit_ends_no_connection_and_admits_none() {
    for policy in [AtLimit::Wait, AtLimit::Hold(Duration::from_secs(60))] {
        let counter = ConnectionCounter::default();
        let pool = counter.pool().max_connections(5).at_limit(policy).bind("127.0.0.1:0").await.unwrap();
        let mut inside = fill(&pool, 5).await;
        set_max(&pool, 2).await;
        let mut unserved_peer = unserved_peer(&pool).await;
        for left in (2..5).rev() {
            unserved_peer.expect_waiting().await;
            for peer in &mut inside {
                peer.echo("alive").await;
            }
            inside.pop();
            eventually(|| pool.connections() == left).await;
        }
        unserved_peer.expect_waiting().await;
        assert_eq!((pool.connections(), counter.alive(), counter.served()), (2, 2, 5));
        inside.pop();
        unserved_peer.expect_served().await;
        drop((inside, unserved_peer));
        assert_capacity(&pool, 2).await;
        ends(&pool).await;
    }
}

#[actix::test]
async fn a_limit_of_none_is_refused_and_nothing_changes() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(2).bind("127.0.0.1:0").await.unwrap();
    in_time(pool.change(|settings| settings.max_connections = 0)).await.unwrap_err();
    assert_eq!(pool.info().max_connections, 2);
    assert_capacity(&pool, 2).await;
    ends(&pool).await;
}

#[actix::test]
async fn waiting_peers_are_closed_when_the_policy_changes() {
    let counter = ConnectionCounter::default();
    let pool =
        counter.pool().acceptors(2).max_connections(1).refusal_message("no\n").bind("127.0.0.1:0").await.unwrap();
    let inside = served(&pool).await;
    let mut waiting = [unserved_peer(&pool).await, unserved_peer(&pool).await];
    waiting[1].expect_waiting().await;
    in_time(pool.change(|settings| settings.at_limit = AtLimit::Close)).await.unwrap();
    for peer in &mut waiting {
        peer.expect_closed_after("no\n").await;
    }
    eventually(|| refused(&pool, RefusalReason::Limit) == 2).await;
    in_time(pool.change(|settings| settings.at_limit = AtLimit::Wait)).await.unwrap();
    let mut next = unserved_peer(&pool).await;
    next.expect_waiting().await;
    drop(inside);
    next.expect_served().await;
    ends(&pool).await;
}

#[actix::test]
async fn an_exempt_connection_frees_its_permit() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(2).bind("127.0.0.1:0").await.unwrap();
    let mut inside = fill(&pool, 2).await;
    let mut waiting = [unserved_peer(&pool).await, unserved_peer(&pool).await];
    waiting[0].expect_waiting().await;
    let first = pool.list()[0].id;
    assert!(pool.exempt(first));
    waiting[0].expect_served().await;
    // Twice is once.
    assert!(pool.exempt(first));
    waiting[1].expect_waiting().await;
    assert_eq!((pool.connections(), pool.info().connections, pool.list().len()), (3, 3, 3));
    assert_eq!(pool.listeners()[0].connections, 2);
    inside[0].echo("exempted, and alive").await;
    // It gave its permit back when it was exempted: its end gives back none.
    drop(inside.remove(0));
    eventually(|| pool.connections() == 2).await;
    waiting[1].expect_waiting().await;
    assert!(!pool.exempt(first), "it is gone");
    drop(inside);
    waiting[1].expect_served().await;
    assert_eq!(counter.most(), 3);
    drop(waiting);
    assert_capacity(&pool, 2).await;
    ends(&pool).await;
}

#[actix::test]
async fn connections_can_be_exempted_concurrently() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().acceptors(2).max_connections(3).bind("127.0.0.1:0").await.unwrap();
    let mut inside = Vec::new();
    for round in 1..=5 {
        inside.extend(fill(&pool, 3).await);
        let ids: Vec<_> = pool.list().iter().map(|connection| connection.id).collect();
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (pool, ids) = (pool.untyped(), ids.clone());
                std::thread::spawn(move || ids.into_iter().all(|id| pool.exempt(id)))
            })
            .collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        assert_eq!((pool.connections(), pool.listeners()[0].connections), (3 * round, 0));
    }
    let _last = fill(&pool, 3).await;
    unserved_peer(&pool).await.expect_waiting().await;
    drop(inside);
    eventually(|| pool.connections() == 3).await;
    unserved_peer(&pool).await.expect_waiting().await;
    ends(&pool).await;
}

/// Connects, sends a few messages and leaves, until it is stopped.
async fn connect_repeatedly(pool: PoolHandle, stop: Arc<AtomicBool>) {
    while !stop.load(Relaxed) {
        let mut peer = unserved_peer(&pool).await;
        peer.expect_served().await;
        peer.echo("and once more").await;
    }
}

#[actix::test]
async fn limit_changes_under_load_never_overshoot() {
    const N: usize = 20;
    let counter = ConnectionCounter::default();
    let pool = counter.pool().acceptors(3).max_connections(N).bind("127.0.0.1:0").await.unwrap();
    let stop = Arc::<AtomicBool>::default();
    let clients = (0..100).map(|_| actix::spawn(connect_repeatedly(pool.untyped(), stop.clone())));
    let clients = join_all(clients.collect::<Vec<_>>());
    for change in 0..80 {
        let max = 1 + change * 7 % N;
        set_max(&pool, max).await;
        // Whoever was just being let in under the last limit is in; those above the new one leave as they like.
        acceptors_are_idle(&pool).await;
        eventually(|| pool.listeners()[0].connections <= max).await;
        // From here on there is none too many; and as many as there may be.
        counter.begin();
        eventually(|| counter.most() >= max && counter.served() >= 20).await;
        assert_eq!(counter.most(), max, "change {change}");
        assert_eq!(pool.info().refused.total(), 0);
    }
    // With the highest limit again, so that those who wait are served.
    set_max(&pool, N).await;
    stop.store(true, Relaxed);
    in_time(clients).await.into_iter().for_each(|client| client.unwrap());
    eventually(|| pool.connections() == 0).await;
    assert_adds_up(&pool);
    assert_capacity(&pool, N).await;
    ends(&pool).await;
}
