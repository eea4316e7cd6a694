//! NATS away, or without JetStream, when a node starts.

use std::time::Duration;

use actix_acceptor_cluster::{ConnectError, NodeState, RegisterError, RemoteError};
use support::{eventually, in_time};

use super::{nats, reached};
use crate::nats_server::NatsServer;
use crate::nodes::{ask, worlds, Node};
use crate::settings::error_of;

#[actix::test]
async fn a_node_starts_alone_and_joins_when_there_is_a_server() {
    let mut server = NatsServer::start();
    server.stop();
    let one = Node::start(nats(&server.url).node("one").start_alone(true)).await;
    assert_eq!(one.cluster.state(), NodeState::Alone);
    let mut near = one.guest().await;
    ask(&mut near, "join lobby", "true").await;
    let published = one.cluster.topic("lobby").publish("alone");
    assert!(matches!(published.remote, Err(RemoteError::Disconnected)), "{published:?}");
    near.expect(b"alone\n").await;
    ask(&mut near, "register ann", &RegisterError::Disconnected.to_string()).await;
    let info = one.cluster.info();
    assert!(info.last_error.is_some() && info.lease.is_none() && info.server.is_none(), "{info:?}");
    server.start_again();
    reached(&one, NodeState::Joined).await;
    // The topic was joined while there was no server.
    in_time(one.cluster.topic("lobby").subscribed()).await.unwrap();
    ask(&mut near, "register ann", "ok").await;
    let two = Node::start(nats(&server.url).node("two")).await;
    two.cluster.topic("lobby").publish("together");
    near.expect(b"together\n").await;
    in_time(two.cluster.send("ann", "hello")).await.unwrap();
    near.expect(b"hello\n").await;
    let info = one.cluster.info();
    assert_eq!((info.state, info.reconnects, info.names, info.topics), (NodeState::Joined, 0, 1, 1));
    assert!(info.server.is_some_and(|server| server.contains("127.0.0.1")) && info.lease.is_some());
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn a_node_that_has_started_has_joined() {
    for world in worlds() {
        let node = world.node("one").await;
        assert_eq!(node.cluster.state(), NodeState::Joined);
        in_time(node.cluster.reached(NodeState::Joined)).await.unwrap();
        in_time(node.cluster.reached(NodeState::Connected)).await.unwrap();
        let info = node.cluster.info();
        assert!(info.lease.is_some() && info.node == "one" && info.reconnects == 0, "{info:?}");
        assert_eq!((info.published, info.received, info.refused.total(), info.topics), (0, 0, 0, 0));
        let mut member = node.member("lobby").await;
        node.cluster.topic("lobby").publish("hello");
        member.expect(b"hello\n").await;
        let info = node.cluster.info();
        // One message for the other nodes, which does not come back.
        assert_eq!((info.published, info.received, info.topics), (1, 0, 1));
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn with_a_server_at_its_start_a_node_that_may_start_alone_has_joined() {
    let server = NatsServer::start();
    let node = Node::start(nats(&server.url).start_alone(true).connect_timeout(Duration::from_secs(20))).await;
    assert!(node.cluster.info().server.is_some());
    reached(&node, NodeState::Joined).await;
    let error = error_of(nats(&server.url).start_alone(true).ttl(Duration::from_secs(9))).await;
    assert!(matches!(error, ConnectError::Mismatch { .. }), "{error}");
    in_time(node.cluster.leave()).await;
}

#[actix::test]
async fn without_jetstream_topics_work_and_nodes_join_later() {
    let mut server = NatsServer::with_arguments(&[]);
    let nats = |node: &str| nats(&server.url).node(node).start_alone(true);
    let (one, two) = (Node::start(nats("one")).await, Node::start(nats("two")).await);
    assert_eq!(one.cluster.state(), NodeState::Connected);
    let mut far = two.member("lobby").await;
    one.cluster.topic("lobby").publish("hello");
    far.expect(b"hello\n").await;
    one.cluster.broadcast("to all").remote.unwrap();
    far.expect(b"to all\n").await;
    let mut near = one.guest().await;
    ask(&mut near, "register ann", &RegisterError::Disconnected.to_string()).await;
    server.stop();
    reached(&one, NodeState::Alone).await;
    server.start_again_with(&["--jetstream"]);
    reached(&one, NodeState::Joined).await;
    reached(&two, NodeState::Joined).await;
    ask(&mut near, "register ann", "ok").await;
    eventually(|| server.subscriptions("test.topic.lobby") == 1).await;
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}
