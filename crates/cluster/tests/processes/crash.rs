//! Nodes that end: at once, or in order.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::nats_server::NatsServer;
use crate::process::{Process, SLACK, TTL};

#[actix::test]
async fn the_names_of_a_killed_node_are_free_after_the_ttl() {
    let server = NatsServer::start();
    let (one, two) = (Process::start("one", &server.url).await, Process::start("two", &server.url).await);
    let mut ann = one.named("ann").await;
    let (mut at_one, mut at_two) = (one.client().await, two.client().await);
    for (client, label) in [(&mut at_one, "near"), (&mut at_two, "far")] {
        assert_eq!(client.ask(&format!("label {label}")).await.unwrap(), "ok");
        assert_eq!(client.ask("join lobby").await.unwrap(), "joined");
    }
    let mut asks = two.client().await;
    asks.until("who lobby", "far,near").await;
    let owner = asks.ask("whereis ann").await.unwrap();
    assert!(owner.starts_with("one "), "{owner}");
    one.signal(Signal::SIGKILL);
    let killed = Instant::now();
    ann.until_closed().await;
    let mut other = two.client().await;
    // The lease was renewed at most a third of the TTL before.
    while killed.elapsed() < TTL / 2 {
        assert_eq!(asks.ask("whereis ann").await.unwrap(), owner);
        assert_ne!(other.ask("register ann").await.unwrap(), "ok");
    }
    asks.until("whereis ann", "none").await;
    asks.until("who lobby", "far").await;
    let free = killed.elapsed();
    assert!(free < TTL + SLACK, "{free:?}");
    assert_eq!(other.ask("register ann").await.unwrap(), "ok");
    // Members of other nodes have noticed nothing.
    assert_eq!(asks.ask("publish lobby hello").await.unwrap(), "published");
    assert_eq!(at_two.next().await.unwrap(), "hello");
    println!("free after {free:?}");
}

#[actix::test]
async fn the_names_of_a_node_that_leaves_are_free_at_once() {
    let server = NatsServer::start();
    let (mut one, two) = (Process::start("one", &server.url).await, Process::start("two", &server.url).await);
    let mut clients = Vec::new();
    for n in 0..20 {
        clients.push(one.named(&format!("guest{n}")).await);
    }
    one.signal(Signal::SIGTERM);
    one.until_ended().await;
    let mut asks = two.client().await;
    for n in 0..20 {
        assert_eq!(asks.ask(&format!("whereis guest{n}")).await.unwrap(), "none");
        assert_eq!(asks.ask(&format!("register guest{n}")).await.unwrap(), "ok");
    }
    // And so is the name of the node.
    let again = Process::start("one", &server.url).await;
    assert_eq!(again.client().await.ask("register ann").await.unwrap(), "ok");
}

#[actix::test]
async fn a_node_that_is_started_again_gets_its_name_after_the_ttl() {
    let server = NatsServer::start();
    let one = Process::start("one", &server.url).await;
    let refused = Process::try_start("one", &server.url, 1, &Default::default()).await;
    let error = refused.err().expect("there is one");
    assert!(error.contains("NodeNameTaken"), "{error}");
    let _ann = one.named("ann").await;
    drop(one);
    let (began, again) = (Instant::now(), Process::start("one", &server.url).await);
    println!("started after {:?}", began.elapsed());
    let mut client = again.client().await;
    assert_eq!(client.ask("whereis ann").await.unwrap(), "none");
    assert_eq!(client.ask("register ann").await.unwrap(), "ok");
}
