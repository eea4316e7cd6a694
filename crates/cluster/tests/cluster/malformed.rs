//! Messages that no node of this version has sent.

use std::time::Duration;

use async_nats::jetstream;
use support::{eventually, in_time};

use crate::faults::nats;
use crate::nats_server::NatsServer;
use crate::nodes::{ask, line, Node};
use crate::watch::{truth, Watched};

/// A generator of numbers that are the same in each run.
struct Seeded(u64);

impl Seeded {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

#[actix::test]
async fn messages_of_other_versions_are_refused_and_counted() {
    let server = NatsServer::start();
    let node = Node::start(nats(&server.url).node("one")).await;
    let mut member = node.member("lobby").await;
    let client = in_time(async_nats::connect(&server.url)).await.unwrap();
    // Of a version and of a kind that are unknown, empty, truncated, and with bytes at the end.
    let messages: [&[u8]; 7] =
        [&[2, 0, 1, b'a'], &[1, 9], &[1, 9, 9], &[], &[1], &[1, 0, 5, b'a'], &[1, 0, 1, b'a', b'b']];
    for message in messages {
        in_time(client.publish("test.topic.lobby", message.into())).await.unwrap();
    }
    in_time(client.publish("test.topic.lobby", [1, 0, 1, b'a'][..].into())).await.unwrap();
    member.expect(b"a\n").await;
    let info = node.cluster.info();
    let refused = info.refused;
    assert_eq!((refused.unknown_version, refused.unknown_kind, refused.unreadable, refused.panicked), (1, 2, 4, 0));
    assert_eq!((refused.total(), info.received), (7, 8));
    let subjects = ["test.node.one.", "test.presence.one."].map(|prefix| server.subjects(prefix));
    for subject in subjects.concat() {
        let asked = client.request(subject, [2, 0, 1, b'a'][..].into());
        in_time(asked).await.unwrap();
    }
    assert_eq!(node.cluster.info().refused.unknown_version, 3);
    in_time(node.cluster.leave()).await;
}

#[actix::test]
async fn random_bytes_on_every_subject_of_a_node_do_no_harm() {
    let server = NatsServer::start();
    let (one, two) =
        (Node::start(nats(&server.url).node("one")).await, Node::start(nats(&server.url).node("two")).await);
    let (mut member, mut ann) = (one.member("lobby").await, one.named("ann").await);
    let mut watched = Watched::new(&one, "lobby");
    watched.until_complete().await;
    let client = in_time(async_nats::connect(&server.url)).await.unwrap();
    // Every subject that the node is subscribed to, apart from answers to its own questions.
    let subjects: std::collections::BTreeSet<_> = server.subjects("test.").into_iter().collect();
    for expected in ["test.topic.lobby", "test.members.lobby", "test.all", "test.node.one.", "test.presence.one."] {
        assert!(subjects.iter().any(|subject| subject.starts_with(expected)), "{expected}");
    }
    let mut random = Seeded(0x5EED);
    let mut sent = 0;
    for n in 0..1_500 {
        let length = random.next(40);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.next(256) as u8).collect();
        // Most begin as a message does.
        if n % 4 > 0 && length > 2 {
            (bytes[0], bytes[1]) = (1, random.next(8) as u8);
        }
        for subject in &subjects {
            sent += 1;
            // With and without a subject for the answer.
            if n % 2 == 0 {
                client.publish(subject.clone(), bytes.clone().into()).await.unwrap();
            } else {
                client.publish_with_reply(subject.clone(), "unused", bytes.clone().into()).await.unwrap();
            }
        }
    }
    in_time(client.flush()).await.unwrap();
    // Bytes that are a message were delivered: the peer gets those, and what comes afterwards.
    two.cluster.topic("lobby").publish("the last line").remote.unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"the last line\n") {
        text.extend(member.read_exact(1).await);
    }
    in_time(two.cluster.send("ann", "hello")).await.unwrap();
    while !text.ends_with(b"hello\n") {
        text.extend(ann.read_exact(1).await);
    }
    assert_eq!(in_time(two.cluster.topic("lobby").presence(None, 10)).await.unwrap().members.len(), 1);
    eventually(|| watched.found() == truth(&[&one, &two], "lobby")).await;
    let (info, others) = (one.cluster.info(), two.cluster.info());
    assert_eq!((info.refused.panicked, others.refused.panicked), (0, 0));
    let refused = info.refused.total() + others.refused.total();
    assert!(refused > sent / 4 && refused < sent, "{refused} of {sent}");
    let mut guest = one.guest().await;
    ask(&mut guest, "register bob", "ok").await;
    for node in [one, two] {
        in_time(tokio::time::timeout(Duration::from_secs(10), node.cluster.leave())).await.unwrap();
    }
}

#[actix::test]
async fn garbage_in_the_buckets_does_no_harm() {
    let server = NatsServer::start();
    let nats = |node: &str| nats(&server.url).node(node).ttl(Duration::from_secs(6));
    let (one, two) = (Node::start(nats("one")).await, Node::start(nats("two")).await);
    let mut ann = one.named("ann").await;
    let client = in_time(async_nats::connect(&server.url)).await.unwrap();
    let jetstream = jetstream::new(client);
    let leases = in_time(jetstream.get_key_value("test_leases")).await.unwrap();
    let names = in_time(jetstream.get_key_value("test_names")).await.unwrap();
    let mut random = Seeded(0x6A5B);
    let mut guest = two.guest().await;
    for n in 0..60 {
        let mut bytes: Vec<u8> = (0..random.next(30)).map(|_| random.next(256) as u8).collect();
        match n % 3 {
            // A mark of a removal, an unknown version, and the beginning of a record.
            0 => bytes.clear(),
            1 => bytes.insert(0, 0xEE),
            _ => bytes.insert(0, 1),
        }
        // Names of any kind, some of which are not those of a node or a connection.
        let key = ["x", "=zz", "=ff"][random.next(3) as usize].to_owned() + &n.to_string();
        in_time(leases.put(&key, bytes.clone().into())).await.unwrap();
        in_time(names.put(&key, bytes.into())).await.unwrap();
        if key.starts_with('x') {
            // With or without success, there is an answer.
            let _ = in_time(two.cluster.whereis(&key)).await;
            guest.send(format!("register {key}\n")).await;
            line(&mut guest).await;
        }
    }
    in_time(names.delete("bob")).await.unwrap();
    ask(&mut guest, "register bob", "ok").await;
    let nodes = in_time(two.cluster.nodes()).await.unwrap();
    assert!(nodes.contains(&"one".into()) && nodes.contains(&"two".into()), "{nodes:?}");
    // Nodes that join, leave and are listed get over it as well.
    let three = Node::start(nats("three")).await;
    in_time(three.cluster.send("ann", "hello")).await.unwrap();
    ann.expect(b"hello\n").await;
    for node in [one, two, three] {
        assert_eq!(node.cluster.info().refused.panicked, 0);
        in_time(node.cluster.leave()).await;
    }
}
