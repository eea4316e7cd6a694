//! Replies and messages to all connections of all nodes.

use actix_acceptor_cluster::RemoteError;
use support::eventually;

use crate::nats_server::NatsServer;
use crate::nodes::{ask, worlds, World};

#[actix::test]
async fn a_broadcast_reaches_all_connections_of_all_nodes_once() {
    for world in worlds() {
        let nodes = [world.node("one").await, world.node("two").await, world.node("three").await];
        let mut peers = Vec::new();
        for node in &nodes {
            for _ in 0..2 {
                let mut peer = node.guest().await;
                ask(&mut peer, "label ready", "ok").await;
                peers.push(peer);
            }
        }
        for n in 0..50 {
            let sent = nodes[0].cluster.broadcast(format!("line {n}"));
            assert_eq!((sent.members, sent.dropped, sent.error.is_none(), sent.remote.is_ok()), (2, 0, true, true));
        }
        for peer in &mut peers {
            for n in 0..50 {
                peer.expect(format!("line {n}\n").as_bytes()).await;
            }
        }
        // Nothing came twice.
        let sent = nodes[1].cluster.notify_all("hello".to_owned());
        assert_eq!((sent.local.delivered, sent.local.full.len(), sent.remote.is_ok()), (2, 0, true));
        for peer in &mut peers {
            peer.expect(b"message hello\n").await;
            ask(peer, "label done", "ok").await;
        }
        for node in nodes {
            node.cluster.leave().await;
        }
    }
}

#[actix::test]
async fn without_nats_a_broadcast_reaches_the_connections_of_the_node() {
    let mut world = World::Nats(NatsServer::start());
    let (one, two) = (world.node("one").await, world.node("two").await);
    let (mut near, mut far) = (one.guest().await, two.guest().await);
    ask(&mut near, "label near", "ok").await;
    ask(&mut far, "label far", "ok").await;
    let World::Nats(server) = &mut world else { unreachable!() };
    server.stop();
    eventually(|| !one.cluster.is_connected()).await;
    let sent = one.cluster.broadcast("alone");
    assert!(matches!(sent.remote, Err(RemoteError::Disconnected)) && sent.members == 1, "{sent:?}");
    near.expect(b"alone\n").await;
    let sent = one.cluster.notify_all("alone".to_owned());
    assert!(matches!(sent.remote, Err(RemoteError::Disconnected)) && sent.local.delivered == 1, "{sent:?}");
    near.expect(b"message alone\n").await;
    server.start_again();
    eventually(|| one.cluster.is_connected() && two.cluster.is_connected()).await;
    eventually(|| server.subscriptions("test.all") == 2).await;
    one.cluster.broadcast("together");
    near.expect(b"together\n").await;
    far.expect(b"together\n").await;
}
