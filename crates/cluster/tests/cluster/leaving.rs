//! Handles of a node that has left the cluster.

use std::sync::Arc;

use actix_acceptor_cluster::{DeliveryError, NodeState, RegisterError, RemoteError};
use futures::future::{FutureExt, LocalBoxFuture};
use support::{eventually, in_time};

use crate::faults::nats;
use crate::faults::proxy::Proxy;
use crate::nats_server::NatsServer;
use crate::nodes::{ask, worlds, HowMany, Node};

/// Whether the node of this name has a thread in this process.
fn has_thread(node: &str) -> bool {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let name =
        |thread: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok();
    threads.filter_map(name).any(|name| name.trim() == format!("cluster-{node}"))
}

#[actix::test]
async fn what_handles_publish_after_their_node_has_left_is_an_error() {
    for world in worlds() {
        // The pool of the node has a handle, too.
        let one = world.node("one").await;
        let mut near = one.member("lobby").await;
        let (handle, topic) = (one.cluster.clone(), one.cluster.topic("lobby"));
        in_time(one.cluster.leave()).await;
        assert_eq!((handle.state(), handle.is_connected(), handle.info().topics), (NodeState::Alone, false, 0));
        for remote in [
            topic.publish("to the lobby").remote,
            topic.notify("to the lobby".to_owned()).remote,
            handle.broadcast("to all").remote,
            handle.notify_all("to all".to_owned()).remote,
            in_time(handle.flush()).await,
            in_time(topic.subscribed()).await,
            in_time(handle.reached(NodeState::Joined)).await,
        ] {
            assert!(matches!(remote, Err(RemoteError::Disconnected)), "{remote:?}");
        }
        in_time(handle.reached(NodeState::Alone)).await.unwrap();
        // Members on this node are reached: replies are in the outbox at once, messages in the mailbox.
        near.expect(b"to the lobby\nto all\nmessage to the lobby\nmessage to all\n").await;
        assert!(in_time(topic.watch(10).next()).await.is_none());
        ask(&mut near, "register bob", &RegisterError::Disconnected.to_string()).await;
    }
}

#[actix::test]
async fn what_handles_ask_after_their_node_has_left_is_an_error() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let mut ann = two.named("ann").await;
        let (handle, topic) = (one.cluster.clone(), one.cluster.topic("lobby"));
        let owner = in_time(handle.whereis("ann")).await.unwrap().unwrap();
        in_time(one.cluster.leave()).await;
        let question = || HowMany("four".to_owned());
        // Boxed, since a test has a small stack.
        let answers: Vec<LocalBoxFuture<Result<(), DeliveryError>>> = vec![
            owner.send("hello").boxed_local(),
            handle.send("ann", "hello").boxed_local(),
            handle.ask("ann", question()).map(|answer| answer.map(drop)).boxed_local(),
            handle.ask_node("one", question()).map(|answer| answer.map(drop)).boxed_local(),
            handle.ask_node("two", question()).map(|answer| answer.map(drop)).boxed_local(),
            handle.ask_nodes(question()).map(|answer| answer.map(drop)).boxed_local(),
            handle.nodes().map(|answer| answer.map(drop)).boxed_local(),
            topic.presence(None, 10).map(|answer| answer.map(drop)).boxed_local(),
        ];
        for answer in answers {
            let answer = in_time(answer).await;
            assert!(matches!(answer, Err(DeliveryError::Disconnected)), "{answer:?}");
        }
        // Again, it has no effect.
        in_time(handle.leave()).await;
        in_time(two.cluster.send("ann", "still here")).await.unwrap();
        ann.expect(b"still here\n").await;
        in_time(two.cluster.leave()).await;
    }
}

#[actix::test]
async fn what_waits_for_a_node_ends_when_it_leaves() {
    for world in worlds() {
        let one = world.node("one").await;
        let (empty, handle) = (one.cluster.topic("no member"), one.cluster.clone());
        let subscribed = actix::spawn(async move { empty.subscribed().await });
        let reached = actix::spawn(async move { handle.reached(NodeState::Alone).await });
        let mut watch = one.cluster.topic("lobby").watch(10);
        assert!(watch.next().now_or_never().is_none());
        in_time(one.cluster.leave()).await;
        let subscribed = in_time(subscribed).await.unwrap();
        assert!(matches!(subscribed, Err(RemoteError::Disconnected)), "{subscribed:?}");
        // This is its state now.
        in_time(reached).await.unwrap().unwrap();
        assert!(in_time(watch.next()).await.is_none());
    }
}

#[actix::test]
async fn a_node_that_leaves_closes_its_connection_and_ends_its_thread() {
    let server = NatsServer::start();
    let connections = || server.monitor("/connz").matches("\"cid\":").count();
    let one = Node::start(nats(&server.url).node("leaves")).await;
    assert!(connections() == 1 && has_thread("leaves"));
    // A handle that is dropped with the answer only.
    let (owned, handle) = (Arc::new(()), one.cluster.clone());
    let (first, second) = (owned.clone(), owned.clone());
    let answer = |owned: Arc<()>, handle| {
        move |question: HowMany| {
            let _keeps = (&owned, &handle);
            std::future::ready((question.0.len(), 0))
        }
    };
    one.cluster.node_answers(answer(first, handle.clone()));
    in_time(one.cluster.leave()).await;
    assert_eq!(Arc::strong_count(&owned), 2);
    // One that comes too late.
    handle.node_answers(answer(second, handle.clone()));
    assert_eq!(Arc::strong_count(&owned), 1);
    eventually(|| connections() == 0 && !has_thread("leaves")).await;
}

#[actix::test]
async fn a_node_ends_even_if_leaving_is_given_up() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let long = std::time::Duration::from_secs(60);
    let one = Node::start(nats(&proxy.url).node("gives-up").server_timeout(long).request_timeout(long)).await;
    proxy.silence();
    assert!(one.cluster.clone().leave().now_or_never().is_none());
    assert_eq!(one.cluster.state(), NodeState::Alone);
    eventually(|| !has_thread("gives-up")).await;
}
