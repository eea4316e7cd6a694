//! [`ClusterTopic`].

use std::fmt;
use std::sync::Arc;

use actix_acceptor::info::BroadcastReport;
use actix_acceptor::{ConnectionId, SendError, Topic};

use crate::bus::Subject;
use crate::cluster::ClusterProtocol;
use crate::envelope::Kind;
use crate::node::Node;
use crate::{Format, Postcard, RemoteError};

/// A topic whose members are on any nodes of the cluster.
///
/// Connections become members by joining the topic of their own pool, with [`Conn::join`](actix_acceptor::Conn::join). A node is
/// subscribed to a topic in NATS while it has members of it.
pub struct ClusterTopic<P: ClusterProtocol, F: Format = Postcard> {
    pub(crate) node: Arc<Node<P, F>>,
    pub(crate) local: Topic<P>,
    pub(crate) subject: Result<Subject, usize>,
}

/// The outcome of publishing a reply.
#[derive(Debug)]
#[non_exhaustive]
pub struct Published {
    /// The number of members on this node in whose outbox the reply was queued.
    pub members: usize,
    /// The number of members on this node whose outbox had no room for the reply.
    pub dropped: usize,
    /// Why the reply could not be encoded for some members on this node.
    pub error: Option<SendError>,
    /// Whether the reply was accepted for the other nodes.
    pub remote: Result<(), RemoteError>,
}

/// The outcome of sending a message to the members of a topic.
#[derive(Debug)]
#[non_exhaustive]
pub struct Notified {
    /// How many members on this node got the message, and how many mailboxes were full.
    pub local: BroadcastReport,
    /// Whether the message was accepted for the other nodes.
    pub remote: Result<(), RemoteError>,
}

impl<P: ClusterProtocol, F: Format> ClusterTopic<P, F> {
    /// The name.
    pub fn name(&self) -> &str {
        self.local.name()
    }

    /// The topic of the pool of this node: what connections [join](actix_acceptor::Conn::join) and leave, and its members here.
    ///
    /// Do not let connections of another pool join it: the node is not subscribed to the topic for them, and they are missing from
    /// [`presence`](ClusterTopic::presence).
    pub fn local(&self) -> &Topic<P> {
        &self.local
    }

    /// Sends a reply to the members on all nodes. Never waits.
    ///
    /// Members on this node get it directly, even without a connection to NATS. Those on other nodes get it at most once, in the
    /// order in which this node publishes to the topic; [`Published::remote`] says whether it was accepted for them.
    ///
    /// ```
    /// # use actix_acceptor::Next;
    /// # use actix_acceptor_cluster::{Cluster, LocalBus};
    /// # use support::{connect, guests};
    /// # actix::System::new().block_on(async {
    /// # let bus = LocalBus::new();
    /// # let (pool, other) = (guests(|_, _| Next::Continue).await, guests(|_, _| Next::Continue).await);
    /// # let cluster = Cluster::on(&bus).connect(&pool).await?;
    /// # let elsewhere = Cluster::on(&bus).connect(&other).await?;
    /// # let (mut near, mut far) = (connect(&pool).await, connect(&other).await);
    /// # near.expect(b"welcome\n").await;
    /// # far.expect(b"welcome\n").await;
    /// # elsewhere.topic("lobby").subscribed().await?;
    /// // "lobby" has one member on this node, and one on another node.
    /// let published = cluster.topic("lobby").publish("hello");
    /// assert_eq!((published.members, published.dropped), (1, 0));
    /// if let Err(error) = published.remote {
    ///     eprintln!("only members of this node: {error}");
    /// }
    /// # near.expect(b"hello\n").await;
    /// # far.expect(b"hello\n").await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn publish(&self, reply: impl Into<P::Reply>) -> Published {
        let reply = reply.into();
        let remote = self.send(Kind::Reply, &reply);
        let local = self.local.publish(reply);
        Published { members: local.members, dropped: local.dropped, error: local.error, remote }
    }

    /// Like [`publish`](ClusterTopic::publish), but leaves out one connection of the pool of this node, usually the publisher.
    pub fn publish_except(&self, id: ConnectionId, reply: impl Into<P::Reply>) -> Published {
        let reply = reply.into();
        let remote = self.send(Kind::Reply, &reply);
        let local = self.local.publish_except(id, reply);
        Published { members: local.members, dropped: local.dropped, error: local.error, remote }
    }

    /// Sends a message to the mailbox of each member on all nodes, whose [`Protocol::user`](actix_acceptor::Protocol::user) handles
    /// it. Never waits. Delivery and order are as for [`publish`](ClusterTopic::publish).
    pub fn notify(&self, message: P::User) -> Notified {
        let remote = self.send(Kind::Message, &message);
        Notified { local: self.local.notify(message), remote }
    }

    fn send(&self, kind: Kind, body: &impl serde::Serialize) -> Result<(), RemoteError> {
        self.node.send(self.subject()?, kind, body)
    }

    /// Waits until this node receives what other nodes publish to the topic: the server that it is connected to has confirmed the
    /// subscription. Messages of nodes at the same server arrive from then on. In a NATS cluster of several servers, the other servers
    /// learn of a new subscription a moment later, usually within milliseconds; what a node at another server publishes before that
    /// does not arrive, and is not counted.
    ///
    /// Keeps waiting while the topic has no members on this node, while NATS cannot be reached, and while the server refuses the
    /// subscription.
    ///
    /// # Errors
    /// [`RemoteError::NameTooLong`]: messages of other nodes cannot arrive.
    /// [`RemoteError::Disconnected`]: the node has [left](crate::Cluster::leave) the cluster.
    pub async fn subscribed(&self) -> Result<(), RemoteError> {
        self.subject()?;
        let link = self.node.bus.link_state();
        self.node.bus.unless_left(self.node.subscriptions.until_confirmed(self.name(), &link)).await
    }

    fn subject(&self) -> Result<&Subject, RemoteError> {
        let limit = crate::subject::MAX_TOKEN;
        self.subject.as_ref().map_err(|length| RemoteError::NameTooLong { length: *length, limit })
    }
}

impl<P: ClusterProtocol, F: Format> Clone for ClusterTopic<P, F> {
    fn clone(&self) -> Self {
        ClusterTopic { node: self.node.clone(), local: self.local.clone(), subject: self.subject.clone() }
    }
}

impl<P: ClusterProtocol, F: Format> fmt::Debug for ClusterTopic<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClusterTopic").field(&self.name()).finish()
    }
}
