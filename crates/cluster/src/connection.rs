//! [`ClusterRef`], a connection on any node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::ConnectionId;
use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::bus::NoAnswer;
use crate::cluster::ClusterProtocol;
use crate::direct::{self, Asks, Header, Outcome};
use crate::lease::Incarnation;
use crate::node::Node;
use crate::{DeliveryError, Format, Postcard, RemoteError};

/// A message with a result that can be sent to connections on other nodes. Register it with
/// [`Cluster::answers`](crate::Cluster::answers).
pub trait Question:
    actix::Message<Result: Serialize + DeserializeOwned + Send> + Serialize + DeserializeOwned + Send + 'static
{
    /// The name of the type, the same on all nodes.
    const NAME: &'static str;
}

/// A connection on any node of the cluster.
pub struct ClusterRef<P: ClusterProtocol, F: Format = Postcard> {
    pub(crate) here: Arc<Node<P, F>>,
    pub(crate) node: Arc<str>,
    pub(crate) incarnation: Incarnation,
    pub(crate) id: ConnectionId,
}

impl<P: ClusterProtocol, F: Format> ClusterRef<P, F> {
    /// The node that has accepted the connection.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The id of the connection on its node.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Sends a reply to the peer: queues it in the outbox of the connection.
    ///
    /// # Errors
    /// See [`DeliveryError`]. After [`DeliveryError::Timeout`] the reply may have been queued.
    pub async fn send(&self, reply: impl Into<P::Reply>) -> Result<(), DeliveryError> {
        let body = self.encode(&reply.into())?;
        self.request(Asks::Reply, &body).await.map(drop)
    }

    /// Sends a message to the mailbox of the connection, whose [`Protocol::user`](actix_acceptor::Protocol::user) handles it.
    ///
    /// # Errors
    /// See [`DeliveryError`]. After [`DeliveryError::Timeout`] the message may have been queued.
    pub async fn notify(&self, message: P::User) -> Result<(), DeliveryError> {
        let body = self.encode(&message)?;
        self.request(Asks::Message, &body).await.map(drop)
    }

    /// Sends a message with a result, and waits for the result, for at most
    /// [`request_timeout`](crate::ClusterBuilder::request_timeout).
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn ask<M: Question>(&self, question: M) -> Result<M::Result, DeliveryError> {
        let body = self.encode(&question)?;
        let answer = self.request(Asks::Question(M::NAME.to_owned()), &body).await?;
        self.here.format.decode(&answer).map_err(DeliveryError::Format)
    }

    pub(crate) async fn request(&self, asks: Asks, body: &[u8]) -> Result<Vec<u8>, DeliveryError> {
        let header = Header { incarnation: self.incarnation, connection: self.id.get(), asks };
        let request = direct::encode(&header, body).map_err(DeliveryError::Format)?;
        let answer = if *self.node == *self.here.name {
            let answer = self.here.clone().handle(request);
            tokio::time::timeout(self.within(), answer).await.map_err(|_| DeliveryError::Timeout)?
        } else {
            let subject = self.here.node_subject(&self.node).ok_or(DeliveryError::NoOwner)?;
            self.here.bus.request(&subject, request, self.within()).await?
        };
        let (outcome, body) = direct::decode::<Outcome>(&answer).map_err(DeliveryError::Format)?;
        match outcome {
            Outcome::Done => Ok(body.to_vec()),
            Outcome::Gone => Err(DeliveryError::NoOwner),
            Outcome::Full => Err(DeliveryError::Full),
            Outcome::Refused(why) => Err(DeliveryError::Refused { node: self.node.to_string(), why }),
        }
    }

    fn within(&self) -> Duration {
        self.here.request_timeout
    }

    fn encode(&self, value: &impl Serialize) -> Result<Vec<u8>, DeliveryError> {
        self.here.format.encode(value).map_err(DeliveryError::Format)
    }
}

impl From<NoAnswer> for DeliveryError {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::NoResponder => DeliveryError::NoOwner,
            NoAnswer::Timeout => DeliveryError::Timeout,
            NoAnswer::NotSent(RemoteError::TooLarge { size, limit }) => DeliveryError::TooLarge { size, limit },
            NoAnswer::NotSent(_) => DeliveryError::Disconnected,
        }
    }
}

impl<P: ClusterProtocol, F: Format> fmt::Debug for ClusterRef<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterRef").field("node", &self.node).field("id", &self.id).finish_non_exhaustive()
    }
}
