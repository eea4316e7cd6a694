//! Replies that a topic defers: they arrive in the order in which they were sent, and in the format of the moment.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use loom::thread;

use super::model;
use super::topics::topics::{Encodings, TopicState, Topics};
use crate::config::SlowConsumer;
use crate::registry::{run_wakes, Arbiter, ConnectionGuard, Format, Payload, Pushed, Registry, Signals};

/// A reply. Its encoding for the first version of the codec is the byte itself, for another codec that byte in upper case.
struct Letter(u8, Bytes);

impl Letter {
    fn new(byte: u8) -> Self {
        Letter(byte, Bytes::from(vec![byte]))
    }
}

impl Encodings for Letter {
    fn encoded(&self, format: Format) -> Option<Payload<'_>> {
        (Some(format) == Format::of_factory(1)).then_some(Payload::Encoded(&self.1, Some(format)))
    }

    fn encode(&mut self, format: Format) -> Option<Payload<'_>> {
        if Some(format) == Format::of_factory(1) {
            return self.encoded(format);
        }
        Some(Payload::Reply(Box::new(vec![self.0.to_ascii_uppercase()]), 1))
    }
}

/// Publishes to the member, and returns whether it was reached.
fn publish(topic: &TopicState, registry: &Registry, byte: u8) -> bool {
    match topic.publish(registry.shared(), None, &mut Letter::new(byte)).members {
        0 => false,
        members => members == 1 || panic!("{members} members"),
    }
}

fn send(registry: &Registry, guard: &ConnectionGuard, byte: u8) {
    let bytes = Bytes::from(vec![byte]);
    assert!(matches!(registry.send_now(guard.state(), Payload::Encoded(&bytes, None)).0, Pushed::Queued));
}

fn new(outbox: usize) -> (Arc<Topics>, Arc<Registry>, ConnectionGuard) {
    let registry = Registry::new(outbox, SlowConsumer::DropNewest);
    let guard = registry.connect(1);
    guard.state().set_format(Format::of_factory(1).unwrap());
    (Arc::default(), registry, guard)
}

/// What the peer has received so far.
fn received(guard: &ConnectionGuard) -> String {
    guard.registry().flush_deferred();
    String::from_utf8(guard.state().take_outbox().concat()).unwrap()
}

#[test]
fn replies_arrive_in_the_order_in_which_they_were_sent() {
    model(3, || {
        let (topics, registry, guard) = new(1_000);
        let (one, two) = (topics.get("one"), topics.get("two"));
        assert!(guard.join(&one) && guard.join(&two));
        let (other_registry, other) = (registry.clone(), two.clone());
        // Another publisher, whose replies push the deferred ones out.
        let publisher = thread::spawn(move || assert!(publish(&other, &other_registry, b'x')));
        for (topic, byte) in [(&one, b'a'), (&one, b'b'), (&two, b'c'), (&one, b'd')] {
            assert!(publish(topic, &registry, byte));
        }
        send(&registry, &guard, b'e');
        publisher.join().unwrap();
        let received = received(&guard);
        assert_eq!(received.replace('x', ""), "abcde");
        assert_eq!(received.len(), 6);
    });
}

#[test]
fn a_flush_of_another_thread_is_over_when_it_is_seen() {
    model(4, || {
        let (topics, registry, guard) = new(1_000);
        let topic = topics.get("lobby");
        guard.join(&topic);
        assert!(publish(&topic, &registry, b'a') && publish(&topic, &registry, b'b'));
        let flushing = thread::spawn({
            let registry = registry.clone();
            move || registry.flush_deferred()
        });
        send(&registry, &guard, b'c');
        flushing.join().unwrap();
        assert_eq!(received(&guard), "abc");
    });
}

#[test]
fn no_deferred_reply_is_left_in_a_former_format() {
    model(3, || {
        let (topics, registry, guard) = new(1_000);
        let topic = topics.get("lobby");
        guard.join(&topic);
        let (other_registry, other) = (registry.clone(), topic.clone());
        let publisher =
            thread::spawn(move || [b'a', b'b', b'c'].map(|byte| assert!(publish(&other, &other_registry, byte))));
        registry.change_format(|| guard.state().forget_format());
        let before = received(&guard);
        assert!("abc".starts_with(&before) || "ABC".starts_with(&before.to_uppercase()), "{before}");
        publisher.join().unwrap();
        let all = before + &received(&guard);
        assert_eq!(all.to_uppercase(), "ABC");
        // In the former format before, in the connection's own afterwards.
        let own = all.find(|byte: char| byte.is_uppercase()).unwrap_or(3);
        assert!(all[own..].chars().all(|byte| byte.is_uppercase()), "{all}");
    });
}

#[test]
fn a_reply_that_was_counted_fits() {
    model(3, || {
        let (topics, registry, guard) = new(3);
        let topic = topics.get("lobby");
        guard.join(&topic);
        let (other_registry, other) = (registry.clone(), topic.clone());
        let publisher = thread::spawn(move || {
            let reached = [b'a', b'b'].map(|byte| publish(&other, &other_registry, byte));
            reached.into_iter().filter(|reached| *reached).count()
        });
        let here = [b'c', b'd'].map(|byte| publish(&topic, &registry, byte));
        let reached = here.into_iter().filter(|reached| *reached).count() + publisher.join().unwrap();
        assert_eq!(reached, 3);
        assert_eq!(received(&guard).len(), 3);
        assert_eq!(registry.shared().dropped(), 1);
    });
}

#[test]
fn a_deferred_reply_wakes_its_member() {
    model(2, || {
        let (topics, registry, guard) = new(1_000);
        let arbiter = Arbiter::new();
        guard.state().set_arbiter(&arbiter);
        let topic = topics.get("lobby");
        guard.join(&topic);
        let (other_registry, other) = (registry.clone(), topic.clone());
        let publisher =
            thread::spawn(move || [b'a', b'b', b'c'].map(|byte| assert!(publish(&other, &other_registry, byte))));
        let mut wakes = std::pin::pin!(run_wakes(registry));
        let waker = std::task::Waker::from(arbiter.clone());
        let mut all = String::new();
        while all.len() < 3 {
            assert!(wakes.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
            if guard.state().take_wake_up() && guard.state().take_signals(Signals::OUTBOX) {
                // Only what is in the outbox: the wake-up has queued the others.
                all += &String::from_utf8(guard.state().take_outbox().concat()).unwrap();
            }
            if all.len() < 3 {
                arbiter.sleep();
            }
        }
        assert_eq!(all, "abc");
        publisher.join().unwrap();
    });
}
