//! The peers that the kernel has queued when the port closes: served, refused, or left to it.

use std::io::ErrorKind;
use std::time::Duration;

use actix_acceptor::{
    limits::BacklogPolicy,
    telemetry::{CloseReason, RefusalReason},
    Drain, SuspendMode,
};
use tokio::io::AsyncReadExt;

use support::acceptors::*;
use support::draining::*;
use support::*;

/// A house with this many peers in the kernel's queue.
async fn held(count: usize) -> (DrainPool, Vec<Peer>) {
    let drained = start_drain_pool(2).await;
    drained.pool.suspend(SuspendMode::Hold).await.unwrap();
    let peers = queued(&drained.pool, count).await;
    assert_eq!(drained.pool.info().accepted, 0);
    (drained, peers)
}

async fn all_get(peers: &mut [Peer], expected: &[u8]) {
    for peer in peers {
        assert_eq!(peer.read_to_end().await, expected);
    }
}

async fn all_are_reset(peers: &mut [Peer]) {
    for peer in peers {
        let error = in_time(peer.0.read(&mut [0])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[actix::test]
async fn queued_peers_are_accepted_served_and_drained() {
    let (drained, mut peers) = held(100).await;
    let report = in_time(drained.pool.drain(Drain::grace(LONG).backlog_on_close(BacklogPolicy::Accept))).await;
    all_get(&mut peers, b"bye\n").await;
    assert_eq!(counts(&report), [100, 100, 0, 0]);
    assert_eq!((report.closed.get(CloseReason::Shutdown), report.closed.total()), (100, 100));
}

#[actix::test]
async fn peers_queued_behind_a_busy_arbiter_are_served() {
    let drained = start_drain_pool(1).await;
    let blocked = block(&drained.pool, 1).await;
    let mut peers = queued(&drained.pool, 100).await;
    let draining = begin(&drained.pool, Drain::grace(LONG)).await;
    run_local_tasks().await;
    drop(blocked);
    all_get(&mut peers, b"bye\n").await;
    assert_eq!(counts(&in_time(draining).await.unwrap()), [100, 100, 0, 0]);
}

#[actix::test]
async fn backlog_policy_refuse_counts_queued_peers() {
    let (drained, mut peers) = held(100).await;
    let report = in_time(drained.pool.drain(Drain::grace(LONG).backlog_on_close(BacklogPolicy::Refuse))).await;
    all_get(&mut peers, b"").await;
    assert_eq!(counts(&report), [0, 0, 0, 100]);
    let info = drained.pool.info();
    assert_eq!((info.accepted, info.refused.get(RefusalReason::Draining), info.closed.total()), (100, 100, 0));
}

#[actix::test]
async fn backlog_policy_drop_leaves_peers_to_the_kernel() {
    let (drained, mut peers) = held(100).await;
    let report = in_time(drained.pool.drain(Drain::grace(LONG).backlog_on_close(BacklogPolicy::Drop))).await;
    all_are_reset(&mut peers).await;
    assert_eq!(counts(&report), [0, 0, 0, 0]);
    assert_eq!(drained.pool.info().accepted, 0);
}

#[actix::test]
async fn a_drain_can_override_the_backlog_policy() {
    for (said, unserved) in [(None, 5), (Some(BacklogPolicy::Accept), 0)] {
        let drained = start_drain_pool_with(2, |pool| pool.backlog_on_close(BacklogPolicy::Refuse)).await;
        drained.pool.suspend(SuspendMode::Hold).await.unwrap();
        let mut peers = queued(&drained.pool, 5).await;
        let drain = Drain::grace(LONG);
        let report = in_time(drained.pool.drain(said.map_or(drain, |said| drain.backlog_on_close(said)))).await;
        assert_eq!(report.unserved, unserved);
        all_get(&mut peers, if unserved == 0 { b"bye\n" } else { b"" }).await;
    }
}

#[actix::test]
async fn queued_peers_beyond_the_limit_are_unserved() {
    let drained = start_drain_pool_with(2, |pool| pool.max_connections(3)).await;
    let mut inside = drained.connected_peers(3, "hello").await;
    let mut outside = queued(&drained.pool, 5).await;
    let report = in_time(drained.pool.drain(Drain::grace(LONG))).await;
    assert_eq!(counts(&report), [3, 3, 0, 5]);
    all_get(&mut inside, b"bye\n").await;
    all_get(&mut outside, b"").await;
}

#[actix::test]
async fn refused_queued_peers_get_the_refusal_message() {
    for _ in 0..20 {
        let drained = start_drain_pool_with(2, |pool| pool.refusal_message("full\n")).await;
        drained.pool.suspend(SuspendMode::Hold).await.unwrap();
        let mut peers = queued(&drained.pool, 50).await;
        let report = in_time(drained.pool.drain(Drain::grace(LONG).backlog_on_close(BacklogPolicy::Refuse))).await;
        assert_eq!(counts(&report), [0, 0, 0, 50]);
        all_get(&mut peers, b"full\n").await;
    }
}

#[actix::test]
async fn peers_refused_by_a_suspension_are_not_unserved() {
    let drained = start_drain_pool_with(2, |pool| pool.max_connections(1)).await;
    let _inside = drained.connected_peers(1, "hello").await;
    let mut outside = queued(&drained.pool, 5).await;
    drained.pool.suspend(SuspendMode::Close).await.unwrap();
    all_get(&mut outside, b"").await;
    drained.pool.resume().await.unwrap();
    assert_eq!(counts(&in_time(drained.pool.drain(Drain::grace(LONG))).await), [1, 1, 0, 0]);
}

#[actix::test]
async fn peers_queued_during_restarts_are_served() {
    for die in AcceptorFailure::ALL {
        let drained = start_drain_pool(1).await;
        drained.pool.suspend(SuspendMode::Hold).await.unwrap();
        kill(&drained.pool, die).await;
        let mut peers = queued(&drained.pool, 10).await;
        let report = in_time(drained.pool.drain(Drain::grace(LONG))).await;
        assert_eq!(counts(&report), [10, 10, 0, 0], "{die:?}");
        all_get(&mut peers, b"bye\n").await;
    }
}

#[actix::test]
async fn an_immediate_drain_leaves_the_queue_to_the_kernel() {
    for drain in
        [Drain::immediate(), Drain::grace(Duration::ZERO), Drain::immediate().backlog_on_close(BacklogPolicy::Accept)]
    {
        let (drained, mut peers) = held(10).await;
        assert_eq!(counts(&in_time(drained.pool.drain(drain)).await), [0, 0, 0, 0]);
        all_are_reset(&mut peers).await;
    }
}

#[actix::test]
async fn an_immediate_drain_cuts_a_delay_short() {
    let drained = start_drain_pool(1).await;
    let draining = begin(&drained.pool, Drain::grace(LONG).delay(LONG)).await;
    let blocked = block(&drained.pool, 1).await;
    let mut peers = queued(&drained.pool, 10).await;
    let second = begin(&drained.pool, Drain::immediate()).await;
    run_local_tasks().await;
    drop(blocked);
    all_are_reset(&mut peers).await;
    for report in [draining, second] {
        assert_eq!(counts(&in_time(report).await.unwrap()), [0, 0, 0, 0]);
    }
}
