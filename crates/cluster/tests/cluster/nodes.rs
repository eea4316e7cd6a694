//! Nodes of a cluster in this process.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{AcceptorPool, Conn, Connection, ConnectionContext, Framing, Next, Pool, Protocol};
use actix_acceptor_cluster::{Cluster, ClusterBuilder, ConnectError, LocalBus, Question};
use bytes::Bytes;
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use support::{connect, in_time, Peer, TIME_LIMIT};

use crate::nats_server::NatsServer;

/// The names of a node are free after this time.
pub(crate) const TTL: Duration = Duration::from_secs(3);

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
        Node::start(self.settings(name)).await
    }

    /// A node that keeps its lease while a panic and its backtrace hold up the thread of the test.
    pub(crate) async fn patient_node(&self, name: &str) -> Node {
        Node::start(self.settings(name).ttl(Duration::from_secs(60)).request_timeout(TIME_LIMIT)).await
    }

    pub(crate) fn settings(&self, name: &str) -> ClusterBuilder {
        let builder = match self {
            World::Local(bus) => Cluster::on(bus),
            World::Nats(server) => Cluster::nats(&server.url),
        };
        builder.node(name).prefix("test").ttl(TTL).request_timeout(Duration::from_secs(2))
    }
}

impl Node {
    pub(crate) async fn start(settings: ClusterBuilder) -> Node {
        Self::try_start(settings).await.unwrap()
    }

    pub(crate) async fn try_start(settings: ClusterBuilder) -> Result<Node, ConnectError> {
        let own = Arc::new(OnceLock::new());
        let cluster = own.clone();
        let builder = AcceptorPool::with_protocol(move |_| Guest { cluster: cluster.clone() })
            .framing(Framing::lines())
            .acceptors(1);
        let pool = in_time(builder.bind("127.0.0.1:0")).await.unwrap();
        let cluster = in_time(settings.connect(&pool)).await?;
        cluster.answers::<HowMany>();
        own.set(cluster.clone()).unwrap();
        Ok(Node { pool, cluster })
    }

    pub(crate) async fn guest(&self) -> Peer {
        connect(&self.pool).await
    }

    /// A peer whose connection has this name.
    pub(crate) async fn named(&self, name: &str) -> Peer {
        let mut peer = self.guest().await;
        ask(&mut peer, &format!("register {name}"), "ok").await;
        peer
    }

    /// The node that has the connection with this name, as this node sees it.
    pub(crate) async fn whereis(&self, name: &str) -> Option<String> {
        in_time(self.cluster.whereis(name)).await.unwrap().map(|owner| owner.node().to_owned())
    }

    /// A peer that is a member of this topic, on a node that is subscribed to it.
    pub(crate) async fn member(&self, topic: &str) -> Peer {
        let mut peer = connect(&self.pool).await;
        peer.send(format!("join {topic}\n")).await;
        peer.expect(b"true\n").await;
        in_time(self.cluster.topic(topic).subscribed()).await.unwrap();
        peer
    }
}

pub(crate) async fn ask(peer: &mut Peer, line: &str, answer: &str) {
    peer.send(format!("{line}\n")).await;
    peer.expect(format!("{answer}\n").as_bytes()).await;
}

/// The next line of a peer.
pub(crate) async fn line(peer: &mut Peer) -> String {
    let mut line = Vec::new();
    loop {
        match peer.read_exact(1).await[0] {
            b'\n' => return String::from_utf8(line).unwrap(),
            byte => line.push(byte),
        }
    }
}

/// Does what the lines say.
pub(crate) struct Guest {
    cluster: Arc<OnceLock<Cluster<Guest>>>,
}

impl Guest {
    pub(crate) fn of(cluster: &Cluster<Guest>) -> Self {
        Guest { cluster: Arc::new(cluster.clone().into()) }
    }

    /// For pools whose node is of no interest.
    pub(crate) fn without_cluster() -> Self {
        Guest { cluster: Arc::default() }
    }
}

/// How many letters a text has, and the id of the connection that has counted them.
#[derive(Message, Serialize, Deserialize)]
#[rtype(result = "(usize, u64)")]
pub(crate) struct HowMany(pub(crate) String);

impl Question for HowMany {
    const NAME: &'static str = "how_many";
}

impl Handler<HowMany> for Connection<Guest> {
    type Result = MessageResult<HowMany>;

    fn handle(&mut self, question: HowMany, _: &mut ConnectionContext<Guest>) -> Self::Result {
        MessageResult(self.with(|_, conn| ((question.0.len(), conn.id().get()), Next::Continue)))
    }
}

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
            "register" | "replace" => {
                let cluster = self.cluster.get().unwrap();
                let registered = match verb {
                    "register" => cluster.register(conn, word).left_future(),
                    _ => cluster.register_replacing(conn, word).right_future(),
                };
                conn.wait(registered, |registered, _, _| match registered {
                    Ok(()) => Next::send("ok"),
                    Err(error) => Next::send(error.to_string()),
                })
            }
            "register-and-drop" => {
                let registered = self.cluster.get().unwrap().register(conn, word).now_or_never();
                Next::send(if registered.is_some() { "registered" } else { "dropped" })
            }
            "register-twice" => {
                let cluster = self.cluster.get().unwrap().clone();
                let (first, second) = (cluster.register(conn, word), cluster.register(conn, word));
                let (id, name) = (conn.id(), word.to_owned());
                let registered = async move {
                    let mut first = Box::pin(first);
                    if (&mut first).now_or_never().is_some() {
                        return "done";
                    }
                    while !cluster.owns(id, &name) {
                        tokio::task::yield_now().await;
                    }
                    second.await.unwrap();
                    drop(first);
                    if cluster.owns(id, &name) {
                        "owned"
                    } else {
                        "lost"
                    }
                };
                conn.wait(registered, |outcome, _, _| Next::send(outcome))
            }
            "label" => {
                conn.set_label(word);
                Next::send("ok")
            }
            "unregister" => {
                let released = self.cluster.get().unwrap().unregister(conn, word);
                conn.wait(released, |released, _, _| Next::send(released.to_string()))
            }
            _ => Next::send("unknown"),
        }
    }

    fn user(&mut self, message: String, _: &mut Conn<Self>) -> Next<Self> {
        Next::send(format!("message {message}"))
    }
}
