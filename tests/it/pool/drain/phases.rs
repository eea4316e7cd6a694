//! The phases of a drain: not ready, delay, backlog, shutdown.

use std::time::Duration;

use actix_acceptor::{error::PoolError, info::Status, Drain, SuspendMode};
use futures::future::join_all;

use support::acceptors::*;
use support::draining::*;
use support::*;
use tokio::time::Instant;

#[actix::test]
async fn shutdown_reaches_200_connections_within_200_ms() {
    let drained = start_drain_pool(2).await;
    let peers = drained.connected_peers(200, "hello").await;
    let farewells = peers.into_iter().map(|mut peer| {
        actix_rt::spawn(async move {
            peer.expect(b"bye\n").await;
            let at = Instant::now();
            assert_eq!(peer.read_to_end().await, b"");
            at
        })
    });
    let farewells: Vec<_> = farewells.collect();
    let report = in_time(drained.pool.drain(Drain::grace(LONG))).await;
    let moments: Vec<_> = join_all(farewells).await.into_iter().map(Result::unwrap).collect();
    let spread = *moments.iter().max().unwrap() - *moments.iter().min().unwrap();
    assert!(spread < Duration::from_millis(200), "{spread:?}");
    assert_eq!(counts(&report), [200, 200, 0, 0]);
}

#[actix::test]
async fn during_the_delay_the_pool_serves_but_is_not_ready() {
    let mut drained = start_drain_pool(2).await;
    let mut early = drained.connected_peers(1, "hello").await;
    let draining = begin(&drained.pool, Drain::grace(LONG).delay(LONG)).await;
    assert!(!drained.pool.is_ready());
    assert_eq!(drained.pool.status(), Status::Draining);
    let mut late = drained.connected_peers(10, "hello").await;
    early[0].echo("still here\n").await;
    assert!(drained.shutdowns.try_recv().is_err(), "somebody was told");
    // A second drain ends the delay.
    let second = begin(&drained.pool, Drain::grace(LONG)).await;
    for peer in early.iter_mut().chain(&mut late) {
        assert_eq!(peer.read_to_end().await, b"bye\n");
    }
    for report in [draining, second] {
        assert_eq!(counts(&in_time(report).await.unwrap()), [11, 11, 0, 0]);
    }
}

#[actix::test]
async fn the_grace_starts_after_the_delay() {
    let mut drained = start_drain_pool(2).await;
    let _peers = drained.connected_peers(2, "stay").await;
    let (delay, grace) = (Duration::from_millis(300), Duration::from_millis(200));
    let began = Instant::now();
    let draining = begin(&drained.pool, Drain::grace(grace).delay(delay)).await;
    for _ in 0..2 {
        let shutdowns = drained.next_shutdown().await;
        assert!(shutdowns.at - began >= delay, "{:?}", shutdowns.at - began);
        assert!(shutdowns.deadline.unwrap() - began >= delay + grace);
        assert!(shutdowns.deadline.unwrap() - began < delay + grace + Duration::from_secs(5));
    }
    let report = in_time(draining).await.unwrap();
    assert_eq!(counts(&report), [2, 0, 2, 0]);
    assert!(report.took >= delay + grace, "{:?}", report.took);
}

#[actix::test]
async fn an_acceptor_that_dies_during_the_delay_is_replaced() {
    for die in AcceptorFailure::ALL {
        let drained = start_drain_pool(1).await;
        let draining = begin(&drained.pool, Drain::grace(LONG).delay(LONG)).await;
        drained.pool.acceptors()[0].do_send(die);
        eventually(|| drained.pool.acceptors().is_empty() || restarts(&drained.pool) == 1).await;
        let mut late = drained.connected_peers(1, "hello").await;
        begin(&drained.pool, Drain::grace(LONG)).await;
        assert_eq!(late[0].read_to_end().await, b"bye\n");
        assert_eq!(counts(&in_time(draining).await.unwrap()), [1, 1, 0, 0], "{die:?}");
    }
}

#[actix::test]
async fn ports_are_closed_before_shutdown_is_called() {
    let mut drained = start_drain_pool(2).await;
    let mut stays = drained.connected_peers(1, "stay").await;
    let draining = begin(&drained.pool, Drain::grace(LONG)).await;
    drained.next_shutdown().await;
    eventually(|| drained.pool.listeners().is_empty()).await;
    while !refuses(&drained.pool).await {}
    stays[0].echo("still served\n").await;
    let address = drained.pool.local_addr();
    assert!(address.is_some(), "the address is known to the last");
    drop(stays);
    assert_eq!(counts(&in_time(draining).await.unwrap()), [1, 1, 0, 0]);
}

#[actix::test]
async fn all_connections_get_the_same_deadline() {
    let mut drained = start_drain_pool(2).await;
    let _peers = drained.connected_peers(20, "hello").await;
    let (grace, began) = (Duration::from_secs(60), Instant::now());
    let draining = begin(&drained.pool, Drain::grace(grace)).await;
    let first = drained.next_shutdown().await.deadline;
    let away = first.unwrap() - began;
    assert!((grace..grace + Duration::from_secs(5)).contains(&away), "{away:?}");
    for _ in 1..20 {
        assert_eq!(drained.next_shutdown().await.deadline, first);
    }
    assert_eq!(counts(&in_time(draining).await.unwrap()), [20, 20, 0, 0]);
}

#[actix::test]
async fn a_suspended_pool_drains() {
    for how in [SuspendMode::Close, SuspendMode::Hold] {
        let drained = start_drain_pool(2).await;
        let mut peers = drained.connected_peers(2, "hello").await;
        drained.pool.suspend(how).await.unwrap();
        assert_eq!(counts(&in_time(drained.pool.drain(Drain::grace(LONG))).await), [2, 2, 0, 0], "{how:?}");
        for peer in &mut peers {
            assert_eq!(peer.read_to_end().await, b"bye\n");
        }
    }
}

#[actix::test]
async fn a_blocked_arbiter_does_not_delay_other_shutdowns() {
    let drained = start_drain_pool(2).await;
    let mut peers = drained.connected_peers(40, "hello").await;
    let elsewhere: Vec<_> = drained.pool.info().acceptors.iter().map(|acceptor| acceptor.connections).collect();
    let _blocked = block(&drained.pool, 1).await;
    // The port closes a second later: the grace is shorter than that.
    let report = in_time(drained.pool.drain(Drain::grace(Duration::from_millis(500)))).await;
    assert_eq!((report.asked, report.finished as u64), (40, elsewhere[1]), "{elsewhere:?}");
    let mut farewells = 0;
    for peer in &mut peers {
        let mut bytes = [0; 4];
        let read =
            tokio::time::timeout(Duration::from_millis(20), tokio::io::AsyncReadExt::read(&mut peer.0, &mut bytes));
        farewells += u64::from(matches!(read.await, Ok(Ok(4))));
    }
    assert_eq!(farewells, elsewhere[1]);
}

#[actix::test]
async fn a_second_drain_can_shorten_the_delay() {
    let mut drained = start_drain_pool(2).await;
    let mut stay = drained.connected_peers(1, "stay").await;
    let (delay, grace, began) = (Duration::from_millis(200), Duration::from_millis(200), Instant::now());
    let first = begin(&drained.pool, Drain::grace(LONG).delay(LONG)).await;
    let second = begin(&drained.pool, Drain::grace(grace).delay(delay)).await;
    assert!(drained.next_shutdown().await.at - began >= delay);
    assert_eq!(stay[0].read_to_end().await, b"");
    assert!(began.elapsed() >= delay + grace);
    for report in [first, second] {
        assert_eq!(counts(&in_time(report).await.unwrap()), [1, 0, 1, 0]);
    }
}

#[actix::test]
async fn a_failure_during_the_delay_is_reported() {
    let drained = start_drain_pool_with(1, |pool| pool.max_restarts(0, Duration::from_secs(10))).await;
    let draining = begin(&drained.pool, Drain::grace(LONG).delay(LONG)).await;
    drained.pool.acceptors()[0].do_send(AcceptorFailure::Panic);
    let stopped = in_time(drained.pool.stopped()).await;
    assert!(matches!(stopped, Err(PoolError::TooManyRestarts { limit: 0, .. })), "{stopped:?}");
    assert_eq!(counts(&in_time(draining).await.unwrap()), [0; 4]);
}
