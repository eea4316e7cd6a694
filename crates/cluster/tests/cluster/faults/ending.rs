//! Nodes that leave, and nodes whose handles are dropped.

use std::future::pending;
use std::time::Duration;

use actix::Message;
use actix_acceptor_cluster::Question;
use serde::{Deserialize, Serialize};
use support::{eventually, in_time};

use super::nats;
use crate::nats_server::NatsServer;
use crate::nodes::Node;
use crate::settings::pool;

/// What is not answered.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "()")]
struct Pending;

impl Question for Pending {
    const NAME: &'static str = "pending";
}

#[actix::test]
async fn the_last_handle_closes_the_connection() {
    let server = NatsServer::start();
    let ttl = Duration::from_secs(2);
    let two = Node::start(nats(&server.url).node("two").ttl(ttl)).await;
    let connections = || server.monitor("/connz").matches("\"cid\":").count();
    let pool = pool().await;
    let one = in_time(nats(&server.url).node("one").ttl(ttl).connect(&pool)).await.unwrap();
    let (another, topic) = (one.clone(), one.topic("lobby"));
    assert_eq!((connections(), in_time(two.cluster.nodes()).await.unwrap().len()), (2, 2));
    drop((one, another));
    // A topic is a handle as well.
    assert_eq!(connections(), 2);
    drop(topic);
    eventually(|| connections() == 1).await;
    // Its lease runs out.
    let alone = async {
        while in_time(two.cluster.nodes()).await.unwrap() != ["two".into()] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time(alone).await;
    in_time(two.cluster.leave()).await;
}

#[actix::test]
async fn a_pending_question_does_not_keep_a_node() {
    let server = NatsServer::start();
    let two = Node::start(nats(&server.url).node("two")).await;
    let connections = || server.monitor("/connz").matches("\"cid\":").count();
    let pool = pool().await;
    let one = in_time(nats(&server.url).node("one").connect(&pool)).await.unwrap();
    one.node_answers(|_: Pending| pending());
    let patient = two.cluster.within(Duration::MAX);
    let asked = actix::spawn(async move { patient.ask_node("one", Pending).await });
    eventually(|| one.info().pending_requests == 1).await;
    drop(one);
    eventually(|| connections() == 1).await;
    asked.abort();
    in_time(two.cluster.leave()).await;
}

#[actix::test]
async fn without_a_server_leaving_does_not_wait() {
    let mut server = NatsServer::start();
    let one = Node::start(nats(&server.url).node("one").request_timeout(Duration::from_secs(600))).await;
    one.cluster.topic("lobby").publish("hello").remote.unwrap();
    server.stop();
    in_time(one.cluster.leave()).await;
}
