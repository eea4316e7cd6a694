//! The report of a drain, and the number of connections.

use std::time::Duration;

use actix_acceptor::{limits::BacklogPolicy, telemetry::CloseReason, Drain, SuspendMode};

use support::draining::*;
use support::*;
use tokio::time::Instant;

#[actix::test]
async fn the_report_adds_up() {
    let mut drained = start_drain_pool(2).await;
    // Ended before: no concern of the drain's.
    drop(drained.connected_peers(2, "hello").await);
    drained.pool.wait_for(|connections| connections == 0, TIME_LIMIT).await.unwrap();
    let leave = drained.connected_peers(3, "hello").await;
    let (mut gone, stay) = (drained.connected_peers(4, "stay").await, drained.connected_peers(5, "stay").await);
    drained.pool.suspend(SuspendMode::Hold).await.unwrap();
    let _unserved = queued(&drained.pool, 6).await;
    let (grace, began) = (Duration::from_millis(500), Instant::now());
    let draining = begin(&drained.pool, Drain::grace(grace).backlog_on_close(BacklogPolicy::Refuse)).await;
    for _ in 0..12 {
        drained.next_shutdown().await;
    }
    gone.clear();
    let report = in_time(draining).await.unwrap();
    assert_eq!(counts(&report), [12, 7, 5, 6]);
    let closed = |reason| report.closed.get(reason);
    assert_eq!((closed(CloseReason::Shutdown) + closed(CloseReason::Peer), closed(CloseReason::Killed)), (7, 5));
    assert!(closed(CloseReason::Peer) <= 4 && closed(CloseReason::Shutdown) >= 3, "{:?}", report.closed);
    assert_eq!(report.closed.total(), 12);
    assert!((grace..=began.elapsed()).contains(&report.took), "{:?}", report.took);
    // It stays as it is, whenever it is asked for.
    assert_eq!(in_time(drained.pool.drain(Drain::immediate())).await, report);
    let info = drained.pool.info();
    assert_eq!((info.accepted, info.connections, info.closed.total()), (20, 0, 14));
    drop((leave, stay));
}

#[actix::test]
async fn a_drain_without_connections_ends_at_once() {
    let drained = start_drain_pool(2).await;
    let report = in_time(drained.pool.drain(Drain::grace(LONG))).await;
    assert_eq!((counts(&report), report.closed.total()), ([0; 4], 0));
}

#[actix::test]
async fn wait_for_resolves_at_the_wanted_count() {
    let drained = start_drain_pool(2).await;
    let mut peers = drained.connected_peers(10, "hello").await;
    assert_eq!(drained.pool.wait_for(|connections| connections == 10, None).await, Ok(10));
    let waiting = actix_rt::spawn({
        let pool = drained.pool.clone();
        async move { pool.wait_for(|connections| connections <= 3, TIME_LIMIT).await }
    });
    for left in (4..10).rev() {
        drop(peers.pop());
        assert_eq!(drained.pool.wait_for(|connections| connections == left, TIME_LIMIT).await, Ok(left));
        assert!(!waiting.is_finished());
    }
    drop(peers.pop());
    assert_eq!(in_time(waiting).await.unwrap(), Ok(3));
    // Also upwards.
    let more = actix_rt::spawn({
        let pool = drained.pool.clone();
        async move { pool.wait_for(|connections| connections >= 5, None).await }
    });
    let _more = drained.connected_peers(2, "hello").await;
    assert_eq!(in_time(more).await.unwrap(), Ok(5));
    in_time(drained.pool.stop(Duration::ZERO)).await;
    assert_eq!(drained.pool.wait_for(|connections| connections == 0, None).await, Ok(0));
}

#[actix::test]
async fn wait_for_reports_the_count_on_timeout() {
    let drained = start_drain_pool(2).await;
    let _peers = drained.connected_peers(10, "hello").await;
    let (limit, began) = (Duration::from_millis(200), Instant::now());
    let error = drained.pool.wait_for(|connections| connections <= 3, limit).await.unwrap_err();
    assert!(began.elapsed() >= limit);
    assert_eq!(error.connections, 10);
    assert!(error.to_string().contains("10"), "{error}");
    in_time(drained.pool.stop(Duration::ZERO)).await;
}
