//! Peers that are held at the limit: let in as they came, or sent off when their time is over.

use std::time::{Duration, Instant};

use actix_acceptor::{
    limits::{AtLimit, BacklogPolicy},
    telemetry::{CloseReason, RefusalReason},
    Drain, Listener, Pool, SuspendMode,
};

use super::counting::*;
use support::acceptors::block_at;
use support::*;

const REFUSAL_MESSAGE: &str = "too long\r\n";
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

/// A full pool that holds peers for this time.
async fn full(max: usize, acceptors: usize, time: Duration) -> (Pool<impl actix::Actor>, ConnectionCounter, Vec<Peer>) {
    let counter = ConnectionCounter::default();
    let pool = counter
        .pool()
        .acceptors(acceptors)
        .max_connections(max)
        .at_limit(AtLimit::Hold(time))
        .refusal_message(REFUSAL_MESSAGE);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let inside = fill(&pool, max).await;
    (pool, counter, inside)
}

#[actix::test]
async fn held_peers_are_admitted_in_order() {
    let (pool, counter, mut inside) = full(2, 1, LONG).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        let mut peer = unserved_peer(&pool).await;
        peer.expect_waiting().await;
        held.push(peer);
    }
    for _ in 0..6 {
        inside.remove(0).finish().await;
        let mut first = held.remove(0);
        first.expect_served().await;
        if let Some(next) = held.first_mut() {
            next.expect_waiting().await;
        }
        inside.push(first);
    }
    assert_eq!((counter.alive(), counter.most()), (2, 2));
    assert_eq!(pool.info().refused.total(), 0);
    ends(&pool).await;
}

#[actix::test]
async fn held_peers_precede_later_ones() {
    let (pool, counter, mut inside) = full(1, 4, LONG).await;
    let mut held = unserved_peer(&pool).await;
    held.expect_waiting().await;
    let mut later = Vec::new();
    for _ in 0..20 {
        later.push(unserved_peer(&pool).await);
    }
    inside.pop();
    held.expect_served().await;
    assert_eq!((counter.served(), counter.most()), (2, 1));
    later.clear();
    drop(held);
    counting(&pool, 0).await;
    ends(&pool).await;
}

#[actix::test]
async fn a_held_peer_is_refused_exactly_at_its_hold_limit() {
    let (pool, counter, mut inside) = full(3, 2, SHORT).await;
    for round in 1..=3 {
        let came = Instant::now();
        let mut held = unserved_peer(&pool).await;
        held.expect_closed_after(REFUSAL_MESSAGE).await;
        assert!(came.elapsed() >= SHORT, "after {:?}", came.elapsed());
        assert!(came.elapsed() < SHORT + Duration::from_secs(1), "after {:?}", came.elapsed());
        assert_eq!(refused(&pool, RefusalReason::Limit), round);
        assert_adds_up(&pool);
    }
    // Whoever ran out of time has left no gap in the line.
    let mut admitted = unserved_peer(&pool).await;
    inside.pop();
    admitted.expect_served().await;
    assert_eq!((counter.most(), pool.info().refused.total()), (3, 3));
    ends(&pool).await;
}

#[actix::test]
async fn a_held_peer_that_leaves_takes_no_permit() {
    let (pool, counter, mut inside) = full(2, 1, LONG).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(unserved_peer(&pool).await);
    }
    let mut last = unserved_peer(&pool).await;
    last.expect_waiting().await;
    for (number, peer) in held.into_iter().enumerate() {
        if number % 2 == 0 {
            peer.reset();
        }
    }
    inside.pop();
    last.expect_served().await;
    assert_eq!(counter.most(), 2);
    drop((inside, last));
    eventually(|| pool.connections() == 0).await;
    counting(&pool, 0).await;
    assert_eq!(closed(&pool, CloseReason::Peer), 13);
    ends(&pool).await;
}

#[actix::test]
async fn held_peers_do_not_count_as_connections() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(1).at_limit(AtLimit::Hold(LONG));
    let pool = pool.listener(Listener::tcp("127.0.0.1:0").max_connections(5)).start().await.unwrap();
    let inside = served(&pool).await;
    let mut held = unserved_peer(&pool).await;
    held.expect_waiting().await;
    assert_eq!((pool.connections(), pool.listeners()[0].connections), (1, 1));
    drop(inside);
    held.expect_served().await;
    ends(&pool).await;
}

#[actix::test]
async fn a_raised_limit_admits_held_peers_at_once() {
    let (pool, counter, _inside) = full(2, 1, LONG).await;
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(unserved_peer(&pool).await);
    }
    held[4].expect_waiting().await;
    in_time(pool.change(|settings| settings.max_connections = 5)).await.unwrap();
    for peer in &mut held[..3] {
        peer.expect_served().await;
    }
    for peer in &mut held[3..] {
        peer.expect_waiting().await;
    }
    assert_eq!((counter.alive(), counter.most()), (5, 5));
    ends(&pool).await;
}

#[actix::test]
async fn held_peers_are_refused_when_the_pool_drains() {
    for (acceptors, drain) in [
        (1, Drain::grace(LONG)),
        (3, Drain::grace(LONG)),
        (1, Drain::grace(LONG).backlog_on_close(BacklogPolicy::Refuse)),
        (3, Drain::grace(LONG).backlog_on_close(BacklogPolicy::Drop)),
    ] {
        let (pool, _, inside) = full(1, acceptors, LONG).await;
        let mut held = Vec::new();
        for _ in 0..20 {
            held.push(unserved_peer(&pool).await);
        }
        // Each of them is held, none is in the kernel's queue any more.
        held[19].expect_waiting().await;
        held[0].expect_waiting().await;
        let report = in_time(pool.drain(drain)).await;
        for peer in &mut held {
            peer.expect_closed_after(REFUSAL_MESSAGE).await;
        }
        assert_eq!((report.unserved, report.asked, report.forced), (20, 1, 0), "{acceptors} {drain:?}");
        assert_eq!(refused(&pool, RefusalReason::Draining), 20, "{acceptors} {drain:?}");
        drop(inside);
        assert_adds_up(&pool);
    }
}

#[actix::test]
async fn held_peers_stay_held_during_a_suspension() {
    let (pool, _, mut inside) = full(1, 1, LONG).await;
    let mut held = unserved_peer(&pool).await;
    held.expect_waiting().await;
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    held.expect_waiting().await;
    in_time(pool.resume()).await.unwrap();
    inside.pop();
    held.expect_served().await;
    ends(&pool).await;
}

#[actix::test]
async fn held_peers_are_refused_when_a_suspension_closes_ports() {
    let (pool, _, inside) = full(1, 1, LONG).await;
    let mut held = unserved_peer(&pool).await;
    held.expect_waiting().await;
    in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
    held.expect_closed_after(REFUSAL_MESSAGE).await;
    assert_eq!((refused(&pool, RefusalReason::Draining), pool.connections()), (1, 1));
    drop(inside);
    ends(&pool).await;
}

#[actix::test]
async fn beyond_1024_held_peers_the_next_are_closed() {
    let (pool, _, mut inside) = full(1, 1, LONG).await;
    let mut held = Vec::new();
    for _ in 0..1_024 {
        held.push(unserved_peer(&pool).await);
    }
    for round in 1..=3 {
        connect(&pool).await.expect_closed_after(REFUSAL_MESSAGE).await;
        assert_eq!(refused(&pool, RefusalReason::Limit), round);
    }
    inside.pop();
    held[0].expect_served().await;
    held[1].expect_waiting().await;
    // One was admitted, so one more is held.
    unserved_peer(&pool).await.expect_waiting().await;
    ends(&pool).await;
}

#[actix::test]
async fn a_blocked_arbiter_holds_up_no_held_peer_of_others() {
    for own_limit in [None, Some(8)] {
        let counter = ConnectionCounter::default();
        let pool = counter.pool().acceptors(2).max_connections(8).at_limit(AtLimit::Hold(LONG));
        let listener = Listener::tcp("127.0.0.1:0");
        let listener = if let Some(max) = own_limit { listener.max_connections(max) } else { listener };
        let pool = pool.listener(listener).start().await.unwrap();
        // All connections are on the second arbiter, the first six held peers on the first one.
        let first = block_at(&pool, 0).await;
        let inside = fill(&pool, 8).await;
        drop(first);
        let second = block_at(&pool, 1).await;
        let mut held_by_first = Vec::new();
        for _ in 0..6 {
            held_by_first.push(unserved_peer(&pool).await);
        }
        held_by_first[5].expect_waiting().await;
        let first = block_at(&pool, 0).await;
        drop(second);
        let mut held_by_second = Vec::new();
        for _ in 0..4 {
            held_by_second.push(unserved_peer(&pool).await);
        }
        held_by_second[3].expect_waiting().await;
        let freed = Instant::now();
        drop(inside);
        for peer in &mut held_by_second {
            peer.expect_served().await;
        }
        let mut new = fill(&pool, 4).await;
        assert!(freed.elapsed() < Duration::from_secs(1), "{:?}", freed.elapsed());
        held_by_first[0].expect_waiting().await;
        // They have kept their positions.
        let mut last = unserved_peer(&pool).await;
        last.expect_waiting().await;
        drop(first);
        for peer in &mut held_by_first {
            new.pop();
            held_by_second.pop();
            peer.expect_served().await;
        }
        last.expect_served().await;
        assert_eq!((counter.most(), pool.info().refused.total()), (8, 0));
        ends(&pool).await;
    }
}

#[actix::test]
async fn a_peer_above_its_limit_is_not_held() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(2).max_per_peer(2).at_limit(AtLimit::Hold(LONG));
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let mut inside = vec![served_from(&pool, "127.0.0.1").await, served_from(&pool, "127.0.0.2").await];
    // One more of the first is held, and all others are refused at once: more than may be held.
    let mut held = connect_from(&pool, "127.0.0.1").await;
    held.send("hello").await;
    held.expect_waiting().await;
    for number in 1..=1_030 {
        connect_from(&pool, "127.0.0.1").await.expect_closed_after("").await;
        assert_eq!(refused(&pool, RefusalReason::PerPeer), number);
    }
    let mut honest = connect_from(&pool, "127.0.0.3").await;
    honest.send("hello").await;
    honest.expect_waiting().await;
    inside.pop();
    held.expect_served().await;
    inside.pop();
    honest.expect_served().await;
    drop((held, honest));
    counting(&pool, 0).await;
    // What was held is counted once.
    let _two = [served_from(&pool, "127.0.0.1").await, served_from(&pool, "127.0.0.1").await];
    connect_from(&pool, "127.0.0.1").await.expect_closed_after("").await;
    ends(&pool).await;
}

#[actix::test]
async fn a_held_peer_that_is_refused_no_longer_counts() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(1).max_per_peer(1).at_limit(AtLimit::Hold(SHORT));
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let inside = served_from(&pool, "127.0.0.1").await;
    for _ in 0..2 {
        connect_from(&pool, "127.0.0.2").await.expect_closed_after("").await;
    }
    let mut held = connect_from(&pool, "127.0.0.2").await;
    held.send("hello").await;
    held.expect_waiting().await;
    connect_from(&pool, "127.0.0.2").await.expect_closed_after("").await;
    drop(inside);
    held.expect_served().await;
    assert_eq!((refused(&pool, RefusalReason::Limit), refused(&pool, RefusalReason::PerPeer)), (2, 1));
    ends(&pool).await;
}

#[actix::test]
async fn a_rule_set_meanwhile_applies_to_held_peers() {
    let (pool, _, inside) = full(1, 1, LONG).await;
    let mut held = unserved_peer(&pool).await;
    held.expect_waiting().await;
    let deny = actix_acceptor::limits::Rule::deny("127.0.0.0/8").unwrap();
    in_time(pool.change(move |settings| settings.rules = vec![deny])).await.unwrap();
    drop(inside);
    held.until_gone().await;
    assert_eq!(refused(&pool, RefusalReason::Denied), 1);
    ends(&pool).await;
}
