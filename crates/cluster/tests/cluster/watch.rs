//! The changes of the members of topics.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_acceptor_cluster::{Member, PresenceChange, PresenceWatch, WatchError};
use futures::{FutureExt, StreamExt};
use support::{eventually, in_time, Peer};

use crate::nats_server::NatsServer;
use crate::nodes::{ask, worlds, Node, World};

/// A watch, and what its changes add up to.
pub(crate) struct Watched {
    pub(crate) watch: PresenceWatch,
    pub(crate) members: BTreeMap<(Arc<str>, u64), Member>,
}

impl Watched {
    pub(crate) fn new(node: &Node, topic: &str) -> Self {
        Watched { watch: node.cluster.topic(topic).watch(1_000), members: BTreeMap::new() }
    }

    /// Applies a change. Each must be one.
    fn apply(&mut self, change: &PresenceChange) {
        let key = |member: &Member| (member.node.clone(), member.id.get());
        match change {
            PresenceChange::Joined(member) => {
                assert_eq!(self.members.insert(key(member), member.clone()), None, "{member:?}");
            }
            PresenceChange::Left(member) => {
                assert_eq!(self.members.remove(&key(member)).as_ref(), Some(member));
            }
            PresenceChange::Labelled(member) => {
                let former = self.members.insert(key(member), member.clone());
                assert!(former.is_some_and(|former| former.label != member.label), "{member:?}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(self.watch.members(), self.members.values().cloned().collect::<Vec<_>>());
    }

    pub(crate) async fn next(&mut self) -> PresenceChange {
        let change = in_time(self.watch.next()).await.expect("the watch goes on").unwrap();
        self.apply(&change);
        change
    }

    /// Applies the changes that are there.
    pub(crate) fn drain(&mut self) {
        while let Some(change) = self.watch.next().now_or_never() {
            self.apply(&change.expect("the watch goes on").unwrap());
        }
    }

    /// Node, id and label of each member.
    pub(crate) fn found(&mut self) -> Vec<(String, u64, Option<String>)> {
        self.drain();
        self.members.values().map(|member| (member.node.to_string(), member.id.get(), member.label.clone())).collect()
    }

    pub(crate) async fn until_complete(&mut self) {
        eventually(|| {
            self.drain();
            self.watch.is_complete()
        })
        .await;
    }
}

/// Node, id and label of each member, as the pools have them.
pub(crate) fn truth(nodes: &[&Node], topic: &str) -> Vec<(String, u64, Option<String>)> {
    let mut members = Vec::new();
    for node in nodes {
        for id in node.pool.topic(topic).members() {
            let label = node.pool.connection_info(id).and_then(|info| info.label).map(|label| label.to_string());
            members.push((node.cluster.node().to_owned(), id.get(), label));
        }
    }
    members.sort();
    members
}

async fn leave(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.cluster.leave().await;
    }
}

#[actix::test]
async fn joins_labels_and_leaves_of_all_nodes_are_followed() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let mut first = two.member("lobby").await;
        ask(&mut first, "label ann", "ok").await;
        let mut watched = Watched::new(&one, "lobby");
        let PresenceChange::Joined(ann) = watched.next().await else { panic!("it was there before") };
        assert_eq!((&*ann.node, ann.id, ann.label.as_deref()), ("two", two.pool.list()[0].id, Some("ann")));
        watched.until_complete().await;
        for (node, name) in [(&two, "two"), (&one, "one")] {
            let mut peer = node.guest().await;
            // Without effect: it is no member.
            ask(&mut peer, "label bob", "ok").await;
            ask(&mut peer, "label ", "ok").await;
            ask(&mut peer, "join lobby", "true").await;
            let PresenceChange::Joined(member) = watched.next().await else { panic!("it has joined") };
            assert_eq!((&*member.node, member.label.as_deref()), (name, None));
            ask(&mut peer, "label bob", "ok").await;
            let PresenceChange::Labelled(labelled) = watched.next().await else { panic!("it has a label") };
            assert_eq!((labelled.id, labelled.label.as_deref()), (member.id, Some("bob")));
            ask(&mut peer, "leave lobby", "true").await;
            assert_eq!(watched.next().await, PresenceChange::Left(labelled));
            ask(&mut peer, "join lobby", "true").await;
            assert!(
                matches!(watched.next().await, PresenceChange::Joined(member) if member.label.as_deref() == Some("bob"))
            );
            drop(peer);
            assert!(matches!(watched.next().await, PresenceChange::Left(left) if left.id == member.id));
        }
        drop(first);
        assert_eq!(watched.next().await, PresenceChange::Left(ann));
        watched.until_complete().await;
        assert!(watched.members.is_empty());
        leave([one, two]).await;
        // The watch ends with its node.
        assert_eq!(in_time(watched.watch.next()).await, None);
    }
}

#[actix::test]
async fn a_watch_equals_the_truth_after_a_storm_and_a_restart() {
    for mut world in worlds() {
        let nodes = [world.node("one").await, world.node("two").await, world.node("three").await];
        let all: Vec<_> = nodes.iter().collect();
        let mut watches = [Watched::new(&nodes[0], "lobby"), Watched::new(&nodes[2], "lobby")];
        let mut peers: Vec<(usize, Peer)> = Vec::new();
        for n in 0..24 {
            peers.push((n % 3, nodes[n % 3].guest().await));
        }
        let mut random = 88_172_645_463_325_252_u64;
        for step in 0..600 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = random as usize % peers.len();
            let (node, peer) = &mut peers[at];
            match (random >> 32) % 8 {
                0..=3 => peer.send("join lobby\n").await,
                4..=5 => peer.send("leave lobby\n").await,
                6 => peer.send(format!("label {step}\n")).await,
                _ => *peer = nodes[*node].guest().await,
            }
            if let World::Nats(server) = &mut world {
                match step {
                    200 => server.stop(),
                    400 => server.start_again(),
                    _ => {}
                }
            }
            watches.iter_mut().for_each(Watched::drain);
        }
        // Everything has been handled.
        for (_, peer) in &mut peers {
            peer.send("end\n").await;
            let mut read = Vec::new();
            while !read.ends_with(b"unknown\n") {
                read.extend(peer.read_exact(1).await);
            }
        }
        for watched in &mut watches {
            eventually(|| watched.found() == truth(&all, "lobby") && watched.watch.is_complete()).await;
            assert!(!watched.members.is_empty() && watched.watch.unreachable().is_empty());
        }
        leave(nodes).await;
    }
}

#[actix::test]
async fn too_many_members_end_a_watch_with_both_numbers() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let (_near, _far) = (one.member("lobby").await, two.member("lobby").await);
        let mut watch = one.cluster.topic("lobby").watch(2);
        for _ in 0..2 {
            assert!(matches!(in_time(watch.next()).await, Some(Ok(PresenceChange::Joined(_)))));
        }
        let _more = two.member("lobby").await;
        let too_many = WatchError::TooMany { members: 3, limit: 2 };
        assert_eq!(in_time(watch.next()).await, Some(Err(too_many.clone())));
        assert_eq!((in_time(watch.next()).await, watch.members(), watch.is_complete()), (None, Vec::new(), false));
        // There are too many from the start.
        let mut watch = one.cluster.topic("lobby").watch(0);
        assert!(matches!(in_time(watch.next()).await, Some(Err(WatchError::TooMany { members: 1.., limit: 0 }))));
        let mut watch = one.cluster.topic("a".repeat(2_000)).watch(10);
        let too_long = WatchError::NameTooLong { length: 2_000, limit: 1_024 };
        assert_eq!(in_time(watch.next()).await, Some(Err(too_long)));
        leave([one, two]).await;
    }
}

#[actix::test]
async fn after_the_last_watch_nodes_publish_no_changes() {
    let world = World::Nats(NatsServer::start());
    let World::Nats(server) = &world else { unreachable!() };
    let client = in_time(async_nats::connect(&server.url)).await.unwrap();
    let mut changes = in_time(client.subscribe("test.members.>")).await.unwrap();
    in_time(client.flush()).await.unwrap();
    let (one, two) = (world.node("one").await, world.node("two").await);
    let mut peer = two.guest().await;
    let mut watched = Watched::new(&one, "lobby");
    watched.until_complete().await;
    ask(&mut peer, "join lobby", "true").await;
    watched.next().await;
    assert_eq!(&*in_time(changes.next()).await.unwrap().subject, "test.members.lobby");
    assert!(changes.next().now_or_never().is_none());
    assert_eq!(server.subscriptions("test.members.lobby"), 1);
    assert_eq!((one.cluster.info().watched_topics, two.cluster.info().watched_topics), (1, 1));
    drop(watched);
    eventually(|| server.subscriptions("test.members.lobby") == 0).await;
    let silent = async {
        loop {
            ask(&mut peer, "leave lobby", "true").await;
            ask(&mut peer, "join lobby", "true").await;
            // After the pause between two messages.
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            in_time(two.cluster.flush()).await.unwrap();
            in_time(client.flush()).await.unwrap();
            let mut count = 0;
            while changes.next().now_or_never().is_some() {
                count += 1;
            }
            if count == 0 {
                return;
            }
        }
    };
    in_time(silent).await;
    eventually(|| one.cluster.info().watched_topics == 0 && two.cluster.info().watched_topics == 0).await;
}

#[actix::test]
async fn members_of_a_restarted_node_are_others() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let former = two.member("lobby").await;
        let mut watched = Watched::new(&one, "lobby");
        let PresenceChange::Joined(before) = watched.next().await else { panic!("it is a member") };
        // As if it had crashed: its members do not leave.
        in_time(two.cluster.leave()).await;
        let two_again = world.node("two").await;
        let _new = two_again.member("lobby").await;
        let mut joined = None;
        while joined.is_none() {
            match watched.next().await {
                PresenceChange::Joined(member) => joined = Some(member),
                other => assert_eq!(other, PresenceChange::Left(before.clone())),
            }
        }
        let joined = joined.unwrap();
        assert_eq!((&joined.node, joined.id), (&before.node, before.id));
        assert_ne!(joined, before);
        in_time(one.cluster.member(&joined).send("hello")).await.unwrap();
        watched.until_complete().await;
        assert_eq!(watched.watch.members(), [joined]);
        drop(former);
        leave([one, two_again]).await;
    }
}

#[actix::test]
async fn without_nats_members_of_the_node_are_followed() {
    let mut world = World::Nats(NatsServer::start());
    let (one, two) = (world.node("one").await, world.node("two").await);
    let mut far = two.member("lobby").await;
    let mut near = one.guest().await;
    let mut watched = Watched::new(&one, "lobby");
    watched.next().await;
    watched.until_complete().await;
    let World::Nats(server) = &mut world else { unreachable!() };
    server.stop();
    eventually(|| !one.cluster.is_connected() && !two.cluster.is_connected()).await;
    ask(&mut near, "join lobby", "true").await;
    assert!(matches!(watched.next().await, PresenceChange::Joined(member) if &*member.node == "one"));
    // This is not known yet.
    ask(&mut far, "label far", "ok").await;
    eventually(|| !watched.watch.is_complete()).await;
    server.start_again();
    eventually(|| watched.found() == truth(&[&one, &two], "lobby")).await;
    watched.until_complete().await;
    // One that begins without NATS.
    server.stop();
    eventually(|| !one.cluster.is_connected() && !two.cluster.is_connected()).await;
    let mut watched = Watched::new(&one, "lobby");
    assert!(matches!(watched.next().await, PresenceChange::Joined(member) if &*member.node == "one"));
    assert!(!watched.watch.is_complete());
    server.start_again();
    eventually(|| watched.found() == truth(&[&one, &two], "lobby")).await;
    watched.until_complete().await;
}
