//! Two processes that are a node of the same name: the former one is cut off, and comes back.

use std::future::ready;
use std::time::Duration;

use actix::Message;
use actix_acceptor_cluster::{NodeState, Question};
use serde::{Deserialize, Serialize};
use support::in_time;

use super::proxy::Proxy;
use super::{nats, reached};
use crate::nats_server::NatsServer;
use crate::nodes::{ask, Node};

/// Which process a node is.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "String")]
struct Which;

impl Question for Which {
    const NAME: &'static str = "which";
}

#[actix::test]
async fn a_process_that_has_lost_its_node_name_answers_no_requests() {
    let server = NatsServer::start();
    let proxy = Proxy::to(&server).await;
    let start = async |url: &str, node: &str, process: &'static str| {
        let node = Node::start(nats(url).node(node).ttl(Duration::from_secs(5))).await;
        node.cluster.node_answers(move |_: Which| ready(process.to_owned()));
        let mut member = node.member("lobby").await;
        ask(&mut member, &format!("label {process}"), "ok").await;
        (node, member)
    };
    let (asks, _) = start(&server.url, "two", "other").await;
    let (former, _former) = start(&proxy.url, "one", "former").await;
    proxy.close().await;
    reached(&former, NodeState::Alone).await;
    let (new, _new) = start(&server.url, "one", "new").await;
    proxy.open();
    // Until it has noticed, and for a while longer.
    let (mut connected, mut asked) = (0, 0);
    while connected < 200 {
        assert_eq!(in_time(asks.cluster.ask_node("one", Which)).await.unwrap(), "new", "after {asked}");
        let page = in_time(asks.cluster.topic("lobby").presence(None, 10)).await.unwrap();
        let of_one = page.members.iter().filter(|member| &*member.node == "one");
        let labels: Vec<_> = of_one.map(|member| member.label.as_deref().unwrap()).collect();
        assert_eq!(labels, ["new"], "after {asked}, {:?}", page.unreachable);
        asked += 1;
        connected += usize::from(former.cluster.is_connected());
    }
    assert_eq!(former.cluster.state(), NodeState::Connected);
    // It joins again when it can.
    in_time(new.cluster.leave()).await;
    reached(&former, NodeState::Joined).await;
    assert_eq!(in_time(asks.cluster.ask_node("one", Which)).await.unwrap(), "former");
    for node in [asks, former] {
        in_time(node.cluster.leave()).await;
    }
}
