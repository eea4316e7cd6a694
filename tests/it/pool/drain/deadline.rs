//! When the time is over: stopped with what is queued sent first, then aborted; or there was no time at all.

use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{handlers::Ack, telemetry::CloseReason, AcceptorPool, Drain, PoolConfig, Socket};
use support::draining::*;
use support::*;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

/// The time that queued bytes have once the deadline has passed.
const LAST_FLUSH: Duration = Duration::from_millis(500);
const GRACE: Duration = Duration::from_millis(300);

#[actix::test]
async fn connections_end_at_the_deadline_not_before() {
    let drained = start_drain_pool(2).await;
    let mut stay = drained.connected_peers(3, "stay").await;
    let began = Instant::now();
    let draining = begin(&drained.pool, Drain::grace(GRACE)).await;
    for peer in &mut stay {
        assert_eq!(peer.read_to_end().await, b"");
    }
    assert!(began.elapsed() >= GRACE);
    let report = in_time(draining).await.unwrap();
    assert_eq!(counts(&report), [3, 0, 3, 0]);
    assert_eq!((report.closed.get(CloseReason::Killed), report.closed.total()), (3, 3));
    assert!(report.took >= GRACE, "{:?}", report.took);
    // Nothing was left to send, so nothing was waited for.
    assert!(report.took < GRACE + LAST_FLUSH, "{:?}", report.took);
}

#[actix::test]
async fn queued_bytes_are_sent_before_the_deadline() {
    let mut drained = start_drain_pool(1).await;
    let mut peer = drained.flooded().await;
    let draining = begin(&drained.pool, Drain::grace(GRACE)).await;
    let deadline = drained.next_shutdown().await.deadline.unwrap();
    tokio::time::sleep_until(deadline).await;
    let rest = peer.read_to_end().await;
    assert!(rest.ends_with(b"x\nflood\n"));
    assert_eq!(rest.len(), FLOOD - 1 + "\nflood\n".len());
    let report = in_time(draining).await.unwrap();
    assert_eq!(counts(&report), [1, 0, 1, 0]);
    assert_eq!(report.closed.get(CloseReason::Killed), 1);
}

#[actix::test]
async fn a_peer_that_does_not_read_is_aborted_after_500_ms() {
    let drained = start_drain_pool(1).await;
    let mut peer = drained.flooded().await;
    let report = in_time(drained.pool.drain(Drain::grace(GRACE))).await;
    assert!(report.took >= GRACE + LAST_FLUSH, "{:?}", report.took);
    assert!(report.took < GRACE + LAST_FLUSH + Duration::from_secs(5), "{:?}", report.took);
    assert_eq!(counts(&report), [1, 0, 1, 0]);
    assert_eq!(report.closed.get(CloseReason::Killed), 1);
    assert!(peer.until_gone().await.len() < FLOOD);
}

#[actix::test]
async fn an_immediate_drain_asks_no_connection() {
    for drain in [Drain::immediate(), Drain::grace(Duration::ZERO)] {
        let mut drained = start_drain_pool(2).await;
        let mut peers = drained.connected_peers(10, "hello").await;
        let mut flooded = drained.flooded().await;
        let report = in_time(drained.pool.drain(drain)).await;
        for peer in &mut peers {
            assert_eq!(peer.until_gone().await, b"");
        }
        assert!(flooded.until_gone().await.len() < FLOOD);
        assert!(drained.shutdowns.recv().await.is_none(), "somebody was asked");
        assert_eq!(counts(&report), [11, 0, 11, 0]);
        assert_eq!(report.closed.get(CloseReason::Killed), 11);
        assert!(report.took < LAST_FLUSH, "{:?}", report.took);
    }
}

#[actix::test]
async fn without_a_deadline_connections_take_their_time() {
    let mut drained = start_drain_pool(2).await;
    let mut stay = drained.connected_peers(2, "stay").await;
    let draining = begin(&drained.pool, Drain::grace(None)).await;
    for _ in 0..2 {
        assert_eq!(drained.next_shutdown().await.deadline, None);
    }
    stay[0].echo("still served\n").await;
    // One leaves by itself; a second drain is a deadline for the other.
    drop(stay.remove(0));
    drained.pool.wait_for(|connections| connections == 1, TIME_LIMIT).await.unwrap();
    let began = Instant::now();
    let second = begin(&drained.pool, Drain::grace(GRACE)).await;
    assert_eq!(stay[0].read_to_end().await, b"");
    assert!(began.elapsed() >= GRACE);
    for report in [draining, second] {
        assert_eq!(counts(&in_time(report).await.unwrap()), [2, 1, 1, 0]);
    }
}

#[actix::test]
async fn a_second_drain_can_only_shorten_the_deadline() {
    for (first, second) in [(LONG, GRACE), (GRACE, LONG)] {
        let mut drained = start_drain_pool(2).await;
        let mut stay = drained.connected_peers(1, "stay").await;
        let began = Instant::now();
        let reports = [
            begin(&drained.pool, Drain::grace(first)).await,
            begin(&drained.pool, Drain::grace(second).delay(Duration::from_millis(1))).await,
        ];
        drained.next_shutdown().await;
        assert_eq!(stay[0].read_to_end().await, b"");
        assert!(began.elapsed() >= GRACE);
        for report in reports {
            assert_eq!(counts(&in_time(report).await.unwrap()), [1, 0, 1, 0]);
        }
        assert!(drained.shutdowns.recv().await.is_none(), "told once");
    }
}

#[actix::test]
async fn the_time_left_follows_each_call() {
    let mut drained = start_drain_pool(2).await;
    let mut stay = drained.connected_peers(1, "stay").await;
    let pool = drained.pool.clone();
    let left = || pool.draining().map(|draining| (draining.delay_left, draining.time_left));
    assert_eq!(left(), None);

    let within = |left: Duration, most: Duration| left <= most && left > most - Duration::from_secs(5);
    let unlimited = begin(&pool, Drain::grace(None).delay(LONG)).await;
    let (delay_left, time_left) = left().unwrap();
    assert!(within(delay_left, LONG) && time_left.is_none(), "{delay_left:?}, {time_left:?}");

    let limited = begin(&pool, Drain::grace(LONG).delay(LONG * 2)).await;
    eventually(|| left().unwrap().1.is_some()).await;
    let (delay_left, time_left) = left().unwrap();
    assert!(within(delay_left, LONG) && within(time_left.unwrap(), LONG * 2), "{delay_left:?}, {time_left:?}");

    let short = begin(&pool, Drain::grace(LONG / 2)).await;
    drained.next_shutdown().await;
    let draining = pool.draining().unwrap();
    assert_eq!((draining.delay_left, draining.report.asked), (Duration::ZERO, 1));
    assert!(within(draining.time_left.unwrap(), LONG / 2), "{draining:?}");

    let last = begin(&pool, Drain::grace(Duration::from_millis(1))).await;
    assert_eq!(stay[0].read_to_end().await, b"");
    for report in [unlimited, limited, short, last] {
        assert_eq!(counts(&in_time(report).await.unwrap()), [1, 0, 1, 0]);
    }
    assert_eq!(left(), None);
}

#[actix::test]
async fn another_grace_period_keeps_the_configured_delay() {
    let drained = start_drain_pool(1).await;
    let config: PoolConfig = serde_json::from_str(r#"{ "drain": { "delay": "1h", "grace": "1h" } }"#).unwrap();
    drained.pool.reload(&config).await.unwrap();
    let report = begin(&drained.pool, Drain::configured().with_grace(LONG)).await;
    let draining = drained.pool.draining().unwrap();
    assert!(draining.delay_left > LONG && draining.time_left.unwrap() - draining.delay_left == LONG, "{draining:?}");
    let stopped = begin(&drained.pool, Drain::immediate()).await;
    for report in [report, stopped] {
        in_time(report).await.unwrap();
    }
}

/// Owns a socket and does nothing with it, whatever the pool asks for.
struct Idle {
    _socket: Socket,
}

impl Actor for Idle {
    type Context = Context<Self>;
}

impl Handler<Ack> for Idle {
    type Result = ();

    fn handle(&mut self, _: Ack, _: &mut Context<Self>) {}
}

#[actix::test]
async fn a_second_drain_returns_although_an_actor_ignores_both() {
    let (sender, mut told) = unbounded_channel();
    let pool = AcceptorPool::with_actor(move |socket| {
        let (draining, sender) = (socket.draining(), sender.clone());
        actix_rt::spawn(async move {
            draining.await;
            sender.send(()).unwrap();
        });
        Ok(Idle { _socket: socket }.start())
    });
    let pool = pool.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let _peer = connect(&pool).await;
    in_time(pool.wait_for(|connections| connections == 1, None)).await.unwrap();
    let first = begin(&pool, Drain::grace(None)).await;
    // From now on the pool waits for its last connection.
    in_time(told.recv()).await.unwrap();
    for report in [in_time(pool.stop(Duration::ZERO)).await, in_time(first).await.unwrap()] {
        assert_eq!(counts(&report), [1, 0, 1, 0]);
    }
}
