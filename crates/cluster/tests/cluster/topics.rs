//! Topics with members on several nodes.

use actix_acceptor_cluster::RemoteError;
use bytes::Bytes;
use support::{eventually, in_time};

use crate::nats_server::NatsServer;
use crate::nodes::{worlds, World};

#[actix::test]
async fn a_reply_reaches_the_members_on_all_nodes_once() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let (mut near, mut far, mut other) =
            (one.member("lobby").await, two.member("lobby").await, two.member("garden").await);
        for n in 0..100 {
            let published = one.cluster.topic("lobby").publish(format!("line {n}"));
            assert_eq!((published.members, published.remote.is_ok()), (1, true));
        }
        let published = one.cluster.topic("garden").publish("garden");
        assert_eq!((published.members, published.remote.is_ok()), (0, true));
        for n in 0..100 {
            near.expect(format!("line {n}\n").as_bytes()).await;
            far.expect(format!("line {n}\n").as_bytes()).await;
        }
        other.expect(b"garden\n").await;
        // Nothing came twice.
        two.cluster.topic("lobby").publish("end");
        near.expect(b"end\n").await;
        far.expect(b"end\n").await;
        in_time(one.pool.stop(None)).await;
        in_time(two.pool.stop(None)).await;
    }
}

#[actix::test]
async fn a_message_is_handled_by_the_members_on_all_nodes() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let (mut near, mut far) = (one.member("lobby").await, two.member("lobby").await);
        let notified = two.cluster.topic("lobby").notify("hello".to_owned());
        assert_eq!((notified.local.delivered, notified.remote.is_ok()), (1, true));
        near.expect(b"message hello\n").await;
        far.expect(b"message hello\n").await;
    }
}

#[actix::test]
async fn except_is_for_one_connection_of_the_publishing_node() {
    for world in worlds() {
        let (one, two) = (world.node("one").await, world.node("two").await);
        let (mut near, mut far) = (one.member("lobby").await, two.member("lobby").await);
        let mut other = one.member("lobby").await;
        let id = one.pool.list().iter().map(|connection| connection.id).min().unwrap();
        // The connection of the other node has the same id.
        assert_eq!(two.pool.list()[0].id, id);
        assert_eq!(one.cluster.topic("lobby").publish_except(id, "hello").members, 1);
        far.expect(b"hello\n").await;
        other.expect(b"hello\n").await;
        one.cluster.topic("lobby").publish("end");
        near.expect(b"end\n").await;
    }
}

#[actix::test]
async fn a_node_is_subscribed_while_it_has_members() {
    let world = World::Nats(NatsServer::start());
    let World::Nats(server) = &world else { unreachable!() };
    let (one, two) = (world.node("one").await, world.node("two").await);
    let subject = "test.topic.a=2eb";
    assert_eq!(server.subscriptions(subject), 0);
    let (mut first, second) = (two.member("a.b").await, two.member("a.b").await);
    assert_eq!(server.subscriptions(subject), 1);
    drop(second);
    first.send("leave a.b\n").await;
    first.expect(b"true\n").await;
    eventually(|| server.subscriptions(subject) == 0).await;
    one.cluster.topic("a.b").publish("to no member");
    in_time(one.cluster.flush()).await.unwrap();
    first.send("join a.b\n").await;
    first.expect(b"true\n").await;
    in_time(two.cluster.topic("a.b").subscribed()).await.unwrap();
    one.cluster.topic("a.b").publish("again");
    first.expect(b"again\n").await;
    // A member that disconnects has left as well.
    drop(first);
    eventually(|| server.subscriptions(subject) == 0).await;
}

#[actix::test]
async fn a_topic_with_too_long_a_name_is_never_subscribed() {
    for world in worlds() {
        let node = world.node("one").await;
        let mut guest = node.member("lobby").await;
        let long = "a".repeat(1_025);
        guest.send(format!("join {long}\n")).await;
        guest.expect(b"true\n").await;
        let subscribed = in_time(node.cluster.topic(&long).subscribed()).await;
        assert!(matches!(subscribed, Err(RemoteError::NameTooLong { length: 1_025, limit: 1_024 })), "{subscribed:?}");
        // A later topic is subscribed when the node has looked at this one.
        let _member = node.member("garden").await;
        assert_eq!(node.cluster.info().topics, 2);
        // Members on this node are reached.
        let published = node.cluster.topic(&long).publish("hello");
        assert!(published.members == 1 && published.remote.is_err(), "{published:?}");
        guest.expect(b"hello\n").await;
        in_time(node.cluster.leave()).await;
    }
}

#[actix::test]
async fn what_the_server_does_not_take_is_an_error_with_both_numbers() {
    let world = World::Nats(NatsServer::start());
    let node = world.node("one").await;
    let mut member = node.member("lobby").await;
    let limit = 1 << 20;
    let published = node.cluster.topic("lobby").publish(Bytes::from(vec![b'a'; limit]));
    match published.remote {
        Err(RemoteError::TooLarge { size, limit: allowed }) => {
            assert!(size > limit && allowed == limit, "{size} {allowed}")
        }
        other => panic!("{other:?}"),
    }
    // A character that is not plain takes up three bytes.
    for (long, taken) in [("a".repeat(2_000), 2_000), (".".repeat(400), 1_200)] {
        match node.cluster.topic(&long).publish("hello").remote {
            Err(RemoteError::NameTooLong { length, limit }) => assert_eq!((length, limit), (taken, 1_024)),
            other => panic!("{other:?}"),
        }
    }
    node.cluster.topic("lobby").publish("end");
    member.expect(b"end\n").await;
}

#[actix::test]
async fn without_nats_members_of_the_node_are_reached() {
    let mut world = World::Nats(NatsServer::start());
    let (one, two) = (world.node("one").await, world.node("two").await);
    let (mut near, mut far) = (one.member("lobby").await, two.member("lobby").await);
    let World::Nats(server) = &mut world else { unreachable!() };
    server.stop();
    eventually(|| !one.cluster.is_connected()).await;
    let published = one.cluster.topic("lobby").publish("alone");
    assert!(matches!(published.remote, Err(RemoteError::Disconnected)), "{published:?}");
    near.expect(b"alone\n").await;
    server.start_again();
    eventually(|| one.cluster.is_connected() && two.cluster.is_connected()).await;
    eventually(|| server.subscriptions("test.topic.lobby") == 2).await;
    one.cluster.topic("lobby").publish("together");
    near.expect(b"together\n").await;
    far.expect(b"together\n").await;
}
