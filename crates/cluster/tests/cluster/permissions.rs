//! A user of NATS with the permissions that the documentation of the crate lists, and no others.

use support::in_time;

use crate::nats_server::NatsServer;
use crate::nodes::{ask, HowMany, World};

/// The configuration of `nats-server` in the documentation, for the prefix of the tests.
fn documented() -> String {
    let page = include_str!("../../src/guide/operating.md");
    let (_, rest) = page.split_once("```text\nauthorization {").expect("the page has an example");
    let (section, _) = rest.split_once("```").expect("the example has an end");
    format!("authorization {{{section}").replace("acceptor", "test")
}

#[actix::test]
async fn the_documented_permissions_are_enough() {
    let mut server = NatsServer::with_config(&documented());
    server.url = format!("nats://node:secret@127.0.0.1:{}", server.port());
    let world = World::Nats(server);
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
