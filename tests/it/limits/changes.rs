//! The limit changed while the pool runs, and connections taken off it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_acceptor::{limits::AtLimit, telemetry::RefusalReason, Pool, PoolHandle};
use futures::future::join_all;

use super::census::*;
use support::*;

async fn set_max<A>(pool: &Pool<A>, max: usize) {
    soon(pool.change(move |settings| settings.max_connections = max)).await.unwrap();
    assert_eq!((pool.info().max_connections, pool.settings().max_connections), (max, max));
}

#[actix::test]
async fn a_raised_limit_admits_waiting_peers_at_once() {
    for acceptors in [1, 3] {
        let census = Census::default();
        let pool = census.pool().acceptors(acceptors).max_connections(2).bind("127.0.0.1:0").await.unwrap();
        let _inside = fill(&pool, 2).await;
        let mut waiting = Vec::new();
        for _ in 0..5 {
            waiting.push(newcomer(&pool).await);
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
        assert_eq!((census.alive(), census.most(), pool.info().accepted), (5, 5, 5));
        set_max(&pool, 7).await;
        eventually(|| census.alive() == 7).await;
        ends(&pool).await;
    }
}

#[actix::test]
async fn a_lowered_limit_ends_no_connection_and_admits_none() {
    for policy in [AtLimit::Wait, AtLimit::Hold(Duration::from_secs(60))] {
        let census = Census::default();
        let pool = census.pool().max_connections(5).at_limit(policy).bind("127.0.0.1:0").await.unwrap();
        let mut inside = fill(&pool, 5).await;
        set_max(&pool, 2).await;
        let mut newcomer = newcomer(&pool).await;
        for left in (2..5).rev() {
            newcomer.expect_waiting().await;
            for peer in &mut inside {
                peer.echo("alive").await;
            }
            inside.pop();
            eventually(|| pool.connections() == left).await;
        }
        newcomer.expect_waiting().await;
        assert_eq!((pool.connections(), census.alive(), census.served()), (2, 2, 5));
        inside.pop();
        newcomer.expect_served().await;
        drop((inside, newcomer));
        has_room_for(&pool, 2).await;
        ends(&pool).await;
    }
}

#[actix::test]
async fn a_limit_of_none_is_refused_and_nothing_changes() {
    let census = Census::default();
    let pool = census.pool().max_connections(2).bind("127.0.0.1:0").await.unwrap();
    soon(pool.change(|settings| settings.max_connections = 0)).await.unwrap_err();
    assert_eq!(pool.info().max_connections, 2);
    has_room_for(&pool, 2).await;
    ends(&pool).await;
}

#[actix::test]
async fn waiting_peers_are_closed_when_the_policy_changes() {
    let census = Census::default();
    let pool = census.pool().acceptors(2).max_connections(1).refusal_message("no\n").bind("127.0.0.1:0").await.unwrap();
    let inside = served(&pool).await;
    let mut waiting = [newcomer(&pool).await, newcomer(&pool).await];
    waiting[1].expect_waiting().await;
    soon(pool.change(|settings| settings.at_limit = AtLimit::Close)).await.unwrap();
    for peer in &mut waiting {
        peer.expect_closed_after("no\n").await;
    }
    eventually(|| refused(&pool, RefusalReason::Limit) == 2).await;
    soon(pool.change(|settings| settings.at_limit = AtLimit::Wait)).await.unwrap();
    let mut next = newcomer(&pool).await;
    next.expect_waiting().await;
    drop(inside);
    next.expect_served().await;
    ends(&pool).await;
}

#[actix::test]
async fn an_exempt_connection_frees_its_permit() {
    let census = Census::default();
    let pool = census.pool().max_connections(2).bind("127.0.0.1:0").await.unwrap();
    let mut inside = fill(&pool, 2).await;
    let mut waiting = [newcomer(&pool).await, newcomer(&pool).await];
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
    assert_eq!(census.most(), 3);
    drop(waiting);
    has_room_for(&pool, 2).await;
    ends(&pool).await;
}

#[actix::test]
async fn connections_can_be_exempted_concurrently() {
    let census = Census::default();
    let pool = census.pool().acceptors(2).max_connections(3).bind("127.0.0.1:0").await.unwrap();
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
    newcomer(&pool).await.expect_waiting().await;
    drop(inside);
    eventually(|| pool.connections() == 3).await;
    newcomer(&pool).await.expect_waiting().await;
    ends(&pool).await;
}

/// Comes, has a few words, and leaves, until it is told to stop.
async fn comes_and_goes(pool: PoolHandle, stop: Arc<AtomicBool>) {
    while !stop.load(Relaxed) {
        let mut peer = newcomer(&pool).await;
        peer.expect_served().await;
        peer.echo("and once more").await;
    }
}

#[actix::test]
async fn limit_changes_under_load_never_overshoot() {
    const N: usize = 20;
    let census = Census::default();
    let pool = census.pool().acceptors(3).max_connections(N).bind("127.0.0.1:0").await.unwrap();
    let stop = Arc::<AtomicBool>::default();
    let clients = (0..100).map(|_| actix::spawn(comes_and_goes(pool.untyped(), stop.clone())));
    let clients = join_all(clients.collect::<Vec<_>>());
    for change in 0..80 {
        let max = 1 + change * 7 % N;
        set_max(&pool, max).await;
        // Whoever was just being let in under the last limit is in; those above the new one leave as they like.
        acceptors_have_come_round(&pool).await;
        eventually(|| pool.listeners()[0].connections <= max).await;
        // From here on there is none too many; and as many as there may be.
        census.begin();
        eventually(|| census.most() >= max && census.served() >= 20).await;
        assert_eq!(census.most(), max, "change {change}");
        assert_eq!(pool.info().refused.total(), 0);
    }
    // With the highest limit again, so that those who wait are served.
    set_max(&pool, N).await;
    stop.store(true, Relaxed);
    soon(clients).await.into_iter().for_each(|client| client.unwrap());
    eventually(|| pool.connections() == 0).await;
    adds_up(&pool);
    has_room_for(&pool, N).await;
    ends(&pool).await;
}
