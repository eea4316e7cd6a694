//! The program's own word, asked before a connection is started.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_acceptor::{
    limits::{AtLimit, Rule},
    telemetry::RefusalReason,
    Listener,
};
use futures::future::join_all;

use super::counting::*;
use support::*;

const HOUR: Duration = Duration::from_secs(3_600);

#[actix::test]
async fn a_peer_refused_by_the_overload_hook_is_counted() {
    let counter = ConnectionCounter::default();
    let overloaded = Arc::<AtomicBool>::default();
    let hook = overloaded.clone();
    // What it refuses leaves no trace: neither a permit nor the one place of its peer.
    let pool = counter.pool().max_connections(1).max_per_peer(1).refusal_message("overloaded\n");
    let pool = pool.overload(move |_| hook.load(Relaxed)).bind("127.0.0.1:0").await.unwrap();
    drop(served(&pool).await);
    counting(&pool, 0).await;
    overloaded.store(true, Relaxed);
    for round in 1..=5 {
        connect(&pool).await.expect_closed_after("overloaded\n").await;
        eventually(|| refused(&pool, RefusalReason::Overload) == round).await;
        assert_adds_up(&pool);
    }
    counting(&pool, 0).await;
    overloaded.store(false, Relaxed);
    served(&pool).await;
    assert_eq!((pool.info().refused.total(), counter.served()), (5, 2));
    ends(&pool).await;
}

#[actix::test]
async fn a_hook_that_panics_refuses_and_the_pool_goes_on() {
    let counter = ConnectionCounter::default();
    let asked = Arc::<AtomicUsize>::default();
    let hook = asked.clone();
    let pool = counter.pool().max_connections(1).max_per_peer(1).overload(move |_| {
        assert!(hook.fetch_add(1, Relaxed) >= 5, "the hook panics");
        false
    });
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    for round in 1..=5 {
        connect(&pool).await.expect_closed_after("").await;
        eventually(|| refused(&pool, RefusalReason::Overload) == round).await;
    }
    served(&pool).await;
    assert_eq!((asked.load(Relaxed), pool.info().refused.total()), (6, 5));
    assert_eq!(pool.info().acceptors[0].restarts, 0);
    ends(&pool).await;
}

#[actix::test]
async fn the_overload_hook_sees_peer_listener_and_counts() {
    let counter = ConnectionCounter::default();
    let seen = Arc::<Mutex<Vec<_>>>::default();
    let hook = seen.clone();
    let pool = counter.pool().max_connections(3).overload(move |unserved_peer| {
        let peer = unserved_peer.peer.socket().unwrap();
        let seen = (peer, unserved_peer.listener.to_owned(), unserved_peer.connections, unserved_peer.max_connections);
        hook.lock().unwrap().push(seen);
        false
    });
    let pool = pool.listener(Listener::tcp("127.0.0.1:0").name("front")).start().await.unwrap();
    let inside = fill(&pool, 3).await;
    assert!(pool.exempt(pool.list()[0].id));
    in_time(pool.change(|settings| settings.max_connections = 7)).await.unwrap();
    let last = served(&pool).await;
    let front = || "front".to_owned();
    let expected: Vec<_> = inside.iter().enumerate().map(|(n, peer)| (peer.address(), front(), n, 3)).collect();
    let expected = [expected, vec![(last.address(), front(), 3, 7)]].concat();
    assert_eq!(*seen.lock().unwrap(), expected);
    ends(&pool).await;
}

#[actix::test]
async fn the_overload_hook_runs_last() {
    let counter = ConnectionCounter::default();
    let asked = Arc::<AtomicUsize>::default();
    let hook = asked.clone();
    let pool = counter.pool().max_connections(2).at_limit(AtLimit::Close).max_per_peer(1).accept_rate(2, HOUR);
    let pool = pool.rules([Rule::deny("127.0.0.9").unwrap()]).overload(move |_| {
        hook.fetch_add(1, Relaxed);
        false
    });
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let _first = served_from(&pool, "127.0.0.1").await;
    connect_from(&pool, "127.0.0.9").await.expect_closed_after("").await;
    connect_from(&pool, "127.0.0.1").await.expect_closed_after("").await;
    let second = served_from(&pool, "127.0.0.2").await;
    connect_from(&pool, "127.0.0.3").await.expect_closed_after("").await;
    drop(second);
    counting(&pool, 1).await;
    connect_from(&pool, "127.0.0.3").await.expect_closed_after("").await;
    eventually(|| pool.info().refused.total() == 4).await;
    for reason in [RefusalReason::Denied, RefusalReason::PerPeer, RefusalReason::Limit, RefusalReason::Rate] {
        assert_eq!(refused(&pool, reason), 1, "{reason:?}");
    }
    assert_eq!(asked.load(Relaxed), 2);
    ends(&pool).await;
}

#[actix::test]
async fn the_overload_hook_runs_with_a_permit_held() {
    const MAX: usize = 5;
    let counter = ConnectionCounter::default();
    let most = Arc::<AtomicUsize>::default();
    let hook = most.clone();
    let pool = counter.pool().acceptors(4).max_connections(MAX).overload(move |unserved_peer| {
        hook.fetch_max(unserved_peer.connections, Relaxed);
        // Every third one is refused.
        unserved_peer.peer.socket().unwrap().port() % 3 == 0
    });
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let client = || async {
        let mut counts = [0, 0];
        for _ in 0..20 {
            counts[usize::from(unserved_peer(&pool).await.until_gone_or_served().await)] += 1;
            assert_adds_up(&pool);
        }
        counts
    };
    let counts = in_time(join_all((0..40).map(|_| client()))).await;
    let count = |at: usize| counts.iter().map(|counts| counts[at]).sum::<u64>();
    eventually(|| pool.connections() == 0).await;
    assert_eq!((most.load(Relaxed), counter.most()), (MAX - 1, MAX));
    assert_eq!((refused(&pool, RefusalReason::Overload), pool.info().closed.total()), (count(0), count(1)));
    assert_eq!(pool.info().accepted, 800);
    ends(&pool).await;
}
