//! [`ClusterRef`], a connection on any node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::ConnectionId;
use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::cluster::ClusterProtocol;
use crate::direct::{Asks, Expects};
use crate::node::Node;
use crate::requests::MAX_WITHIN;
use crate::{DeliveryError, Format, Postcard};

/// A message with a result that can be sent to connections on other nodes, or to nodes. Register how it is answered with
/// [`Cluster::answers`](crate::Cluster::answers) or [`Cluster::node_answers`](crate::Cluster::node_answers).
///
/// ```
/// use actix::prelude::*;
/// use actix_acceptor::{Connection, ConnectionContext, Next};
/// use actix_acceptor_cluster::{Cluster, Question};
/// use serde::{Deserialize, Serialize};
/// # use support::{connect, guests, Guest};
///
/// /// Asks a connection for the bytes that it has received.
/// #[derive(Message, Serialize, Deserialize)]
/// #[rtype(result = "u64")]
/// struct Received;
///
/// impl Question for Received {
///     const NAME: &'static str = "received";
/// }
///
/// impl Handler<Received> for Connection<Guest> {
///     type Result = u64;
///
///     fn handle(&mut self, _: Received, _: &mut ConnectionContext<Guest>) -> u64 {
///         self.with(|_, conn| (conn.info().bytes_in, Next::Continue))
///     }
/// }
///
/// # System::new().block_on(async {
/// # let pool = guests(|_, _| Next::send("noted")).await;
/// let cluster = Cluster::local().node("a").connect(&pool).await?;
/// cluster.answers::<Received>(); // On every node.
/// # let mut peer = connect(&pool).await;
/// # peer.send("hello\n").await;
/// # peer.expect(b"welcome\nnoted\n").await;
/// // A peer has connected, and has sent "hello\n".
/// let id = pool.list()[0].id;
/// assert_eq!(cluster.connection("a", id).ask(Received).await?, 6);
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
pub trait Question:
    actix::Message<Result: Serialize + DeserializeOwned + Send> + Serialize + DeserializeOwned + Send + 'static
{
    /// The name of this type, the same on all nodes.
    const NAME: &'static str;
}

/// A connection on any node of the cluster.
pub struct ClusterRef<P: ClusterProtocol, F: Format = Postcard> {
    pub(crate) here: Arc<Node<P, F>>,
    pub(crate) node: Arc<str>,
    /// `None`: the node that has the lease when a request is made.
    pub(crate) expects: Option<Expects>,
    pub(crate) id: ConnectionId,
    pub(crate) within: Duration,
}

impl<P: ClusterProtocol, F: Format> ClusterRef<P, F> {
    pub(crate) fn new(here: &Arc<Node<P, F>>, node: Arc<str>, expects: Option<Expects>, id: ConnectionId) -> Self {
        ClusterRef { here: here.clone(), node, expects, id, within: here.request_timeout }
    }

    /// The node that accepted the connection.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The id of the connection on its node.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The same connection, with this time limit for [`send`](ClusterRef::send), [`notify`](ClusterRef::notify) and
    /// [`ask`](ClusterRef::ask). A limit above 1 hour counts as 1 hour.
    #[must_use = "the time limit applies to the returned reference"]
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = limit.min(MAX_WITHIN);
        self
    }

    /// Sends a reply to the peer, by queuing it in the outbox of the connection.
    ///
    /// # Errors
    /// See [`DeliveryError`]. After [`DeliveryError::Timeout`] the reply may have been queued.
    pub async fn send(&self, reply: impl Into<P::Reply>) -> Result<(), DeliveryError> {
        let body = self.here.encode(&reply.into())?;
        self.request(Asks::Reply(self.id.get()), &body).await.map(drop)
    }

    /// Sends a message to the mailbox of the connection, whose [`Protocol::user`](actix_acceptor::Protocol::user) handles it.
    ///
    /// # Errors
    /// See [`DeliveryError`]. After [`DeliveryError::Timeout`] the message may have been queued.
    pub async fn notify(&self, message: P::User) -> Result<(), DeliveryError> {
        let body = self.here.encode(&message)?;
        self.request(Asks::Message(self.id.get()), &body).await.map(drop)
    }

    /// Sends a message with a result to the mailbox of the connection, and waits for the result.
    ///
    /// # Errors
    /// See [`DeliveryError`]. After [`DeliveryError::Timeout`] the message may have been handled. A message that is still in the
    /// mailbox when the time limit has passed is not handled.
    pub async fn ask<M: Question>(&self, question: M) -> Result<M::Result, DeliveryError> {
        let body = self.here.encode(&question)?;
        let answer = self.request(Asks::Question(self.id.get(), M::NAME.to_owned()), &body).await?;
        self.here.format.decode(&answer).map_err(DeliveryError::Format)
    }

    pub(crate) async fn request(&self, asks: Asks, body: &[u8]) -> Result<Vec<u8>, DeliveryError> {
        self.here.ask(&self.node, self.expects, asks, body, self.within).await
    }
}

impl<P: ClusterProtocol, F: Format> Clone for ClusterRef<P, F> {
    fn clone(&self) -> Self {
        let ClusterRef { here, node, expects, id, within } = self;
        ClusterRef { here: here.clone(), node: node.clone(), expects: *expects, id: *id, within: *within }
    }
}

impl<P: ClusterProtocol, F: Format> fmt::Debug for ClusterRef<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterRef").field("node", &self.node).field("id", &self.id).finish_non_exhaustive()
    }
}
