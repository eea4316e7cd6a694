//! Topics and names of [`actix_acceptor`] across machines, on [NATS](https://nats.io).
//!
//! Each machine is a node: a process with a pool and a [`Cluster`]. Connections join the topics of their own pool, with
//! [`Conn::join`](actix_acceptor::Conn::join). [`Cluster::topic`] is the group of the members on all nodes.

mod answers;
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
mod info;
mod lease;
mod messages;
#[cfg(feature = "metrics")]
mod metrics;
mod names;
mod naming;
mod node;
mod observer;
mod presence;
mod refusals;
mod requests;
mod runtime;
mod settings;
mod state;
mod subject;
mod subscriptions;
mod topic;

pub use builder::ClusterBuilder;
pub use bus::LocalBus;
pub use cluster::{Cluster, ClusterProtocol, Unconnected};
pub use connection::{ClusterRef, Question};
pub use error::{ConnectError, DeliveryError, RegisterError, RemoteError};
pub use format::{Format, Postcard};
pub use info::{ClusterInfo, Dropped, Refusals};
pub use messages::NodeAnswer;
pub use presence::{Cursor, Member, PresencePage};
pub use state::NodeState;
pub use topic::{ClusterTopic, Notified, Published};
