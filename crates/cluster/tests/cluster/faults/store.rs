//! Servers that lose what they have stored.

use std::time::Duration;

use async_nats::jetstream;
use support::{eventually, in_time, within};

use super::nats;
use crate::nats_server::NatsServer;
use crate::nodes::{Node, World};

/// The buckets are made again, leases are taken, and records are stored, at intervals.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits until a node sees this owner. Until the buckets are there again, the answer may be an error.
async fn until_owner(node: &Node, name: &str, owner: &str) {
    let is_owner = async {
        loop {
            let found = node.cluster.whereis(name).await;
            if found.is_ok_and(|found| found.is_some_and(|found| found.node() == owner)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(LIMIT, is_owner).await;
}

/// Registers a name, as soon as that is possible.
async fn until_registered(node: &Node, name: &str) {
    let mut guest = node.guest().await;
    let is_registered = async {
        loop {
            guest.send(format!("register {name}\n")).await;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\n") {
                answer.extend(guest.read_exact(1).await);
            }
            if answer == b"ok\n" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(LIMIT, is_registered).await;
    until_owner(node, name, node.cluster.node()).await;
}

#[actix::test]
async fn names_are_there_again_after_a_server_has_lost_its_store() {
    let mut world = World::Nats(NatsServer::start());
    let (one, two) = (world.node("one").await, world.node("two").await);
    let ann = one.named("ann").await;
    let World::Nats(server) = &mut world else { unreachable!() };
    server.end();
    server.wipe();
    server.start_again();
    until_owner(&two, "ann", "one").await;
    until_registered(&two, "bob").await;
    drop(ann);
}

#[actix::test]
async fn a_bucket_that_an_operator_has_removed_is_made_again() {
    let mut world = World::Nats(NatsServer::start());
    let (one, two) = (world.node("one").await, world.node("two").await);
    let ann = one.named("ann").await;
    let World::Nats(server) = &mut world else { unreachable!() };
    let client = in_time(async_nats::connect(&server.url)).await.unwrap();
    for bucket in ["KV_test_names", "KV_test_leases"] {
        in_time(jetstream::new(client.clone()).delete_stream(bucket)).await.unwrap();
        let is_back = async {
            // nats-server 2.9.10 sometimes ends when it is asked for a stream that was removed.
            while !two.cluster.whereis("ann").await.is_ok_and(|found| found.is_some_and(|found| found.node() == "one"))
            {
                server.start_if_ended();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(LIMIT, is_back).await;
    }
    until_registered(&two, "bob").await;
    drop(ann);
}

#[actix::test]
async fn a_released_lease_stays_released_if_the_server_is_killed() {
    let mut server = NatsServer::start();
    let node = |name: &str| nats(&server.url).node(name).ttl(Duration::from_secs(6));
    let (one, two) = (Node::start(node("one")).await, Node::start(node("two")).await);
    let _ann = one.named("ann").await;
    let lease = || one.cluster.info().lease.expect("it has one");
    // Its lease is renewed.
    let mut before = lease();
    eventually(|| lease() > std::mem::replace(&mut before, lease())).await;
    in_time(one.cluster.leave()).await;
    server.stop();
    server.start_again();
    let nodes = async {
        loop {
            if let Ok(nodes) = two.cluster.nodes().await {
                return nodes;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!(in_time(nodes).await, ["two".into()]);
    until_registered(&two, "ann").await;
}
