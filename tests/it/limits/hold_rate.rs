//! Peers that are held above a rate or by the overload hook: until their token is due, or as the hook says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_acceptor::limits::{AtLimit, AtRate, Rate, Verdict};
use actix_acceptor::telemetry::{CloseReason, RefusalReason};
use actix_acceptor::{Drain, Listener, SuspendMode};
use tokio::io::DuplexStream;
use tokio::time::Instant;

use super::counting::*;
use support::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// A peer that has said hello.
async fn greets(script: &ScriptHandle) -> Peer<DuplexStream> {
    let mut peer = script.connect();
    peer.send("hello").await;
    peer
}

#[test]
fn peers_above_the_accept_rate_are_held_in_order() {
    paused(async {
        let counter = ConnectionCounter::default();
        let builder = counter.pool().accept_rate(2, 2 * SECOND).at_rate(AtRate::Hold(10 * SECOND));
        let (pool, script) = in_memory(builder).await;
        let begun = Instant::now();
        let mut peers = Vec::new();
        for _ in 0..5 {
            peers.push(greets(&script).await);
        }
        for (number, peer) in peers.iter_mut().enumerate() {
            peer.expect(b"hello").await;
            let due = SECOND * (number as u32).saturating_sub(1);
            assert_on_time(begun, Instant::now(), due);
            assert_eq!((pool.info().held, pool.info().accepted), (4 - number.max(1), 1 + number.max(1) as u64));
            assert_adds_up(&pool);
        }
        assert_eq!(pool.info().refused.total(), 0);
        // One that comes later has no token left either.
        let mut late = greets(&script).await;
        late.expect(b"hello").await;
        assert_on_time(begun, Instant::now(), 4 * SECOND);
        ends(&pool).await;
    });
}

#[test]
fn a_peer_whose_token_is_due_too_late_is_refused_at_once() {
    paused(async {
        let counter = ConnectionCounter::default();
        let builder = counter.pool().accept_rate(1, SECOND).at_rate(AtRate::Hold(2 * SECOND));
        let (pool, script) = in_memory(builder.refusal_message("too many\n")).await;
        let begun = Instant::now();
        let mut peers = Vec::new();
        for _ in 0..3 {
            peers.push(greets(&script).await);
        }
        let mut fourth = greets(&script).await;
        assert_eq!(fourth.read_to_end().await, b"too many\n");
        assert!(begun.elapsed() < SECOND / 10);
        assert_eq!((refused(&pool, RefusalReason::Rate), pool.info().held), (1, 2));
        for peer in &mut peers {
            peer.expect(b"hello").await;
        }
        assert_on_time(begun, Instant::now(), 2 * SECOND);
        // What was refused has used up no token.
        greets(&script).await.expect(b"hello").await;
        assert_on_time(begun, Instant::now(), 3 * SECOND);
        ends(&pool).await;
    });
}

#[test]
fn a_held_peer_without_a_permit_is_treated_as_at_the_limit() {
    for at_limit in [AtLimit::Wait, AtLimit::Hold(5 * SECOND), AtLimit::Close] {
        paused(async move {
            let counter = ConnectionCounter::default();
            let builder = counter.pool().max_connections(1).at_limit(at_limit).at_rate(AtRate::Hold(HOUR));
            let (pool, script) = in_memory(builder.accept_rate(1, SECOND)).await;
            let mut inside = greets(&script).await;
            inside.expect(b"hello").await;
            inside.finish().await;
            counting(&pool, 0).await;
            // The first token is spent: this one is held, without the permit.
            let mut held = greets(&script).await;
            eventually(|| pool.info().held == 1).await;
            assert_eq!(pool.connections(), 0);
            in_time(pool.change(|settings| settings.accept_rate = None)).await.unwrap();
            let mut taker = greets(&script).await;
            taker.expect(b"hello").await;
            elapse(3 * SECOND).await;
            match at_limit {
                AtLimit::Close => assert_eq!(held.until_gone().await, b""),
                _ => {
                    assert_eq!((pool.info().held, pool.connections()), (1, 1));
                    taker.finish().await;
                    held.expect(b"hello").await;
                }
            }
            let limit = u64::from(at_limit == AtLimit::Close);
            assert_eq!((refused(&pool, RefusalReason::Limit), pool.info().held), (limit, 0));
            ends(&pool).await;
        });
    }
}

#[test]
fn at_most_1024_peers_are_held_for_a_rate() {
    paused(async {
        let counter = ConnectionCounter::default();
        let builder = counter.pool().accept_rate(1, SECOND).at_rate(AtRate::Hold(HOUR)).max_connections(5_000);
        let (pool, script) = in_memory(builder).await;
        let mut peers = Vec::new();
        for _ in 0..1_030 {
            peers.push(script.connect());
        }
        let held = pool.info().held;
        eventually(|| pool.info().refused.total() + pool.info().held as u64 == 1_029).await;
        assert!(pool.info().held <= 1_024 && pool.info().held >= held);
        assert_eq!(refused(&pool, RefusalReason::Rate), pool.info().refused.total());
        drop(peers);
        in_time(pool.stop(Duration::ZERO)).await;
        assert_eq!(pool.info().held, 0);
        assert_adds_up(&pool);
    });
}

#[actix::test]
async fn a_fast_peer_is_held_and_others_are_served() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().max_connections(2).max_per_peer(3).peer_rate(1, HOUR).at_rate(AtRate::Hold(10 * HOUR));
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let first = served_from(&pool, "127.0.0.1").await;
    let mut held = Vec::new();
    for count in 1..=2 {
        held.push(connect_from(&pool, "127.0.0.1").await);
        eventually(|| pool.info().held == count).await;
    }
    // Held peers count for their address, and have no permits.
    connect_from(&pool, "127.0.0.1").await.expect_closed_after("").await;
    assert_eq!((refused(&pool, RefusalReason::PerPeer), pool.connections()), (1, 1));
    let _other = served_from(&pool, "127.0.0.2").await;
    drop(first);
    eventually(|| closed(&pool, CloseReason::Peer) == 1).await;
    let _another = served_from(&pool, "127.0.0.3").await;
    in_time(pool.stop(Duration::ZERO)).await;
    for mut peer in held {
        peer.until_gone().await;
    }
    assert_eq!((refused(&pool, RefusalReason::Draining), pool.info().held), (2, 0));
    assert_adds_up(&pool);
}

#[actix::test]
async fn peers_held_for_a_rate_are_refused_by_a_drain() {
    for close in [false, true] {
        let counter = ConnectionCounter::default();
        let pool = counter.pool().accept_rate(1, HOUR).at_rate(AtRate::Hold(100 * HOUR)).refusal_message("later\n");
        let pool = pool.bind("127.0.0.1:0").await.unwrap();
        let inside = served(&pool).await;
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(connect(&pool).await);
        }
        eventually(|| pool.info().held == 5).await;
        in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
        assert_eq!(pool.info().held, 5);
        if close {
            in_time(pool.suspend(SuspendMode::Close)).await.unwrap();
        } else {
            drop(inside);
            let report = in_time(pool.drain(Drain::grace(HOUR))).await;
            assert_eq!(report.unserved, 5);
        }
        for peer in &mut held {
            peer.expect_closed_after("later\n").await;
        }
        eventually(|| refused(&pool, RefusalReason::Draining) == 5).await;
        ends(&pool).await;
    }
}

#[actix::test]
async fn a_listener_has_a_rate_of_its_own() {
    let counter = ConnectionCounter::default();
    let public = |burst| Listener::tcp("127.0.0.1:0").name("public").accept_rate(burst, HOUR);
    let inside = || Listener::tcp("127.0.0.1:0").name("inside");
    let pool = counter.pool().accept_rate(5, HOUR).listener(public(2)).listener(inside()).start().await.unwrap();
    let address = |at: usize| pool.listeners()[at].address.socket().unwrap();
    assert_eq!((pool.listeners()[0].accept_rate, pool.listeners()[1].accept_rate), (Some(Rate::new(2, HOUR)), None));
    let connect_to = |at: usize| {
        let address = address(at);
        async move { Peer(in_time(tokio::net::TcpStream::connect(address)).await.unwrap()) }
    };
    let mut peers = Vec::new();
    for _ in 0..2 {
        peers.push(connect_to(0).await);
        peers.last_mut().unwrap().echo("hello").await;
    }
    // What it refuses takes no token of the pool, of which three are left.
    for _ in 0..3 {
        connect_to(0).await.expect_closed_after("").await;
    }
    for _ in 0..2 {
        peers.push(connect_to(1).await);
        peers.last_mut().unwrap().echo("hello").await;
    }
    // Another rate starts with a full bucket, and a listener without one asks only the pool.
    let changed = in_time(pool.set_listeners(vec![public(1), inside()])).await.unwrap();
    assert_eq!((changed.changed, changed.unchanged), (vec!["public".to_owned()], vec!["inside".to_owned()]));
    peers.push(connect_to(0).await);
    peers.last_mut().unwrap().echo("hello").await;
    connect_to(0).await.expect_closed_after("").await;
    connect_to(1).await.expect_closed_after("").await;
    eventually(|| refused(&pool, RefusalReason::Rate) == 5).await;
    let same = in_time(pool.set_listeners(vec![public(1), inside()])).await.unwrap();
    assert!(same.is_empty());
    in_time(pool.change(|settings| settings.at_rate = AtRate::Hold(HOUR * 2))).await.unwrap();
    let mut held = connect_to(0).await;
    eventually(|| pool.info().held == 1).await;
    held.expect_waiting().await;
    drop(peers);
    ends(&pool).await;
}

#[test]
fn a_held_peer_takes_one_token_of_its_listener() {
    paused(async {
        let counter = ConnectionCounter::default();
        let (transport, script) = ScriptedTransport::in_memory();
        let listener = Listener::from_transport(transport).accept_rate(1, SECOND);
        let builder = counter.pool().on_current_arbiter().at_rate(AtRate::Hold(10 * SECOND));
        let pool = builder.listener(listener).start().await.unwrap();
        let begun = Instant::now();
        let mut peers = Vec::new();
        for _ in 0..4 {
            peers.push(greets(&script).await);
        }
        for (number, peer) in peers.iter_mut().enumerate() {
            peer.expect(b"hello").await;
            assert_on_time(begun, Instant::now(), SECOND * number as u32);
        }
        assert_adds_up(&pool);
        drop(peers);
        ends(&pool).await;
    });
}

#[test]
fn the_overload_hook_can_hold_a_peer() {
    paused(async {
        let counter = ConnectionCounter::default();
        let asked = Arc::<Mutex<Vec<Duration>>>::default();
        let hook = asked.clone();
        let builder = counter.pool().max_connections(1).overload(move |new| {
            hook.lock().unwrap().push(new.held);
            match new.held {
                held if held < 2 * SECOND => Verdict::Hold(SECOND),
                held if held < 5 * SECOND => Verdict::Admit,
                _ => Verdict::Refuse,
            }
        });
        let (pool, script) = in_memory(builder).await;
        let begun = Instant::now();
        let mut first = greets(&script).await;
        first.expect(b"hello").await;
        assert_on_time(begun, Instant::now(), 2 * SECOND);
        let times: Vec<_> = asked.lock().unwrap().iter().map(Duration::as_secs).collect();
        assert_eq!(times, [0, 1, 2]);
        // A held peer waits for a permit before the hook is asked again, and takes precedence over those in the queue.
        in_time(pool.change(|settings| settings.max_connections = 2)).await.unwrap();
        let mut second = greets(&script).await;
        eventually(|| pool.info().held == 1).await;
        in_time(pool.change(|settings| settings.max_connections = 1)).await.unwrap();
        elapse(10 * SECOND).await;
        assert_eq!(asked.lock().unwrap().len(), 4);
        first.finish().await;
        assert_eq!(second.until_gone().await, b"");
        assert_eq!(refused(&pool, RefusalReason::Overload), 1);
        ends(&pool).await;
    });
}

#[actix::test]
async fn a_hook_that_holds_refuses_the_queue_of_a_closing_listener() {
    let counter = ConnectionCounter::default();
    let pool = counter.pool().overload(|_| Verdict::Hold(HOUR)).bind("127.0.0.1:0").await.unwrap();
    let mut held = connect(&pool).await;
    eventually(|| pool.info().held == 1).await;
    in_time(pool.suspend(SuspendMode::Hold)).await.unwrap();
    let mut queued = connect(&pool).await;
    in_time(pool.stop(None)).await;
    held.until_gone().await;
    queued.until_gone().await;
    assert_eq!((refused(&pool, RefusalReason::Draining), refused(&pool, RefusalReason::Overload)), (1, 1));
    assert_adds_up(&pool);
}
