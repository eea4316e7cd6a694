//! A server that refuses some of what a node sends: its permissions or its limits are too narrow.

use std::time::Duration;

use actix_acceptor_cluster::{ConnectError, NodeState, RemoteError};
use futures::FutureExt;
use support::{eventually, in_time, within, Peer};

use crate::faults::{nats, reached};
use crate::nats_server::NatsServer;
use crate::nodes::{ask, Node};
use crate::settings::error_of;

/// A server for one user, who may not subscribe and publish to these subjects.
fn without(subscribe: &str, publish: &str) -> String {
    let denied = format!("subscribe: {{deny: {subscribe:?}}}, publish: {{deny: {publish:?}}}");
    format!("authorization {{ users = [{{user: node, password: secret, permissions: {{{denied}}}}}] }}")
}

fn start(config: &str) -> NatsServer {
    let mut server = NatsServer::with_config(config);
    server.url = format!("nats://node:secret@127.0.0.1:{}", server.port());
    server
}

async fn join(peer: &mut Peer, topics: &[&str]) {
    for topic in topics {
        ask(peer, &format!("join {topic}"), "true").await;
    }
}

#[actix::test]
async fn a_subscription_that_is_refused_does_not_count() {
    let mut server = start(&without("test.topic.hidden", "unused"));
    let (one, two) =
        (Node::start(nats(&server.url).node("one")).await, Node::start(nats(&server.url).node("two")).await);
    let mut far = two.guest().await;
    join(&mut far, &["hidden", "lobby"]).await;
    in_time(two.cluster.topic("lobby").subscribed()).await.unwrap();
    assert!(two.cluster.topic("hidden").subscribed().now_or_never().is_none());
    assert_eq!(two.cluster.info().topics, 1);
    assert!(two.cluster.info().last_error.is_some_and(|error| error.contains("test.topic.hidden")));
    // With other permissions, after a restart.
    server.end();
    server.configure(&without("unused", "unused"));
    server.start_again();
    in_time(two.cluster.topic("hidden").subscribed()).await.unwrap();
    reached(&one, NodeState::Joined).await;
    one.cluster.topic("hidden").publish("hello").remote.unwrap();
    far.expect(b"hello\n").await;
    for node in [one, two] {
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn a_message_that_is_refused_is_counted_as_lost() {
    let server = start(&without("unused", "test.topic.hidden"));
    let one = Node::start(nats(&server.url).node("one")).await;
    one.cluster.topic("lobby").publish("hello").remote.unwrap();
    in_time(one.cluster.flush()).await.unwrap();
    for _ in 0..3 {
        one.cluster.topic("hidden").publish("hello").remote.unwrap();
    }
    let flushed = in_time(one.cluster.flush()).await;
    assert!(matches!(flushed, Err(RemoteError::Lost { messages: 3 })), "{flushed:?}");
    assert_eq!(one.cluster.info().dropped.failed, 3);
    in_time(one.cluster.flush()).await.unwrap();
    in_time(one.cluster.leave()).await;
}

#[actix::test]
async fn a_node_that_may_not_subscribe_to_requests_does_not_join() {
    for subject in ["test.node.>", "test.presence.>"] {
        let mut server = start(&without(subject, "unused"));
        // Longer than this test may take: nothing waits until the lease expires.
        let url = server.url.clone();
        let settings = || nats(&url).node("one").ttl(Duration::from_secs(600));
        let error = error_of(settings()).await;
        assert!(matches!(&error, ConnectError::Unusable { source, .. } if source.to_string().contains("permissions")));
        server.end();
        server.configure(&without("unused", "unused"));
        server.start_again();
        in_time(Node::start(settings()).await.cluster.leave()).await;
    }
}

#[actix::test]
async fn topics_above_the_limit_of_the_server_do_not_count() {
    // Requests, presence, messages to all connections, answers, and two topics.
    let server = NatsServer::with_config("max_subscriptions: 6");
    let one = Node::start(nats(&server.url).node("one")).await;
    let (mut first, mut second) = (one.guest().await, one.guest().await);
    join(&mut first, &["a", "b"]).await;
    eventually(|| one.cluster.info().topics == 2).await;
    join(&mut second, &["c", "d", "e"]).await;
    eventually(|| one.cluster.info().last_error.is_some()).await;
    for topic in ["a", "b"] {
        in_time(one.cluster.topic(topic).subscribed()).await.unwrap();
    }
    for topic in ["c", "d", "e"] {
        assert!(one.cluster.topic(topic).subscribed().now_or_never().is_none());
    }
    // Others are tried again when there is room.
    drop(first);
    let subscribed = |topic: &&str| server.subscriptions(&format!("test.topic.{topic}")) == 1;
    eventually(|| ["c", "d", "e"].iter().filter(|topic| subscribed(topic)).count() == 2).await;
    eventually(|| one.cluster.info().topics == 2).await;
    in_time(one.cluster.leave()).await;
}

#[actix::test]
async fn after_a_reconnect_the_limit_of_the_server_is_found_again() {
    let mut server = NatsServer::with_config("max_subscriptions: 100");
    let ttl = Duration::from_secs(5);
    let one = Node::start(nats(&server.url).node("one").ttl(ttl)).await;
    let mut guest = one.guest().await;
    join(&mut guest, &["a", "b", "c", "d", "e", "f"]).await;
    eventually(|| one.cluster.info().topics == 6).await;
    server.end();
    server.configure("max_subscriptions: 7");
    server.start_again();
    let limit = Duration::from_secs(60);
    within(limit, one.cluster.reached(NodeState::Joined)).await.unwrap();
    eventually(|| one.cluster.info().topics == 3).await;
    in_time(one.cluster.leave()).await;
}
