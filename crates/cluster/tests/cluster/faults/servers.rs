//! A NATS cluster of three servers, of which one is lost.

use std::time::Duration;

use actix_acceptor_cluster::{Cluster, NodeState};
use support::{eventually, in_time, within};

use super::reached;
use crate::nats_server::NatsServer;
use crate::nodes::{ask, Node};

/// Electing a leader takes servers some seconds, several times in this test.
const LIMIT: Duration = Duration::from_secs(60);

/// The server that leads the stream of the names, by the name of the server.
fn leader(servers: &[NatsServer]) -> Option<String> {
    let page = servers.iter().map(|server| server.monitor("/jsz?streams=1"));
    page.flat_map(|page| leader_of(&page, "KV_test_names")).next()
}

fn leader_of(page: &str, stream: &str) -> Option<String> {
    let stream = page.split_once(&format!("\"name\": \"{stream}\""))?.1;
    let leader = stream.split_once("\"leader\": \"")?.1;
    Some(leader.split('"').next()?.to_owned())
}

#[actix::test]
async fn one_of_three_servers_may_be_lost() {
    let mut servers = NatsServer::cluster();
    let urls = servers.iter().map(|server| server.url.clone()).collect::<Vec<_>>().join(",");
    let up = async {
        while !servers.iter().all(|server| server.monitor("/healthz").contains("\"ok\"")) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(LIMIT, up).await;
    let settings = |name: &str| {
        let limit = Duration::from_secs(10);
        Cluster::nats(&urls).node(name).prefix("test").ttl(Duration::from_secs(5)).replicas(3).connect_timeout(limit)
    };
    let (one, two) =
        (within(LIMIT, Node::start(settings("one"))).await, within(LIMIT, Node::start(settings("two"))).await);
    let (mut near, mut far) = (one.member("lobby").await, two.member("lobby").await);
    ask(&mut near, "register ann", "ok").await;
    for round in 0..2 {
        let led_by = leader(&servers).unwrap();
        let at = ["first", "second", "third"].iter().position(|name| *name == led_by).unwrap();
        servers[at].stop();
        // Another server leads, and a node that was connected to the lost one connects to another.
        for node in [&one, &two] {
            within(LIMIT, node.cluster.reached(NodeState::Joined)).await.unwrap();
            within(LIMIT, node.cluster.topic("lobby").subscribed()).await.unwrap();
        }
        let mut bob = one.guest().await;
        let registered = async {
            loop {
                bob.send(format!("register bob{round}\n")).await;
                let mut answer = Vec::new();
                while !answer.ends_with(b"\n") {
                    answer.extend(bob.read_exact(1).await);
                }
                if answer == b"ok\n" {
                    break;
                }
            }
        };
        within(LIMIT, registered).await;
        let owner = async {
            while !matches!(two.cluster.whereis("ann").await, Ok(Some(owner)) if owner.node() == "one") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within(LIMIT, owner).await;
        in_time(two.cluster.send("ann", format!("hello {round}"))).await.unwrap();
        near.expect(format!("hello {round}\n").as_bytes()).await;
        // Routes between servers learn of subscriptions a moment later than the node's own server.
        let others = servers.iter().enumerate().filter(|(other, _)| *other != at);
        let others: Vec<_> = others.map(|(_, server)| server).collect();
        eventually(|| {
            others.iter().all(|server| {
                server.monitor("/routez?subs=1").contains("test.topic.lobby")
                    || server.subscriptions("test.topic.lobby") == 2
            })
        })
        .await;
        let dropped = one.cluster.info().dropped;
        for n in 0..100 {
            one.cluster.topic("lobby").publish(format!("line {n}")).remote.unwrap();
        }
        for n in 0..100 {
            let line = format!("line {n}\n");
            near.expect(line.as_bytes()).await;
            far.expect(line.as_bytes()).await;
        }
        assert_eq!(one.cluster.info().dropped, dropped);
        servers[at].start_again();
        let healthy = async {
            while !servers[at].monitor("/healthz").contains("\"ok\"") {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        within(LIMIT, healthy).await;
        reached(&one, NodeState::Joined).await;
    }
    for node in [one, two] {
        within(LIMIT, node.cluster.leave()).await;
    }
}
