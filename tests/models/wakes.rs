//! Wake-ups of many connections at once.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use loom::thread;

use super::model;
use crate::config::SlowConsumer;
use crate::registry::{run_wakes, Arbiter, ConnectionState, Payload, Pushed, Registry, Signals};

/// Sends a byte to these connections, and has them woken.
fn publish(registry: &Registry, members: &[Arc<ConnectionState>], byte: u8) {
    let mut batch = registry.batch();
    for state in members {
        let bytes = Bytes::from(vec![byte]);
        assert!(matches!(batch.send(state, Payload::Encoded(&bytes, None)).0, Pushed::Queued));
    }
}

#[test]
fn no_publisher_leaves_a_connection_asleep() {
    model(2, || {
        let (registry, arbiter) = (Registry::new(1_000, SlowConsumer::Close), Arbiter::new());
        let guards = [registry.connect(1), registry.connect(2)];
        let members: Vec<_> = guards.iter().map(|guard| guard.state().clone()).collect();
        members.iter().for_each(|state| state.set_arbiter(&arbiter));
        let publishers = [&members[..], &members[1..]].map(|members| {
            let (registry, members) = (registry.clone(), members.to_vec());
            thread::spawn(move || publish(&registry, &members, b'a'))
        });
        let mut wakes = pin!(run_wakes(registry));
        let waker = Waker::from(arbiter.clone());
        let mut received = 0;
        while received < 3 {
            assert!(wakes.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            // Those that were woken have a turn.
            for state in members.iter().filter(|state| state.take_wake_up()) {
                assert!(state.take_signals(Signals::OUTBOX));
                received += state.take_outbox().concat().len();
            }
            if received < 3 {
                arbiter.sleep();
            }
        }
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        assert!(members.iter().all(|state| state.pending() == 0));
    });
}

#[test]
fn many_publications_are_one_wake_up() {
    model(3, || {
        let registry = Registry::new(1_000, SlowConsumer::Close);
        let guard = registry.connect(1);
        let members = [guard.state().clone()];
        publish(&registry, &members, b'a');
        assert!(registry.take_wake_up());
        // The arbiter is busy meanwhile.
        let (other_registry, others) = (registry.clone(), members.clone());
        let other = thread::spawn(move || publish(&other_registry, &others, b'b'));
        publish(&registry, &members, b'c');
        other.join().unwrap();
        assert!(!registry.take_wake_up());
        assert_eq!(guard.state().take_outbox().concat().len(), 3);
    });
}

#[test]
fn a_signal_before_the_first_turn_is_not_lost() {
    model(3, || {
        let registry = Registry::new(1_000, SlowConsumer::Close);
        let (guard, arbiter) = (registry.connect(1), Arbiter::new());
        let (other_registry, other) = (registry.clone(), guard.state().clone());
        let other = thread::spawn(move || {
            let bytes = Bytes::from_static(b"a");
            other_registry.send_now(&other, Payload::Encoded(&bytes, None));
        });
        // The first turn: the signals are checked after the waker was set.
        guard.state().set_arbiter(&arbiter);
        while !guard.state().take_signals(Signals::OUTBOX) {
            // A wake-up that is missing leads to a deadlock.
            arbiter.sleep();
        }
        other.join().unwrap();
    });
}
