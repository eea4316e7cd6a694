//! How fast peers may come: buckets that are full at first, and refill too slowly for a test to see.

use std::time::{Duration, Instant};

use actix_acceptor::{
    limits::{AtLimit, Rate, Rule},
    telemetry::{CloseReason, RefusalReason},
};

use super::counting::*;
use support::*;

const HOUR: Duration = Duration::from_secs(3_600);

#[actix::test]
async fn a_rate_of_n_admits_n_and_refuses_the_next_one() {
    for (acceptors, n) in [(1, 1), (1, 5), (3, 20)] {
        let counter = ConnectionCounter::default();
        let pool = counter.pool().acceptors(acceptors).accept_rate(n, HOUR).refusal_message("slow down\n");
        let pool = pool.bind("127.0.0.1:0").await.unwrap();
        // Whoever leaves gives no token back.
        for number in 0..n {
            served(&pool).await;
            eventually(|| closed(&pool, CloseReason::Peer) == u64::from(number) + 1).await;
        }
        for round in 1..=3 {
            connect(&pool).await.expect_closed_after("slow down\n").await;
            eventually(|| refused(&pool, RefusalReason::Rate) == round).await;
            assert_adds_up(&pool);
        }
        assert_eq!((counter.served(), pool.info().refused.total()), (n as usize, 3));
        ends(&pool).await;
    }
}

#[actix::test]
async fn the_bucket_refills_evenly() {
    let counter = ConnectionCounter::default();
    let within = Duration::from_millis(1_200);
    let pool = counter.pool().accept_rate(3, within).bind("127.0.0.1:0").await.unwrap();
    let began = Instant::now();
    let mut served_at = Vec::new();
    while served_at.len() < 5 {
        let mut peer = unserved_peer(&pool).await;
        if !peer.until_gone_or_served().await {
            continue;
        }
        served_at.push(began.elapsed());
    }
    // Three at once, the fourth when a third of the time is over, the fifth when two are.
    assert!(served_at[3] >= within / 3, "{served_at:?}");
    assert!(served_at[4] >= within * 2 / 3, "{served_at:?}");
    assert!(served_at[4] < within * 4, "{served_at:?}");
    ends(&pool).await;
}

#[actix::test]
async fn each_peer_has_a_bucket_of_its_own() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().acceptors(2).peer_rate(2, HOUR).bind("127.0.0.1:0").await.unwrap();
    for peer in 1..=5 {
        let ip = format!("127.0.0.{peer}");
        let _inside = [served_from(&pool, &ip).await, served_from(&pool, &ip).await];
        connect_from(&pool, &ip).await.expect_closed_after("").await;
        eventually(|| refused(&pool, RefusalReason::Rate) == peer).await;
    }
    eventually(|| pool.connections() == 0).await;
    counting(&pool, 0).await;
    // Peers that are gone are remembered.
    for peer in 1..=5 {
        connect_from(&pool, &format!("127.0.0.{peer}")).await.expect_closed_after("").await;
    }
    eventually(|| refused(&pool, RefusalReason::Rate) == 10).await;
    assert_eq!((counter.served(), pool.info().refused.total()), (10, 10));
    ends(&pool).await;
}

#[actix::test]
async fn a_per_peer_refusal_takes_no_shared_token() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().accept_rate(4, HOUR).peer_rate(2, HOUR).max_per_peer(1);
    let pool = pool.rules([Rule::deny("127.0.0.9").unwrap()]).bind("127.0.0.1:0").await.unwrap();
    let _first = served_from(&pool, "127.0.0.1").await;
    for _ in 0..10 {
        connect_from(&pool, "127.0.0.1").await.expect_closed_after("").await;
        connect_from(&pool, "127.0.0.9").await.expect_closed_after("").await;
    }
    let second = served_from(&pool, "127.0.0.2").await;
    drop(second);
    counting(&pool, 1).await;
    let third = served_from(&pool, "127.0.0.2").await;
    drop(third);
    counting(&pool, 1).await;
    for _ in 0..10 {
        connect_from(&pool, "127.0.0.2").await.expect_closed_after("").await;
    }
    eventually(|| refused(&pool, RefusalReason::Rate) == 10).await;
    let _fourth = served_from(&pool, "127.0.0.3").await;
    // Now the pool's bucket is empty, too.
    connect_from(&pool, "127.0.0.4").await.expect_closed_after("").await;
    eventually(|| refused(&pool, RefusalReason::Rate) == 11).await;
    assert_eq!((refused(&pool, RefusalReason::PerPeer), refused(&pool, RefusalReason::Denied)), (10, 10));
    ends(&pool).await;
}

#[actix::test]
async fn a_refusal_at_the_limit_takes_no_rate_token() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(1).at_limit(AtLimit::Close).accept_rate(2, HOUR).peer_rate(2, HOUR);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let inside = served(&pool).await;
    for _ in 0..5 {
        connect(&pool).await.expect_closed_after("").await;
    }
    drop(inside);
    counting(&pool, 0).await;
    served(&pool).await;
    eventually(|| closed(&pool, CloseReason::Peer) == 2).await;
    counting(&pool, 0).await;
    connect(&pool).await.expect_closed_after("").await;
    eventually(|| pool.info().refused.total() == 6).await;
    assert_eq!((refused(&pool, RefusalReason::Limit), refused(&pool, RefusalReason::Rate)), (5, 1));
    ends(&pool).await;
}

#[actix::test]
async fn rates_can_be_switched_on_and_off() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().bind("127.0.0.1:0").await.unwrap();
    fill(&pool, 5).await;
    in_time(pool.change(|settings| settings.accept_rate = Some(Rate::new(2, HOUR)))).await.unwrap();
    fill(&pool, 2).await;
    connect(&pool).await.expect_closed_after("").await;
    in_time(pool.change(|settings| settings.accept_rate = None)).await.unwrap();
    fill(&pool, 5).await;
    in_time(pool.change(|settings| settings.peer_rate = Some(Rate::new(1, HOUR)))).await.unwrap();
    served_from(&pool, "127.0.0.7").await;
    connect_from(&pool, "127.0.0.7").await.expect_closed_after("").await;
    eventually(|| refused(&pool, RefusalReason::Rate) == 2).await;
    for unsound in [Rate::new(0, HOUR), Rate::new(1, Duration::ZERO)] {
        in_time(pool.change(move |settings| settings.accept_rate = Some(unsound))).await.unwrap_err();
    }
    ends(&pool).await;
}

#[actix::test]
async fn a_faster_rate_takes_effect_at_once() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().accept_rate(1, HOUR).peer_rate(1, HOUR).bind("127.0.0.1:0").await.unwrap();
    served(&pool).await;
    connect(&pool).await.expect_closed_after("").await;
    let changed = pool.change(|settings| {
        let fast = Rate::new(10, Duration::from_millis(100));
        (settings.accept_rate, settings.peer_rate) = (Some(fast), Some(fast));
    });
    in_time(changed).await.unwrap();
    // At the worst the new buckets are empty; they fill within a tenth of a second.
    let began = Instant::now();
    while !unserved_peer(&pool).await.until_gone_or_served().await {
        assert!(began.elapsed() < Duration::from_secs(3), "the slower rate still holds");
    }
    ends(&pool).await;
}
