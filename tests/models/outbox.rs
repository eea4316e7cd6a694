//! The outbox of a connection: several senders, one connection that takes, writes and closes.

use std::sync::Arc;

use bytes::Bytes;
use loom::thread;

use super::model;
use crate::config::SlowConsumer;
use crate::registry::{Arbiter, ConnectionState, Format, Payload, Pushed, Registry, Signals};
use crate::telemetry::CloseReason;

/// Sends this byte, so many times. Returns whether it was queued.
fn send(registry: &Registry, state: &ConnectionState, byte: u8, times: usize) -> bool {
    let bytes = Bytes::from(vec![byte; times]);
    matches!(registry.send_now(state, Payload::Encoded(&bytes, None)).0, Pushed::Queued)
}

/// Sends this byte as a reply that only the connection can encode.
fn send_reply(registry: &Registry, state: &ConnectionState, byte: u8) -> bool {
    matches!(registry.send_now(state, Payload::Reply(Box::new(vec![byte]), 1)).0, Pushed::Queued)
}

#[test]
fn the_limit_is_exact() {
    model(3, || {
        let registry = Registry::new(5, SlowConsumer::DropNewest);
        let guard = registry.connect(1);
        let (other_registry, other) = (registry.clone(), guard.state().clone());
        let other = thread::spawn(move || send(&other_registry, &other, b'b', 3));
        let first = send(&registry, guard.state(), b'a', 3);
        let second = other.join().unwrap();
        assert_eq!(usize::from(first) + usize::from(second), 1);
        assert_eq!(guard.state().pending(), 3);
        assert_eq!((guard.state().dropped(), registry.shared().dropped()), (1, 1));
        assert!(send(&registry, guard.state(), b'c', 2));
        assert!(!send(&registry, guard.state(), b'd', 1));
        guard.state().take_outbox();
        assert_eq!(guard.state().pending(), 0);
        assert!(send(&registry, guard.state(), b'e', 5));
    });
}

#[test]
fn a_full_outbox_kills_the_connection_once() {
    model(3, || {
        let registry = Registry::new(1, SlowConsumer::Close);
        let guard = registry.connect(1);
        assert!(send(&registry, guard.state(), b'a', 1));
        guard.state().clear(Signals::OUTBOX);
        let (other_registry, other) = (registry.clone(), guard.state().clone());
        let other = thread::spawn(move || send(&other_registry, &other, b'b', 1));
        assert!(!send(&registry, guard.state(), b'c', 1));
        assert!(!other.join().unwrap());
        assert!(guard.state().signals().contains(Signals::KILL));
        assert_eq!(guard.state().cause(), CloseReason::SlowConsumer);
    });
}

#[test]
fn nothing_is_lost_or_doubled_or_left_asleep() {
    model(2, || {
        let registry = Registry::new(1_000, SlowConsumer::Close);
        let (guard, arbiter) = (registry.connect(1), Arbiter::new());
        guard.state().set_arbiter(&arbiter);
        let sender = |of_sender: &'static [u8]| {
            let (registry, state) = (registry.clone(), guard.state().clone());
            thread::spawn(move || {
                assert!(send(&registry, &state, of_sender[0], 1));
                of_sender[1..].iter().for_each(|byte| assert!(send_reply(&registry, &state, *byte)));
            })
        };
        let senders = [sender(b"ab"), sender(b"x")];
        let mut received = Vec::new();
        while received.len() < 3 {
            // A wake-up that is missing leads to a deadlock.
            match guard.state().take_signals(Signals::OUTBOX) {
                true => received.extend(guard.state().take_outbox().concat()),
                false => arbiter.sleep(),
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!([b"abx", b"axb", b"xab"].contains(&received[..].try_into().unwrap()), "{received:?}");
        assert_eq!(guard.state().pending(), 0);
    });
}

#[test]
fn a_room_for_all_is_never_full() {
    // While the connection replaces the estimate of a reply by its size, senders must not count both.
    model(3, || {
        let registry = Registry::new(64 + 4, SlowConsumer::Close);
        let guard = registry.connect(1);
        assert!(send_reply(&registry, guard.state(), b'a'));
        let (other_registry, other) = (registry.clone(), guard.state().clone());
        let other = thread::spawn(move || assert!(send(&other_registry, &other, b'b', 4)));
        let mut received = guard.state().take_outbox().concat();
        other.join().unwrap();
        received.extend(guard.state().take_outbox().concat());
        assert_eq!(received, b"abbbb");
    });
}

#[test]
fn what_is_accepted_is_seen_by_the_connection_that_closes() {
    model(4, || {
        let registry = Registry::new(1_000, SlowConsumer::Close);
        let guard = registry.connect(1);
        // The first one makes the outbox, while the connection closes.
        let (other_registry, other) = (registry.clone(), guard.state().clone());
        let other = thread::spawn(move || {
            let accepted = [b'a', b'b'].map(|byte| send(&other_registry, &other, byte, 1));
            assert!(accepted[0] || !accepted[1]);
            accepted.into_iter().filter(|accepted| *accepted).count()
        });
        guard.begin_closing();
        let seen = guard.state().take_outbox().concat();
        // Nothing is accepted from now on.
        assert!(!send(&registry, guard.state(), b'c', 1));
        assert_eq!(other.join().unwrap(), seen.len());
        assert_eq!(guard.state().take_outbox().concat(), b"");
        assert_eq!(guard.state().pending(), 0);
    });
}

#[test]
fn what_is_queued_at_the_end_is_discarded() {
    model(4, || {
        let registry = Registry::new(1_000, SlowConsumer::Close);
        let guard = registry.connect(1);
        let state = guard.state().clone();
        let (other_registry, other) = (registry.clone(), state.clone());
        let other = thread::spawn(move || {
            send(&other_registry, &other, b'a', 1);
            send_reply(&other_registry, &other, b'b');
        });
        drop(guard);
        assert!(!send(&registry, &state, b'c', 1));
        other.join().unwrap();
        assert_eq!(state.pending(), 0);
        assert!(state.take_outbox().is_empty());
    });
}

/// Sends a reply that is encoded for the format that the connection has, as `Outbox::send` does.
fn send_encoded(registry: &Registry, state: &Arc<ConnectionState>) {
    let format = state.format();
    let Some(number) = format.factory() else { return assert!(send_reply(registry, state, b'?')) };
    let bytes = Bytes::from(vec![number]);
    match registry.send_now(state, Payload::Encoded(&bytes, Some(format))).0 {
        Pushed::FormatChanged => assert!(send_reply(registry, state, b'?')),
        pushed => assert!(matches!(pushed, Pushed::Queued)),
    }
}

#[test]
fn after_a_change_nothing_has_the_former_encoding() {
    model(4, || {
        let registry = Registry::new(1_000, SlowConsumer::Close);
        let guard = registry.connect(1);
        guard.state().set_format(Format::of_factory(1).unwrap());
        let (other_registry, other) = (registry.clone(), guard.state().clone());
        let other = thread::spawn(move || send_encoded(&other_registry, &other));
        guard.state().forget_format();
        let mut received = guard.state().take_outbox().concat();
        assert!(received.iter().all(|byte| [1, b'?'].contains(byte)), "{received:?}");
        let before = received.len();
        guard.state().set_format(Format::of_factory(2).unwrap());
        other.join().unwrap();
        received.extend(guard.state().take_outbox().concat());
        assert!(received[before..].iter().all(|byte| [2, b'?'].contains(byte)), "{before} {received:?}");
        assert_eq!(received.len(), 1);
    });
}
