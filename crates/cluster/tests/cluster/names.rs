//! Names that are unique over all nodes, and messages to their owners.

use std::time::Duration;

use actix_acceptor::telemetry::CloseReason;
use actix_acceptor::{AcceptorPool, Framing};
use actix_acceptor_cluster::{DeliveryError, RegisterError};
use support::{connect, eventually, in_time};

use crate::faults::nats;
use crate::nats_server::NatsServer;
use crate::nodes::{ask, worlds, Guest, HowMany, Node, World, TTL};

async fn until_owner(node: &Node, name: &str, owner: Option<&str>) {
    let is_owner = async {
        while node.whereis(name).await.as_deref() != owner {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(is_owner).await;
}

#[actix::test]
async fn a_name_has_one_owner_on_all_nodes() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        assert_eq!(one.whereis("ann").await, None);
        let mut ann = one.named("ann").await;
        assert_eq!((one.whereis("ann").await, two.whereis("ann").await), (Some("one".into()), Some("one".into())));
        ask(&mut ann, "register ann", "ok").await;
        let taken = "the name belongs to a connection of node \"one\"";
        let (mut near, mut far) = (one.guest().await, two.guest().await);
        ask(&mut near, "register ann", taken).await;
        ask(&mut far, "register ann", taken).await;
        ask(&mut near, "unregister ann", "false").await;
        ask(&mut ann, "unregister ann", "true").await;
        assert_eq!(two.whereis("ann").await, None);
        ask(&mut far, "register ann", "ok").await;
        assert_eq!(one.whereis("ann").await.as_deref(), Some("two"));
        // The end of a connection releases its names.
        drop(far);
        until_owner(&one, "ann", None).await;
        ask(&mut near, "register ann", "ok").await;
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_name_is_taken_over_across_nodes() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let mut former = one.named("ann").await;
        let mut new = two.guest().await;
        ask(&mut new, "replace ann", "ok").await;
        assert_eq!(one.whereis("ann").await.as_deref(), Some("two"));
        assert_eq!(former.until_gone().await, b"");
        eventually(|| one.pool.info().closed.get(CloseReason::Replaced) == 1).await;
        // It had it already.
        ask(&mut new, "register ann", "ok").await;
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_name_reaches_its_owner_from_every_node() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let mut ann = one.named("ann").await;
        for node in [&one, &two] {
            in_time(node.cluster.send("ann", "a reply")).await.unwrap();
            ann.expect(b"a reply\n").await;
            in_time(node.cluster.notify("ann", "hello".to_owned())).await.unwrap();
            ann.expect(b"message hello\n").await;
            let id = one.pool.list()[0].id.get();
            assert_eq!(in_time(node.cluster.ask("ann", HowMany("four".to_owned()))).await.unwrap(), (4, id));
            let missing = in_time(node.cluster.send("bob", "a reply")).await;
            assert!(matches!(missing, Err(DeliveryError::NoOwner)), "{missing:?}");
        }
        // A connection that has ended.
        let owner = in_time(two.cluster.whereis("ann")).await.unwrap().unwrap();
        drop(ann);
        let gone = async {
            while !matches!(owner.send("late").await, Err(DeliveryError::NoOwner)) {
                tokio::task::yield_now().await;
            }
        };
        in_time(gone).await;
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_node_knows_which_names_its_connections_have() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let mut ann = one.named("ann").await;
        let id = one.pool.list()[0].id;
        ask(&mut ann, "register anna", "ok").await;
        let names = || {
            let mut names = one.cluster.names_of(id);
            names.sort();
            names
        };
        assert_eq!(names(), ["ann".into(), "anna".into()]);
        assert!(one.cluster.owns(id, "ann") && one.cluster.owns(id, "anna") && !one.cluster.owns(id, "bob"));
        // The other node has a connection with the same id.
        let mut other = two.guest().await;
        assert!(!two.cluster.owns(id, "ann") && two.cluster.names_of(id).is_empty());
        ask(&mut ann, "unregister anna", "true").await;
        assert_eq!(names(), ["ann".into()]);
        ask(&mut other, "replace ann", "ok").await;
        assert!(two.cluster.owns(two.pool.list()[0].id, "ann"));
        eventually(|| !one.cluster.owns(id, "ann")).await;
        one.cluster.leave().await;
        two.cluster.leave().await;
    }
}

#[actix::test]
async fn a_node_without_lease_owns_nothing() {
    let mut world = World::Nats(NatsServer::start());
    let one = world.node("one").await;
    let _ann = one.named("ann").await;
    let id = one.pool.list()[0].id;
    assert!(one.cluster.owns(id, "ann"));
    let World::Nats(server) = &mut world else { unreachable!() };
    server.stop();
    eventually(|| !one.cluster.owns(id, "ann") && one.cluster.names_of(id).is_empty()).await;
    assert_eq!(one.pool.connections(), 1);
    server.start_again();
    eventually(|| one.cluster.owns(id, "ann")).await;
}

/// Two users, and what the first one may not publish.
fn users(denied: &str) -> String {
    let one = format!("{{user: one, password: secret, permissions: {{publish: {{deny: [\"{denied}\"]}}}}}}");
    format!("authorization {{ users = [{one}, {{user: two, password: secret}}] }}")
}

#[actix::test]
async fn a_node_that_cannot_renew_its_lease_is_no_owner() {
    let mut server = NatsServer::with_config(&users("nothing"));
    let url = |user: &str| format!("nats://{user}:secret@127.0.0.1:{}", server.port());
    let one = Node::start(nats(&url("one")).node("one").ttl(TTL)).await;
    let two = Node::start(nats(&url("two")).node("two").ttl(TTL)).await;
    let mut ann = one.member("lobby").await;
    ask(&mut ann, "register ann", "ok").await;
    let id = one.pool.list()[0].id;
    let owner = in_time(two.cluster.whereis("ann")).await.unwrap().unwrap();
    let page = in_time(two.cluster.topic("lobby").presence(None, 10)).await.unwrap();
    let member = two.cluster.member(&page.members[0]);
    in_time(owner.send("to the owner")).await.unwrap();
    ann.expect(b"to the owner\n").await;
    server.configure(&users("$KV.test_leases.>"));
    server.stop();
    server.start_again();
    eventually(|| !one.cluster.owns(id, "ann")).await;
    // The process answers, but it does not know whether the name has another owner by now.
    let answers = async {
        while member.send("to the member").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(answers).await;
    ann.expect(b"to the member\n").await;
    let refused = in_time(owner.send("to the owner")).await;
    assert!(matches!(refused, Err(DeliveryError::NoOwner)), "{refused:?}");
    in_time(member.send("end")).await.unwrap();
    ann.expect(b"end\n").await;
}

#[actix::test]
async fn a_name_that_an_operator_deletes_can_be_registered() {
    let world = World::Nats(NatsServer::start());
    let World::Nats(server) = &world else { unreachable!() };
    let (one, two) = (world.node("one").await, world.node("two").await);
    let mut ann = one.named("ann").await;
    ask(&mut ann, "unregister ann", "true").await;
    // As `nats kv del test_names ann` does.
    let client = in_time(async_nats::connect(&server.url)).await.unwrap();
    let names = in_time(async_nats::jetstream::new(client).get_key_value("test_names")).await.unwrap();
    in_time(names.delete("ann")).await.unwrap();
    assert_eq!(two.whereis("ann").await, None);
    let mut far = two.guest().await;
    ask(&mut far, "register ann", "ok").await;
    assert_eq!(one.whereis("ann").await.as_deref(), Some("two"));
}

#[actix::test]
async fn a_connection_of_another_pool_cannot_register() {
    for world in worlds() {
        let one = world.node("one").await;
        let mut ann = one.named("ann").await;
        let cluster = one.cluster.clone();
        let builder = AcceptorPool::with_protocol(move |_| Guest::of(&cluster)).framing(Framing::lines());
        let other = in_time(builder.acceptors(1).bind("127.0.0.1:0")).await.unwrap();
        let mut stranger = connect(&other).await;
        // With the id of another connection in the pool of the node.
        for line in ["register bob", "replace ann"] {
            ask(&mut stranger, line, &RegisterError::OtherPool.to_string()).await;
        }
        ask(&mut stranger, "unregister ann", "false").await;
        assert_eq!(other.list()[0].id, one.pool.list()[0].id);
        assert_eq!((one.whereis("ann").await.as_deref(), one.whereis("bob").await), (Some("one"), None));
        in_time(one.cluster.send("ann", "hello")).await.unwrap();
        ann.expect(b"hello\n").await;
        one.cluster.leave().await;
    }
}
