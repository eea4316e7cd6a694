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

/// The members of a topic on all nodes.
///
/// Connections become members by joining the topic of their own pool, with [`Conn::join`](actix_acceptor::Conn::join). A node is
/// subscribed to a topic while it has members there.
pub struct ClusterTopic<P: ClusterProtocol, F: Format = Postcard> {
    pub(crate) node: Arc<Node<P, F>>,
    pub(crate) local: Topic<P>,
    pub(crate) subject: Result<Subject, usize>,
}

/// What became of a published reply.
#[derive(Debug)]
#[non_exhaustive]
pub struct Published {
    /// The number of members on this node in whose outbox the reply was queued.
    pub members: usize,
    /// The number of members on this node whose outbox had no room for the reply.
    pub dropped: usize,
    /// Why the reply could not be encoded for some members on this node.
    pub error: Option<SendError>,
    /// Whether the reply was passed on to the other nodes.
    pub remote: Result<(), RemoteError>,
}

/// What became of a message to the members of a topic.
#[derive(Debug)]
#[non_exhaustive]
pub struct Notified {
    /// The members on this node that got the message, and those whose mailbox was full.
    pub local: BroadcastReport,
    /// Whether the message was passed on to the other nodes.
    pub remote: Result<(), RemoteError>,
}

impl<P: ClusterProtocol, F: Format> ClusterTopic<P, F> {
    /// The name.
    pub fn name(&self) -> &str {
        self.local.name()
    }

    /// The topic of the pool of this node: what connections [join](actix_acceptor::Conn::join) and leave, and its members here.
    pub fn local(&self) -> &Topic<P> {
        &self.local
    }

    /// Sends a reply to the members on all nodes. Members on this node get it directly, and in any case.
    pub fn publish(&self, reply: impl Into<P::Reply>) -> Published {
        let reply = reply.into();
        let remote = self.send(Kind::Reply, &reply);
        let local = self.local.publish(reply);
        Published { members: local.members, dropped: local.dropped, error: local.error, remote }
    }

    /// Sends a reply to the members on all nodes, except one connection of this node, usually the publisher.
    pub fn publish_except(&self, id: ConnectionId, reply: impl Into<P::Reply>) -> Published {
        let reply = reply.into();
        let remote = self.send(Kind::Reply, &reply);
        let local = self.local.publish_except(id, reply);
        Published { members: local.members, dropped: local.dropped, error: local.error, remote }
    }

    /// Sends a message to the mailbox of each member on all nodes, whose [`Protocol::user`](actix_acceptor::Protocol::user) handles it.
    pub fn notify(&self, message: P::User) -> Notified {
        let remote = self.send(Kind::Message, &message);
        Notified { local: self.local.notify(message), remote }
    }

    fn send(&self, kind: Kind, body: &impl serde::Serialize) -> Result<(), RemoteError> {
        match &self.subject {
            Ok(subject) => self.node.send(subject, kind, body),
            Err(length) => Err(RemoteError::NameTooLong { length: *length, limit: crate::subject::MAX_TOKEN }),
        }
    }

    /// Waits until this node receives what other nodes publish to the topic. It waits for as long as the topic has no members on
    /// this node, or NATS cannot be reached.
    pub async fn subscribed(&self) {
        self.node.subscriptions.until_confirmed(self.name(), &self.node.bus.link_state()).await;
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
