//! Nodes of a cluster in this process.

use actix_acceptor::{AcceptorPool, Conn, Connection, Framing, Next, Pool, Protocol};
use actix_acceptor_cluster::{Cluster, LocalBus};
use bytes::Bytes;
use support::{connect, in_time, Peer};

use crate::nats_server::NatsServer;

/// What connects the nodes.
pub(crate) enum World {
    Local(LocalBus),
    Nats(NatsServer),
}

/// One of each kind: each test is for both.
pub(crate) fn worlds() -> [World; 2] {
    [World::Local(LocalBus::new()), World::Nats(NatsServer::start())]
}

pub(crate) struct Node {
    pub(crate) pool: Pool<Connection<Guest>>,
    pub(crate) cluster: Cluster<Guest>,
}

impl World {
    pub(crate) async fn node(&self, name: &str) -> Node {
        let builder = AcceptorPool::with_protocol(|_| Guest).framing(Framing::lines()).acceptors(1);
        let pool = in_time(builder.bind("127.0.0.1:0")).await.unwrap();
        let builder = match self {
            World::Local(bus) => Cluster::on(bus),
            World::Nats(server) => Cluster::nats(&server.url),
        };
        let cluster = in_time(builder.node(name).prefix("test").connect(&pool)).await.unwrap();
        Node { pool, cluster }
    }
}

impl Node {
    /// A peer that is a member of this topic, on a node that is subscribed to it.
    pub(crate) async fn member(&self, topic: &str) -> Peer {
        let mut peer = connect(&self.pool).await;
        peer.send(format!("join {topic}\n")).await;
        peer.expect(b"true\n").await;
        in_time(self.cluster.topic(topic).subscribed()).await;
        peer
    }
}

/// Does what the lines say.
pub(crate) struct Guest;

impl Protocol for Guest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = String;

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let line = std::str::from_utf8(&line).unwrap();
        let (verb, word) = line.split_once(' ').unwrap_or((line, ""));
        let topic = conn.pool().topic(word);
        match verb {
            "join" => Next::send(conn.join(&topic).to_string()),
            "leave" => Next::send(conn.leave(&topic).to_string()),
            _ => Next::send("unknown"),
        }
    }

    fn user(&mut self, message: String, _: &mut Conn<Self>) -> Next<Self> {
        Next::send(format!("message {message}"))
    }
}
