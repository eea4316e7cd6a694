//! The log lines about the state of a node.

use actix_acceptor_cluster::NodeState;
use support::logs::{self, Line};
use support::{eventually, in_time, pass};

use super::{nats, reached};
use crate::nats_server::NatsServer;
use crate::nodes::Node;

/// The messages about this node, oldest first.
fn messages(node: &str) -> Vec<String> {
    let ours = logs::lines(|line: &Line| line.is("node", node));
    ours.iter().map(|line| line.message().to_owned()).collect()
}

#[actix::test]
async fn each_change_of_the_state_is_one_line() {
    logs::listen();
    let mut server = NatsServer::start();
    let settings = nats(&server.url.replace("nats://", "nats://user:secret@")).node("logged");
    let node = Node::start(settings).await;
    reached(&node, NodeState::Joined).await;
    assert_eq!(messages("logged"), ["connected to NATS", "the node has joined the cluster"]);
    server.stop();
    reached(&node, NodeState::Alone).await;
    // Many attempts to connect fail, and many heartbeats.
    let failed = || node.cluster.info().last_error.is_some();
    eventually(failed).await;
    pass(std::time::Duration::from_secs(2)).await;
    server.start_again();
    reached(&node, NodeState::Joined).await;
    in_time(node.cluster.leave()).await;
    let lines = messages("logged");
    let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!((count("connected to NATS"), count("is lost"), count("has joined")), (2, 1, 2), "{lines:?}");
    // One in ten seconds.
    assert!((1..=3).contains(&count("error of NATS")) && lines.len() <= 10, "{lines:?}");
    let ours = logs::lines(|line: &Line| line.is("node", "logged"));
    assert!(ours.iter().all(|line| line.fields.values().all(|value| !value.contains("secret"))));
    let with_servers = ours.iter().filter(|line| line.fields.contains_key("servers"));
    assert!(with_servers.clone().count() >= 4, "{lines:?}");
    with_servers.for_each(|line| assert!(line.fields["servers"].starts_with("nats://127.0.0.1:")));
}
