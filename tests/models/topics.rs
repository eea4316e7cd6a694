//! Topics: members, publications, and the table of topics.

#[path = "../../src/topics/mod.rs"]
#[allow(dead_code, reason = "the library asks for more than the models do")]
#[allow(clippy::module_inception)]
pub(super) mod topics;

use std::sync::Arc;

use bytes::Bytes;
use loom::thread;

use super::model;
use crate::config::SlowConsumer;
use crate::registry::{ConnectionGuard, Format, Payload, Registry};
use topics::{Encodings, TopicState, Topics};

/// A byte, encoded or not.
struct Byte(Bytes, bool);

impl Encodings for Byte {
    fn encoded(&self, _: Format) -> Option<Payload<'_>> {
        self.1.then_some(Payload::Encoded(&self.0, None))
    }

    fn encode(&mut self, _: Format) -> Option<Payload<'_>> {
        Some(Payload::Encoded(&self.0, None))
    }
}

pub(super) fn publish(topic: &TopicState, registry: &Registry, byte: u8, encoded: bool) -> usize {
    let mut encodings = Byte(Bytes::from(vec![byte]), encoded);
    topic.publish(registry.shared(), None, &mut encodings).members
}

fn new() -> (Arc<Topics>, Arc<Registry>) {
    (Arc::default(), Registry::new(1_000, SlowConsumer::Close))
}

/// Whether the table is empty.
fn is_unused(topics: &Arc<Topics>) -> bool {
    !format!("{topics:?}").contains("lobby")
}

/// What the peer of this connection has received.
fn received(guard: &ConnectionGuard) -> Vec<u8> {
    guard.registry().flush_deferred();
    guard.state().take_outbox().concat()
}

#[test]
fn nothing_arrives_after_a_leave() {
    for encoded in [true, false] {
        model(3, move || {
            let (topics, registry) = new();
            let guard = registry.connect(1);
            let topic = topics.get("lobby");
            assert!(guard.join(&topic) && !guard.join(&topic));
            let (other_registry, other) = (registry.clone(), topics.get("lobby"));
            let publisher = thread::spawn(move || {
                let reached = [b'a', b'b'].map(|byte| publish(&other, &other_registry, byte, encoded));
                assert!(reached[0] == 1 || reached[1] == 0);
                reached.into_iter().sum::<usize>()
            });
            assert!(guard.leave(&topic) && !guard.leave(&topic));
            let before = received(&guard);
            assert!(b"ab".starts_with(&before));
            assert_eq!(publisher.join().unwrap(), before.len());
            assert_eq!(received(&guard), b"");
            assert_eq!((topic.len(), topic.members().len()), (0, 0));
        });
    }
}

#[test]
fn a_member_receives_what_follows_its_join() {
    model(3, || {
        let (topics, registry) = new();
        let topic = topics.get("lobby");
        let members = [1, 2].map(|id| {
            let (registry, topic) = (registry.clone(), topic.clone());
            thread::spawn(move || {
                let guard = registry.connect(id);
                assert!(guard.join(&topic));
                guard
            })
        });
        let before = publish(&topic, &registry, b'a', true);
        let members = members.map(|member| member.join().unwrap());
        assert_eq!((topic.len(), topic.members().len()), (2, 2));
        assert_eq!(publish(&topic, &registry, b'b', true), 2);
        let received = members.each_ref().map(received);
        assert!(received.iter().all(|received| received == b"ab" || received == b"b"));
        assert_eq!(received.concat().len(), 2 + before);
        drop(members);
        assert_eq!((topic.len(), topic.members().len()), (0, 0));
    });
}

#[test]
fn a_publication_and_an_end_agree_on_the_outcome() {
    model(3, || {
        let (topics, registry) = new();
        let guard = registry.connect(1);
        let topic = topics.get("lobby");
        guard.join(&topic);
        let (other_registry, other) = (registry.clone(), topic.clone());
        let publisher = thread::spawn(move || publish(&other, &other_registry, b'a', true));
        guard.begin_closing();
        let sent = received(&guard);
        assert_eq!(publisher.join().unwrap(), sent.len());
        drop(guard);
        assert_eq!((topic.len(), topic.members().len()), (0, 0));
        drop(topic);
        assert!(is_unused(&topics));
    });
}

#[test]
fn a_topic_is_one_while_it_is_used_and_none_afterwards() {
    model(2, || {
        let (topics, registry) = new();
        let lives = [1, 2].map(|id| {
            let (topics, registry) = (topics.clone(), registry.clone());
            thread::spawn(move || {
                let guard = registry.connect(id);
                guard.join(&topics.get("lobby"));
                // Found again by its name, while a handle or member of another thread makes and drops it.
                assert!(topics.get("lobby").members().contains(&guard.state().id()));
                assert!(topics.list().iter().any(|(name, members)| &**name == "lobby" && *members >= 1));
            })
        });
        lives.into_iter().for_each(|life| life.join().unwrap());
        assert!(is_unused(&topics));
        assert_eq!(topics.get("lobby").len(), 0);
        assert!(is_unused(&topics));
    });
}
