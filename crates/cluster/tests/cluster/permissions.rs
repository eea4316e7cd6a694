//! A user of NATS with the permissions that the documentation of the crate lists, and no others.

use std::time::Duration;

use futures::future::join_all;
use support::in_time;

use crate::faults::nats;
use crate::nats_server::NatsServer;
use crate::nodes::{ask, line, HowMany, Node, World};

/// The configuration of `nats-server` in the documentation, for the prefix of the tests.
fn documented() -> String {
    let page = include_str!("../../src/guide/operating.md");
    let (_, rest) = page.split_once("```text\nauthorization {").expect("the page has an example");
    let (section, _) = rest.split_once("```").expect("the example has an end");
    format!("authorization {{{section}").replace("acceptor", "test")
}

fn start(config: &str) -> NatsServer {
    let mut server = NatsServer::with_config(config);
    server.url = format!("nats://node:secret@127.0.0.1:{}", server.port());
    server
}

#[actix::test]
async fn the_documented_permissions_are_enough() {
    let world = World::Nats(start(&documented()));
    let (one, two) = (world.node("one").await, world.node("two").await);
    // Topics and presence.
    let mut far = two.member("lobby").await;
    one.cluster.topic("lobby").publish("hello");
    far.expect(b"hello\n").await;
    let page = in_time(one.cluster.topic("lobby").presence(None, 10)).await.unwrap();
    assert_eq!((page.members.len(), page.unreachable.len()), (1, 0));
    in_time(one.cluster.flush()).await.unwrap();
    // Names, and messages to their owners.
    let mut ann = one.named("ann").await;
    assert_eq!(two.whereis("ann").await.as_deref(), Some("one"));
    in_time(two.cluster.send("ann", "a reply")).await.unwrap();
    ann.expect(b"a reply\n").await;
    assert_eq!(in_time(two.cluster.ask("ann", HowMany("four".to_owned()))).await.unwrap().0, 4);
    // Taking over, releasing, leaving.
    ask(&mut far, "replace ann", "ok").await;
    assert_eq!(ann.until_gone().await, b"");
    ask(&mut far, "unregister ann", "true").await;
    assert_eq!(one.whereis("ann").await, None);
    ask(&mut far, "register bob", "ok").await;
    two.cluster.leave().await;
    assert_eq!(one.whereis("bob").await, None);
    assert_eq!(in_time(one.cluster.nodes()).await.unwrap(), ["one".into()]);
    one.cluster.leave().await;
}

/// What does not work with these permissions.
async fn missing(config: &str) -> Option<&'static str> {
    let server = start(config);
    let limit = Duration::from_secs(2);
    let node = |name: &str| Node::try_start(nats(&server.url).node(name).connect_timeout(limit).request_timeout(limit));
    let (Ok(one), Ok(two)) = (node("one").await, node("two").await) else { return Some("connecting") };
    let mut ann = one.guest().await;
    ann.send("register ann\n").await;
    if line(&mut ann).await != "ok" {
        return Some("registering");
    }
    let mut far = two.guest().await;
    ask(&mut far, "join lobby", "true").await;
    let topic = two.cluster.topic("lobby");
    if !matches!(tokio::time::timeout(limit, topic.subscribed()).await, Ok(Ok(()))) {
        return Some("subscribing");
    }
    one.cluster.topic("lobby").publish("hello").remote.unwrap();
    if one.cluster.flush().await.is_err() {
        return Some("publishing");
    }
    let page = one.cluster.topic("lobby").presence(None, 10).await.unwrap();
    if !page.unreachable.is_empty() {
        return Some("presence");
    }
    if two.cluster.send("ann", "hello").await.is_err() {
        return Some("sending");
    }
    ann.send("unregister ann\n").await;
    drop(ann);
    let released = async {
        while two.whereis("ann").await.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(limit, released).await.err().map(|_| "releasing")
}

#[actix::test]
async fn each_documented_permission_is_needed() {
    let documented = documented();
    // The subjects, in quotes.
    let subjects: Vec<_> = documented.split('"').skip(1).step_by(2).enumerate().collect();
    assert!(subjects.len() > 10, "{subjects:?}");
    let without = subjects.iter().map(|(at, subject)| {
        let others = |(n, part): (usize, &str)| if n == 2 * at + 1 { "unused".to_owned() } else { part.to_owned() };
        let config = documented.split('"').enumerate().map(others).collect::<Vec<_>>().join("\"");
        async move { (*subject, missing(&config).await) }
    });
    for (subject, missing) in join_all(without).await {
        assert!(missing.is_some(), "nothing needs {subject}");
    }
}
