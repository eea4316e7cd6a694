//! Topics and names of [`actix_acceptor`] across machines, on [NATS](https://nats.io).
//!
//! With one machine, connections talk to each other through the topics and names of their pool. With several machines behind a load
//! balancer, a message must also reach a connection on another machine: that is what this crate adds. It uses NATS, a server that
//! you operate as you would a database. For a single machine, and for tests, there is an in-memory replacement.
//!
//! # Example
//!
//! A chat room for the guests of all nodes. Start it on each machine, with a different node name on each:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use actix_acceptor::prelude::*;
//! use actix_acceptor_cluster::Cluster;
//! use bytes::Bytes;
//!
//! struct Guest {
//!     cluster: Cluster<Guest>,
//! }
//!
//! impl Guest {
//!     fn new(peer: &Peer) -> Self {
//!         let cluster = peer.env::<Cluster<Guest>>().expect("the listener has it");
//!         Guest { cluster: cluster.clone() }
//!     }
//! }
//!
//! impl Protocol for Guest {
//!     type Codec = Framing;
//!     type Reply = Bytes;
//!     type User = ();
//!
//!     fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
//!         conn.join(self.cluster.topic("lobby").local());
//!         Next::Continue
//!     }
//!
//!     fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
//!         self.cluster.topic("lobby").publish_except(conn.id(), line);
//!         Next::Continue
//!     }
//! }
//!
//! #[actix::main]
//! async fn main() -> Result<(), MainError> {
//!     // The port is opened once the node has joined the others.
//!     let pool = AcceptorPool::with_protocol(Guest::new).framing(Framing::lines()).start_without_listeners().await?;
//!     let cluster = Cluster::nats("nats://127.0.0.1:4222").node("a").connect(&pool).await?;
//!     pool.set_listeners(vec![Listener::tcp("0.0.0.0:7878").env(cluster.clone())]).await?;
//!
//!     pool.drain_on_signal(Drain::grace(Duration::from_secs(5))).await?;
//!     cluster.leave().await;
//!     Ok(())
//! }
//! ```
//!
//! In `Cargo.toml`: `actix = "0.13"`, `actix-acceptor = "0.1"`, `actix-acceptor-cluster = "0.1"` and `bytes = "1"`. NATS needs JetStream:
//! `nats-server --jetstream`. The example `chat` has rooms, unique names and private messages:
//! `cargo run -p actix-acceptor-cluster --example chat`.
//!
//! To run the same program without a server, replace [`Cluster::nats`] with [`Cluster::local`]. In a test, several nodes in one
//! process share a [`LocalBus`]:
//!
//! ```
//! # use std::time::Duration;
//! # use actix_acceptor::prelude::*;
//! use actix_acceptor_cluster::{Cluster, LocalBus};
//! # use bytes::Bytes;
//! # use support::connect;
//! #
//! # struct Guest(Cluster<Guest>);
//! #
//! # impl Guest {
//! #     fn new(peer: &Peer) -> Self {
//! #         Guest(peer.env::<Cluster<Guest>>().expect("the listener has it").clone())
//! #     }
//! # }
//! #
//! # impl Protocol for Guest {
//! #     type Codec = Framing;
//! #     type Reply = Bytes;
//! #     type User = ();
//! #
//! #     fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
//! #         let lobby = self.0.topic("lobby");
//! #         conn.join(lobby.local());
//! #         conn.wait(async move { lobby.subscribed().await }, |_, _, _| Next::send("welcome"))
//! #     }
//! #
//! #     fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
//! #         self.0.topic("lobby").publish_except(conn.id(), line);
//! #         Next::Continue
//! #     }
//! # }
//! #
//! # #[actix::main]
//! # async fn main() -> Result<(), MainError> {
//!
//! let bus = LocalBus::new();
//! # let mut guests = Vec::new();
//! # let mut nodes = Vec::new();
//! for name in ["a", "b"] {
//!     let pool = AcceptorPool::with_protocol(Guest::new).framing(Framing::lines()).start_without_listeners().await?;
//!     let cluster = Cluster::on(&bus).node(name).connect(&pool).await?;
//!     pool.set_listeners(vec![Listener::tcp("127.0.0.1:0").env(cluster.clone())]).await?;
//!     // Connect to `pool.local_addrs()[0]` ..
//! #   let mut guest = connect(&pool).await;
//! #   guest.expect(b"welcome\n").await;
//! #   guests.push(guest);
//! #   nodes.push((pool, cluster));
//! }
//! # guests[0].send("hello\n").await;
//! # guests[1].expect(b"hello\n").await;
//! # for (pool, cluster) in nodes {
//! #     pool.stop(None).await;
//! #     cluster.leave().await;
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//!
//! - A **node** is a pool that has joined a cluster, usually one per process: a [`Cluster`]. It has a name that is unique in the
//!   cluster, and one connection to NATS.
//! - A **topic** is a group of connections, which may be on different nodes: a [`ClusterTopic`]. Connections join the topic of
//!   their own pool ([`ClusterTopic::local`]), and leave it when they end. What is published to the cluster's topic reaches the
//!   members on all nodes. A node receives the messages of a topic only while it has members of it.
//! - A **name** belongs to one connection of the cluster, its owner ([`Cluster::register`]). When the connection ends, the name is
//!   free: any connection can register it.
//! - A **lease** shows that a node is alive. The node renews it three times per [TTL](ClusterBuilder::ttl), by default every 5 s with a
//!   TTL of 15 s. When a lease has expired, the names of its node are free. A node that cannot renew its lease stops treating its names as
//!   its own ([`Cluster::owns`]) before another node can register them.
//!
//! # Tasks
//!
//! | I want to | use |
//! |---|---|
//! | join the other nodes | [`Cluster::nats`], [`ClusterBuilder::connect`] |
//! | run without a server, or test | [`Cluster::local`], [`Cluster::on`] |
//! | give connections access to the cluster | [`Listener::env`](actix_acceptor::Listener::env), [`Conn::env`](actix_acceptor::Conn::env) |
//! | broadcast to a group, such as a chat room | [`ClusterTopic::publish`], [`ClusterTopic::publish_except`] |
//! | send a message to a group, for [`Protocol::user`](actix_acceptor::Protocol::user) | [`ClusterTopic::notify`] |
//! | join a group | [`Conn::join`](actix_acceptor::Conn::join) with [`ClusterTopic::local`] |
//! | broadcast to all connections of all nodes | [`Cluster::broadcast`], [`Cluster::notify_all`] |
//! | wait until messages from other nodes arrive | [`ClusterTopic::subscribed`] |
//! | follow the members of a group | [`ClusterTopic::watch`] |
//! | see who is in a group | [`ClusterTopic::presence`], [`Conn::set_label`](actix_acceptor::Conn::set_label) |
//! | give a connection a unique name | [`Cluster::register`], [`Cluster::register_replacing`], [`Cluster::unregister`] |
//! | check in a callback that a connection still owns its name | [`Cluster::owns`] |
//! | find a connection by its name | [`Cluster::whereis`] |
//! | send to a connection by its name | [`Cluster::send`], [`Cluster::notify`] |
//! | ask a connection for something | [`Cluster::ask`], [`Question`], [`Cluster::answers`] |
//! | send to a connection by its node and id | [`Cluster::connection`]; to a member of a topic, [`Cluster::member`] |
//! | ask nodes for something, such as their load | [`Cluster::ask_node`], [`Cluster::ask_nodes`], [`Cluster::node_answers`] |
//! | use another time limit for some calls | [`Cluster::within`] |
//! | list the nodes | [`Cluster::nodes`] |
//! | check whether NATS is reachable, and what was lost | [`Cluster::state`], [`Cluster::info`], [`Published::remote`] |
//! | replace the format of messages | [`ClusterBuilder::format`], [`Format`] |
//! | stop a node | [`Pool::drain_on_signal`](actix_acceptor::Pool::drain_on_signal), then [`Cluster::leave`] |
//!
//! # Guarantees
//!
//! - **Topics.** Members on the publisher's node get a reply directly, without NATS. Members on other nodes get it at most once,
//!   and get the messages of one publisher in order. If a message cannot be sent to the other nodes, the publisher gets an error
//!   ([`Published::remote`]). A message that is lost because the connection of the publisher's node to NATS breaks is counted there
//!   ([`ClusterInfo::dropped`]) and not sent again. A node misses what is published while it has no connection to NATS, and, if the
//!   publisher's node is connected to another server of a NATS cluster, what is published just after it has
//!   [subscribed](ClusterTopic::subscribed); neither is counted. A connection that has left receives nothing that is published
//!   later on its node.
//! - **Names.** A registration is one compare-and-set on the server: of several nodes that register the same name, one succeeds. A
//!   name has at most one owner, as [`Cluster::whereis`] sees it. If a node is killed, its names are free when its lease has
//!   expired, by default after 15 s; after [`Cluster::leave`], at once.
//! - **Messages** to one connection are acknowledged by its node. `Ok` means that the outbox or the mailbox of the connection has
//!   accepted the message. After [`DeliveryError::Timeout`], the message may or may not have been accepted.
//! - **Presence.** The changes that a [watch](ClusterTopic::watch) returns add up to the current members on all nodes. If messages
//!   are lost, the watch is correct again within one TTL. Members of a node that was killed leave when its lease has expired.
//! - **Bounds.** The messages that wait to be sent to NATS are bounded in bytes ([`ClusterBuilder::queue`]), and so are the replies
//!   that wait for a member to read them ([`Builder::outbox`](actix_acceptor::Builder::outbox)).
//!
//! # Features
//!
//! `metrics` reports the values of [`Cluster::info`] to the [`metrics`](https://docs.rs/metrics) facade. No feature is enabled by
//! default.
//!
//! # More
//!
#![cfg_attr(doc, doc = "The [guide](guide) has pages about [operating NATS](guide::operating),")]
#![cfg_attr(doc, doc = "[guarantees during faults](guide::guarantees),")]
#![cfg_attr(doc, doc = "[message types and rolling upgrades](guide::message_types),")]
#![cfg_attr(doc, doc = "and [sizing](guide::sizing).")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod answers;
mod audit;
mod broadcast;
mod builder;
mod bus;
mod cluster;
mod connection;
mod counters;
mod direct;
mod envelope;
mod error;
mod format;
#[cfg(doc)]
pub mod guide;
mod incarnation;
mod info;
mod keep;
mod lease;
mod messages;
#[cfg(feature = "metrics")]
mod metrics;
mod name_locks;
mod names;
mod naming;
mod node;
mod observer;
mod own_names;
mod presence;
pub mod reexports;
mod refusals;
mod released;
mod releases;
mod requests;
mod runtime;
mod settings;
#[cfg(test)]
mod simulation;
mod state;
mod subject;
mod subscriptions;
mod topic;
mod undo;

pub use builder::ClusterBuilder;
pub use bus::LocalBus;
pub use cluster::{Cluster, ClusterProtocol, Unconnected};
pub use connection::{ClusterRef, Question};
pub use error::{ConnectError, DeliveryError, RegisterError, RemoteError};
pub use format::{Format, Postcard};
pub use info::{ClusterInfo, Dropped, Refusals};
pub use messages::NodeAnswer;
pub use presence::{Cursor, Member, PresenceChange, PresencePage, PresenceWatch, WatchError};
pub use state::NodeState;
pub use topic::{ClusterTopic, Notified, Published};
