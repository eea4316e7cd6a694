//! Connections that are lost, and servers that are silent.

use std::time::Duration;

use actix_acceptor_cluster::{DeliveryError, NodeState, RemoteError};
use support::{eventually, in_time, pass};

use super::proxy::Proxy;
use super::{nats, reached, SOON};
use crate::nats_server::NatsServer;
use crate::nodes::{ask, Node};

#[actix::test]
async fn a_silent_server_is_noticed_and_local_members_are_served() {
    let server = NatsServer::start();
    let (one, two) = (
        Node::start(nats(&server.url).node("one").server_timeout(SOON)).await,
        Node::start(nats(&server.url).node("two").server_timeout(SOON)).await,
    );
    let (mut near, mut far) = (one.member("lobby").await, two.member("lobby").await);
    server.pause();
    let paused = std::time::Instant::now();
    reached(&one, NodeState::Alone).await;
    // A third more than `server_timeout`, and much for a busy machine.
    assert!(paused.elapsed() < 6 * SOON, "{:?}", paused.elapsed());
    // It stays silent when the node connects again, for longer than an attempt takes.
    for n in 0..300 {
        let published = one.cluster.topic("lobby").publish(format!("line {n}"));
        assert!(matches!(published.remote, Err(RemoteError::Disconnected)), "{published:?}");
        near.expect(format!("line {n}\n").as_bytes()).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    reached(&two, NodeState::Alone).await;
    server.resume();
    for node in [&one, &two] {
        reached(node, NodeState::Joined).await;
        in_time(node.cluster.topic("lobby").subscribed()).await.unwrap();
        assert!(node.cluster.info().reconnects > 0);
    }
    one.cluster.topic("lobby").publish("together");
    for peer in [&mut near, &mut far] {
        peer.expect(b"together\n").await;
    }
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn a_server_that_is_slow_for_a_moment_loses_nothing() {
    let server = NatsServer::start();
    let nats = |name: &str| nats(&server.url).node(name).server_timeout(Duration::from_secs(60));
    let (one, two) = (Node::start(nats("one")).await, Node::start(nats("two")).await);
    let (mut near, mut far) = (one.member("lobby").await, two.member("lobby").await);
    for round in 0..3 {
        server.pause();
        for n in 0..100 {
            let line = format!("line {round} {n}");
            one.cluster.topic("lobby").publish(line.clone()).remote.unwrap();
            near.expect(format!("{line}\n").as_bytes()).await;
        }
        pass(Duration::from_millis(300)).await;
        server.resume();
        for n in 0..100 {
            far.expect(format!("line {round} {n}\n").as_bytes()).await;
        }
    }
    in_time(one.cluster.flush()).await.unwrap();
    for node in [one, two] {
        let info = node.cluster.info();
        assert_eq!((info.reconnects, info.dropped.unconfirmed, info.dropped.expired), (0, 0, 0));
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn what_is_on_its_way_at_a_loss_is_counted() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let (one, two) = (
        Node::start(nats(&proxy.url).node("one").server_timeout(SOON)).await,
        Node::start(nats(&server.url).node("two")).await,
    );
    let mut far = two.member("lobby").await;
    let topic = one.cluster.topic("lobby");
    topic.publish("before").remote.unwrap();
    in_time(one.cluster.flush()).await.unwrap();
    proxy.silence();
    // The node cannot know yet, and these do not reach the server.
    for n in 0..5 {
        topic.publish(format!("lost {n}")).remote.unwrap();
    }
    let flush = in_time(one.cluster.flush()).await;
    assert!(matches!(flush, Err(RemoteError::Disconnected)), "{flush:?}");
    proxy.close().await;
    proxy.open();
    reached(&one, NodeState::Joined).await;
    let flush = in_time(one.cluster.flush()).await;
    assert!(matches!(flush, Err(RemoteError::Lost { messages: 5 })), "{flush:?}");
    assert_eq!(one.cluster.info().dropped.unconfirmed, 5);
    topic.publish("after").remote.unwrap();
    in_time(one.cluster.flush()).await.unwrap();
    far.expect(b"before\nafter\n").await;
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn a_question_under_way_ends_when_the_connection_is_lost() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let limit = Duration::from_secs(60);
    let one = Node::start(nats(&proxy.url).node("one").server_timeout(SOON).request_timeout(limit)).await;
    let two = Node::start(nats(&server.url).node("two")).await;
    let ann = two.named("ann").await;
    let owner = in_time(one.cluster.whereis("ann")).await.unwrap().unwrap();
    proxy.silence();
    let lost = in_time(owner.send("hello")).await;
    assert!(matches!(lost, Err(DeliveryError::Disconnected)), "{lost:?}");
    let lost = in_time(one.cluster.whereis("ann")).await;
    assert!(matches!(lost, Err(DeliveryError::Disconnected)), "{lost:?}");
    drop(ann);
    proxy.open();
    reached(&one, NodeState::Joined).await;
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn away_for_longer_than_the_ttl_a_node_registers_its_names_again() {
    let ttl = Duration::from_secs(3);
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let (one, two) = (
        Node::start(nats(&proxy.url).node("one").ttl(ttl)).await,
        Node::start(nats(&server.url).node("two").ttl(ttl)).await,
    );
    let (mut ann, mut bob) = (one.named("ann").await, one.named("bob").await);
    for peer in [&mut ann, &mut bob] {
        ask(peer, "join lobby", "true").await;
    }
    let mut far = two.guest().await;
    proxy.close().await;
    reached(&one, NodeState::Alone).await;
    let away = std::time::Instant::now();
    while in_time(two.cluster.whereis("ann")).await.unwrap().is_some() {
        assert_eq!(one.cluster.topic("lobby").publish("alone").members, 2);
        for peer in [&mut ann, &mut bob] {
            peer.expect(b"alone\n").await;
        }
    }
    assert!(away.elapsed() > ttl / 3, "{:?}", away.elapsed());
    assert_eq!(one.cluster.info().lease, None);
    ask(&mut far, "register bob", "ok").await;
    proxy.open();
    reached(&one, NodeState::Joined).await;
    // A name that is still free is registered again; the connection that has lost its name is closed.
    assert_eq!(bob.until_gone().await, b"");
    let registered = async {
        while two.whereis("ann").await.as_deref() != Some("one") {
            tokio::task::yield_now().await;
        }
    };
    in_time(registered).await;
    assert_eq!(two.whereis("bob").await.as_deref(), Some("two"));
    in_time(two.cluster.send("ann", "hello")).await.unwrap();
    ann.expect(b"hello\n").await;
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn a_node_that_is_away_is_disconnected_until_its_lease_has_run_out() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let nats = |url: &str, node: &str| nats(url).node(node).ttl(Duration::from_secs(12));
    let (one, two) = (Node::start(nats(&server.url, "one")).await, Node::start(nats(&proxy.url, "two")).await);
    let ann = two.named("ann").await;
    let owner = in_time(one.cluster.whereis("ann")).await.unwrap().unwrap();
    proxy.close().await;
    let away = std::time::Instant::now();
    // The server may see the end of the connection a moment later.
    eventually(|| server.subjects("test.node.two.").is_empty()).await;
    let sent = in_time(owner.send("hello")).await;
    assert!(matches!(sent, Err(DeliveryError::Disconnected)), "{sent:?} after {:?}", away.elapsed());
    let gone = async {
        while !matches!(owner.send("hello").await, Err(DeliveryError::NoOwner)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    in_time(gone).await;
    assert!(away.elapsed() > Duration::from_secs(4), "{:?}", away.elapsed());
    drop(ann);
    in_time(one.cluster.leave()).await;
}
