//! The idle timeout, on a paused clock over a transport in memory, where it can be held to the millisecond.

use std::sync::Arc;

use actix_acceptor::{telemetry::CloseReason, Active, Framing, Next, Timeout, User};
use bytes::Bytes;
use support::*;
use tokio::time::Instant;

const IDLE: Call = Call::Timeout(Timeout::Idle);

#[test]
fn a_silent_peer_times_out_on_time() {
    for limit in [20, 50, 100, 200, 500, 2_000, 60_000].map(ms) {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(|call, _| protocol_default(call));
            let (_pool, script_handle) = in_memory(builder.idle_timeout(limit)).await;
            let _peer = script_handle.connect();
            assert_eq!(callbacks.next().await, Call::Init);
            let (call, ready) = callbacks.next_ever().await;
            assert_eq!(call, Call::Ack);
            let (call, at) = callbacks.next_ever().await;
            assert_eq!(call, IDLE);
            assert_on_time(ready, at, limit);
            assert_eq!(callbacks.closed().await.0, CloseReason::Idle);
        });
    }
}

#[test]
fn idle_time_counts_from_the_peers_last_byte() {
    for limit in [20, 50, 100, 200, 500, 2_000].map(ms) {
        for tenths in [1, 4, 8, 9] {
            paused(async move {
                let (builder, mut callbacks) = Probe::pool(|call, _| protocol_default(call));
                let (_pool, script_handle) = in_memory(builder.idle_timeout(limit)).await;
                let mut peer = script_handle.connect();
                elapse(limit * tenths / 10).await;
                peer.send("x").await;
                let spoke = callbacks.until(&Call::packet("x")).await;
                let (call, at) = callbacks.next_ever().await;
                assert_eq!(call, IDLE);
                assert_on_time(spoke, at, limit);
            });
        }
    }
}

#[test]
fn only_the_peers_bytes_reset_idle_time() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, _| match call {
            Call::User(bytes) => Next::Send(bytes.clone()),
            call => protocol_default(call),
        });
        let (pool, script_handle) = in_memory(builder.idle_timeout(ms(1_000))).await;
        let mut peer = script_handle.connect();
        let ready = callbacks.until(&Call::Ack).await;
        let address = pool.addresses().remove(0).1;
        for _ in 0..9 {
            elapse(ms(100)).await;
            address.send(User(Bytes::from_static(b"tick"))).await.unwrap();
            peer.expect(b"tick").await;
        }
        assert_on_time(ready, callbacks.until(&IDLE).await, ms(1_000));
    });
}

#[test]
fn continuing_after_a_timeout_restarts_it() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|_, _| Next::Continue);
        let (_pool, script_handle) = in_memory(builder.idle_timeout(ms(300))).await;
        let _peer = script_handle.connect();
        let mut from = callbacks.until(&Call::Ack).await;
        for _ in 0..5 {
            let (call, at) = callbacks.next_ever().await;
            assert_eq!(call, IDLE);
            assert_on_time(from, at, ms(300));
            from = at;
        }
    });
}

#[test]
fn idle_time_is_paused_during_a_wait() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
            Call::Packet(_) => conn.wait(elapse(ms(10_000)), |_, _, _| Next::Send(Bytes::from_static(b"done"))),
            call => protocol_default(call),
        });
        let (_pool, script_handle) = in_memory(builder.idle_timeout(ms(500))).await;
        let mut peer = script_handle.connect();
        elapse(ms(200)).await;
        let (sent, ()) = (Instant::now(), peer.send("go").await);
        peer.expect(b"done").await;
        assert!(sent.elapsed() >= ms(10_000));
        // From the peer's last byte on, without the wait.
        assert_on_time(sent + ms(10_000), callbacks.until(&IDLE).await, ms(500));
    });
}

/// Many waits, each shorter than a tick: what each is measured wrong would add up.
#[test]
fn idle_time_is_paused_during_many_short_waits() {
    for phase in [0, 10, 20, 30] {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
                Call::User(_) => conn.wait(elapse(ms(30)), |_, _, _| Next::Continue),
                call => protocol_default(call),
            });
            let (pool, script_handle) = in_memory(builder.idle_timeout(ms(1_000))).await;
            let _peer = script_handle.connect();
            let born = callbacks.until(&Call::Ack).await;
            let address = pool.addresses().remove(0).1;
            elapse(ms(phase)).await;
            let mut beat = tokio::time::interval(ms(40));
            for _ in 0..50 {
                beat.tick().await;
                address.do_send(User(Bytes::new()));
            }
            let mut calls = 0;
            let at = loop {
                match callbacks.next_ever().await {
                    (Call::User(_), _) => calls += 1,
                    (call, at) => {
                        assert_eq!((call, calls), (IDLE, 50));
                        break at;
                    }
                }
            };
            assert_on_time(born + 50 * ms(30), at, ms(1_000));
        });
    }
}

/// The tick is every 40 ms here, and a wait there whenever it comes.
#[test]
fn idle_time_expires_despite_a_wait_at_every_tick() {
    for phase in [0, 5, 10, 15, 20, 25, 30, 35] {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
                Call::User(_) => conn.wait(elapse(ms(30)), |_, _, _| Next::Continue),
                call => protocol_default(call),
            });
            let (pool, script_handle) = in_memory(builder.idle_timeout(ms(1_000))).await;
            let _peer = script_handle.connect();
            callbacks.until(&Call::Ack).await;
            let address = pool.addresses().remove(0).1;
            elapse(ms(phase)).await;
            let mut beat = tokio::time::interval(ms(40));
            // It listens 10 ms of each 40: a hundred beats are its time.
            for _ in 0..500 {
                beat.tick().await;
                address.do_send(User(Bytes::new()));
            }
            assert!(callbacks.so_far().contains(&IDLE), "begun {phase} ms after the connection");
        });
    }
}

#[test]
fn input_during_a_wait_resets_idle_time() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
            Call::Packet(bytes) if bytes == "go" => conn.wait(elapse(ms(1_000)), |_, _, _| Next::Continue),
            call => protocol_default(call),
        });
        let (_pool, script_handle) = in_memory(builder.idle_timeout(ms(500)).framing(Framing::lines())).await;
        let mut peer = script_handle.connect();
        peer.send("go\n").await;
        elapse(ms(900)).await;
        peer.send("more\n").await;
        let went_on = callbacks.until(&Call::packet("more")).await;
        assert_on_time(went_on, callbacks.until(&IDLE).await, ms(500));
    });
}

#[test]
fn idle_time_is_paused_while_passive() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| {
            match call {
                Call::Ack => conn.set_active(Active::Passive),
                Call::User(_) => conn.set_active(Active::Always),
                _ => {}
            }
            protocol_default(call)
        });
        let (pool, script_handle) = in_memory(builder.idle_timeout(ms(500))).await;
        let _peer = script_handle.connect();
        callbacks.until(&Call::Ack).await;
        elapse(ms(20_000)).await;
        assert_eq!(callbacks.so_far(), []);
        pool.addresses()[0].1.send(User(Bytes::new())).await.unwrap();
        let awake = callbacks.until(&Call::user("")).await;
        assert_on_time(awake, callbacks.until(&IDLE).await, ms(500));
    });
}

/// What a callback sets, and when the peer is found silent then.
#[test]
fn an_idle_timeout_set_in_a_callback_starts_then() {
    for (set, limit) in [(Some(100), 100), (Some(30), 30), (Some(5_000), 5_000), (None, 0), (Some(0), 0)] {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(move |call, conn| {
                if let Call::Packet(_) = call {
                    conn.set_idle_timeout(set.map(ms));
                }
                Next::Continue
            });
            let (_pool, script_handle) = in_memory(builder.idle_timeout(ms(1_000))).await;
            let mut peer = script_handle.connect();
            elapse(ms(730)).await;
            peer.send("x").await;
            let mut from = callbacks.until(&Call::packet("x")).await;
            if limit == 0 {
                elapse(ms(100_000)).await;
                return assert_eq!(callbacks.so_far(), []);
            }
            for _ in 0..3 {
                let (call, at) = callbacks.next_ever().await;
                assert_eq!(call, IDLE);
                assert_on_time(from, at, ms(limit));
                from = at;
            }
        });
    }
}

#[test]
fn a_timeout_for_one_wait_only_ends_with_the_peers_next_byte() {
    for (usual, once) in [(1_000, 100), (200, 5_000)] {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(move |call, conn| {
                if *call == Call::packet("once") {
                    conn.idle_timeout_once(ms(once));
                }
                Next::Continue
            });
            let (_pool, script_handle) = in_memory(builder.idle_timeout(ms(usual))).await;
            let mut peer = script_handle.connect();
            peer.send("once").await;
            // It runs out: afterwards the usual one counts.
            let asked = callbacks.until(&Call::packet("once")).await;
            let ran_out = callbacks.until(&IDLE).await;
            assert_on_time(asked, ran_out, ms(once));
            assert_on_time(ran_out, callbacks.until(&IDLE).await, ms(usual));
            // The peer speaks before: likewise.
            peer.send("once").await;
            callbacks.until(&Call::packet("once")).await;
            elapse(ms(once.min(usual) / 2)).await;
            peer.send("x").await;
            let spoke = callbacks.until(&Call::packet("x")).await;
            assert_on_time(spoke, callbacks.until(&IDLE).await, ms(usual));
        });
    }
}

#[test]
fn a_new_idle_timeout_replaces_the_one_for_a_single_wait() {
    paused(async move {
        let (builder, mut callbacks) = Probe::pool(|call, conn| {
            if let Call::Packet(_) = call {
                conn.idle_timeout_once(ms(100));
                conn.set_idle_timeout(ms(1_000));
            }
            Next::Continue
        });
        let (_pool, script_handle) = in_memory(builder.idle_timeout(ms(5_000))).await;
        let mut peer = script_handle.connect();
        peer.send("x").await;
        let set = callbacks.until(&Call::packet("x")).await;
        assert_on_time(set, callbacks.until(&IDLE).await, ms(1_000));
    });
}

/// The arbiter's clock may be coarse when a connection with short limits comes: its time must not begin in the past.
#[test]
fn a_short_limit_is_never_early_beside_long_ones() {
    for wait in [13, 55, 99] {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(|call, conn| {
                if let Call::Packet(_) = call {
                    conn.set_idle_timeout(ms(60_000));
                }
                protocol_default(call)
            });
            let builder = builder.idle_timeout(ms(100)).packet_timeout(None).send_timeout(None);
            let (_pool, script_handle) = in_memory(builder).await;
            let mut patient = script_handle.connect();
            patient.send("long").await;
            callbacks.until(&Call::packet("long")).await;
            elapse(ms(10_000 + wait)).await;
            let _peer = script_handle.connect();
            let ready = callbacks.until(&Call::Ack).await;
            assert_on_time(ready, callbacks.until(&IDLE).await, ms(100));
        });
    }
}

#[test]
fn a_timeout_set_by_a_connection_is_its_own() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| {
            if let Call::Packet(_) = call {
                conn.set_idle_timeout(ms(100));
            }
            protocol_default(call)
        });
        let (pool, script_handle) = in_memory(builder.idle_timeout(ms(10_000))).await;
        let pool = Arc::new(pool);
        let mut short = script_handle.connect();
        let _long = script_handle.connect();
        short.send("x").await;
        callbacks.until(&IDLE).await;
        callbacks.closed().await;
        elapse(ms(5_000)).await;
        assert_eq!(pool.connections(), 1);
        assert_eq!(callbacks.so_far(), []);
    });
}
