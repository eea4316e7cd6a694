//! Watches of topics while a node is away.

use std::time::Duration;

use actix_acceptor_cluster::{NodeState, PresenceChange};
use support::{eventually, in_time};

use super::proxy::Proxy;
use super::{nats, reached};
use crate::nats_server::NatsServer;
use crate::nodes::{ask, Node, TTL};
use crate::watch::{truth, Watched};

#[actix::test]
async fn members_of_a_node_that_is_away_leave_with_its_lease() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let one = Node::start(nats(&server.url).node("one").ttl(TTL)).await;
    let two = Node::start(nats(&proxy.url).node("two").ttl(TTL)).await;
    let (_near, _far) = (one.member("lobby").await, two.member("lobby").await);
    let mut watched = Watched::new(&one, "lobby");
    watched.until_complete().await;
    assert_eq!(watched.found().len(), 2);
    let away = std::time::Instant::now();
    proxy.silence();
    let PresenceChange::Left(left) = watched.next().await else { panic!("it is away") };
    // Not before its lease has run out.
    let after = away.elapsed();
    assert!(&*left.node == "two" && after > TTL / 3, "{left:?} {after:?}");
    watched.until_complete().await;
    proxy.open();
    reached(&two, NodeState::Joined).await;
    let PresenceChange::Joined(joined) = watched.next().await else { panic!("it is back") };
    assert_eq!(joined, left);
    watched.until_complete().await;
    assert_eq!(watched.found(), truth(&[&one, &two], "lobby"));
    in_time(one.cluster.leave()).await;
    in_time(two.cluster.leave()).await;
}

#[actix::test]
async fn changes_that_were_lost_are_found_and_nothing_else_changes() {
    let ttl = Duration::from_secs(6);
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let one = Node::start(nats(&server.url).node("one").ttl(ttl)).await;
    let two = Node::start(nats(&proxy.url).node("two").ttl(ttl)).await;
    let (_stays, mut labelled, leaves) =
        (two.member("lobby").await, two.member("lobby").await, two.member("lobby").await);
    let mut watched = Watched::new(&one, "lobby");
    watched.until_complete().await;
    assert_eq!(watched.found().len(), 3);
    proxy.close().await;
    reached(&two, NodeState::Alone).await;
    ask(&mut labelled, "label ann", "ok").await;
    drop(leaves);
    let mut joins = two.guest().await;
    ask(&mut joins, "join lobby", "true").await;
    eventually(|| two.pool.connections() == 3).await;
    eventually(|| watched.watch.unreachable() == ["two".into()] && !watched.watch.is_complete()).await;
    assert_eq!(watched.found().len(), 3);
    proxy.open();
    let mut changes = [watched.next().await, watched.next().await, watched.next().await];
    changes.sort_by_key(|change| match change {
        PresenceChange::Left(_) => 0,
        PresenceChange::Joined(_) => 1,
        _ => 2,
    });
    let [PresenceChange::Left(_), PresenceChange::Joined(_), PresenceChange::Labelled(ann)] = &changes else {
        panic!("{changes:?}")
    };
    assert_eq!(ann.label.as_deref(), Some("ann"));
    watched.until_complete().await;
    assert_eq!(watched.found(), truth(&[&one, &two], "lobby"));
    in_time(one.cluster.leave()).await;
    in_time(two.cluster.leave()).await;
}

#[actix::test]
async fn a_lost_change_is_found_with_the_next_one() {
    // Longer than the test: no node is asked again meanwhile.
    let ttl = Duration::from_secs(600);
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let one = Node::start(nats(&server.url).node("one").ttl(ttl)).await;
    let two = Node::start(nats(&proxy.url).node("two").ttl(ttl)).await;
    let (mut stays, leaves) = (two.member("lobby").await, two.member("lobby").await);
    let (mut watched, mut near) = (Watched::new(&one, "lobby"), Watched::new(&two, "lobby"));
    watched.until_complete().await;
    near.until_complete().await;
    assert_eq!(watched.found().len(), 2);
    proxy.close().await;
    eventually(|| !two.cluster.is_connected()).await;
    near.drain();
    drop(leaves);
    let PresenceChange::Left(left) = near.next().await else { panic!("it has left") };
    assert_eq!(watched.found().len(), 2);
    proxy.open();
    eventually(|| two.cluster.is_connected()).await;
    ask(&mut stays, "label ann", "ok").await;
    let changes = [watched.next().await, watched.next().await];
    assert!(changes.contains(&PresenceChange::Left(left)), "{changes:?}");
    watched.until_complete().await;
    assert_eq!(watched.found(), truth(&[&one, &two], "lobby"));
    in_time(one.cluster.leave()).await;
    in_time(two.cluster.leave()).await;
}

#[actix::test]
async fn a_watch_that_was_away_finds_what_has_changed_meanwhile() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let one = Node::start(nats(&proxy.url).node("one").ttl(TTL)).await;
    let two = Node::start(nats(&server.url).node("two").ttl(TTL)).await;
    let (mut stays, leaves) = (two.member("lobby").await, two.member("lobby").await);
    let mut watched = Watched::new(&one, "lobby");
    watched.until_complete().await;
    // Some messages, so that the node counts from a higher number than afterwards.
    for label in ["a", "b", "c"] {
        ask(&mut stays, &format!("label {label}"), "ok").await;
        watched.next().await;
    }
    proxy.close().await;
    eventually(|| two.cluster.info().watched_topics == 0).await;
    drop(leaves);
    eventually(|| two.pool.connections() == 1).await;
    proxy.open();
    reached(&one, NodeState::Joined).await;
    let is_left = |change| matches!(change, PresenceChange::Left(member) if &*member.node == "two");
    assert!(is_left(watched.next().await));
    ask(&mut stays, "label d", "ok").await;
    eventually(|| watched.found() == truth(&[&one, &two], "lobby")).await;
    watched.until_complete().await;
    in_time(one.cluster.leave()).await;
    in_time(two.cluster.leave()).await;
}
