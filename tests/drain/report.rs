//! What is told of a drain, and of the number of connections.

use std::time::{Duration, Instant};

use actix_acceptor::{limits::BacklogPolicy, telemetry::CloseReason, Drain, SuspendMode};

use crate::guests::*;
use crate::support::*;

#[actix::test]
async fn the_report_adds_up() {
    let mut house = house(2).await;
    // Ended before: no concern of the drain's.
    drop(house.guests(2, "hello").await);
    house.pool.wait_for(|connections| connections == 0, PATIENCE).await.unwrap();
    let leave = house.guests(3, "hello").await;
    let (mut gone, stay) = (house.guests(4, "stay").await, house.guests(5, "stay").await);
    house.pool.suspend(SuspendMode::Hold).await.unwrap();
    let _unserved = queued(&house.pool, 6).await;
    let (grace, began) = (Duration::from_millis(500), Instant::now());
    let draining = begin(&house.pool, Drain::grace(grace).backlog_on_close(BacklogPolicy::Refuse)).await;
    for _ in 0..12 {
        house.next_told().await;
    }
    gone.clear();
    let report = soon(draining).await.unwrap();
    assert_eq!(counts(&report), [12, 7, 5, 6]);
    let closed = |reason| report.closed.get(reason);
    assert_eq!((closed(CloseReason::Shutdown) + closed(CloseReason::Peer), closed(CloseReason::Killed)), (7, 5));
    assert!(closed(CloseReason::Peer) <= 4 && closed(CloseReason::Shutdown) >= 3, "{:?}", report.closed);
    assert_eq!(report.closed.total(), 12);
    assert!((grace..=began.elapsed()).contains(&report.took), "{:?}", report.took);
    // It stays as it is, whenever it is asked for.
    assert_eq!(soon(house.pool.drain(Drain::immediate())).await, report);
    let info = house.pool.info();
    assert_eq!((info.accepted, info.connections, info.closed.total()), (20, 0, 14));
    drop((leave, stay));
}

#[actix::test]
async fn a_drain_of_nobody_is_over_at_once() {
    let house = house(2).await;
    let report = soon(house.pool.drain(Drain::grace(LONG))).await;
    assert_eq!((counts(&report), report.closed.total()), ([0; 4], 0));
}

#[actix::test]
async fn connections_are_waited_for_in_numbers() {
    let house = house(2).await;
    let mut peers = house.guests(10, "hello").await;
    assert_eq!(house.pool.wait_for(|connections| connections == 10, None).await, Ok(10));
    let waiting = actix_rt::spawn({
        let pool = house.pool.clone();
        async move { pool.wait_for(|connections| connections <= 3, PATIENCE).await }
    });
    for left in (4..10).rev() {
        drop(peers.pop());
        assert_eq!(house.pool.wait_for(|connections| connections == left, PATIENCE).await, Ok(left));
        assert!(!waiting.is_finished());
    }
    drop(peers.pop());
    assert_eq!(soon(waiting).await.unwrap(), Ok(3));
    // Also upwards.
    let more = actix_rt::spawn({
        let pool = house.pool.clone();
        async move { pool.wait_for(|connections| connections >= 5, None).await }
    });
    let _more = house.guests(2, "hello").await;
    assert_eq!(soon(more).await.unwrap(), Ok(5));
    soon(house.pool.stop(Duration::ZERO)).await;
    assert_eq!(house.pool.wait_for(|connections| connections == 0, None).await, Ok(0));
}

#[actix::test]
async fn what_is_not_reached_in_time_is_told_with_the_number() {
    let house = house(2).await;
    let _peers = house.guests(10, "hello").await;
    let (limit, began) = (Duration::from_millis(200), Instant::now());
    let error = house.pool.wait_for(|connections| connections <= 3, limit).await.unwrap_err();
    assert!(began.elapsed() >= limit);
    assert_eq!(
        (error.connections, &*error.to_string()),
        (10, "timed out waiting for the number of connections: there are 10")
    );
    soon(house.pool.stop(Duration::ZERO)).await;
}
