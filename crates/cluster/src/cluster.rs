//! [`Cluster`], the handle of a node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::messages::EncodeOnce;
use actix_acceptor::{Conn, Connection, ConnectionId, Framing, Next, Pool, Protocol};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::bus::LocalBus;
use crate::connection::ClusterRef;
use crate::node::Node;
use crate::topic::ClusterTopic;
use crate::{ClusterBuilder, DeliveryError, Format, Postcard, RegisterError, RemoteError};

/// A protocol whose replies and messages can be sent to other nodes: both implement [`Clone`] and the traits of serde, and replies are
/// encoded once for all receivers, as [`Framing`] does. Implemented for every such protocol.
pub trait ClusterProtocol:
    Protocol<Codec: EncodeOnce, Reply: Clone + Serialize + DeserializeOwned, User: Clone + Serialize + DeserializeOwned>
{
}

impl<P> ClusterProtocol for P where
    P: Protocol<
        Codec: EncodeOnce,
        Reply: Clone + Serialize + DeserializeOwned,
        User: Clone + Serialize + DeserializeOwned,
    >
{
}

/// The type parameter of [`Cluster::nats`] and [`Cluster::local`], which do not depend on a protocol.
#[derive(Debug)]
pub enum Unconnected {}

impl Protocol for Unconnected {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        match *self {}
    }
}

/// A handle to this node of a cluster: cheap to clone, usable from any thread.
///
/// Created by [`ClusterBuilder::connect`]. The node leaves the cluster when the last handle is dropped; only after
/// [`leave`](Cluster::leave) are its names free at once. The node does not end with the pool.
pub struct Cluster<P: ClusterProtocol, F: Format = Postcard> {
    pub(crate) node: Arc<Node<P, F>>,
    pub(crate) within: Duration,
}

impl Cluster<Unconnected> {
    /// A node that reaches the others through NATS. `server` is a URL, such as `nats://127.0.0.1:4222` or `tls://nats.example:4222`,
    /// or several of one NATS cluster, separated by commas. The server needs JetStream.
    ///
    /// The node has a thread of its own, so that a callback that blocks holds back neither the heartbeat of its lease nor the messages
    /// for other connections.
    ///
    /// ```no_run
    /// # use actix_acceptor::{Connection, Pool};
    /// # use actix_acceptor_cluster::{Cluster, ConnectError};
    /// # use support::Guest;
    /// # async fn connect(pool: Pool<Connection<Guest>>) -> Result<(), ConnectError> {
    /// let cluster = Cluster::nats("nats://nats-1:4222, nats://nats-2:4222").node("eu-1").connect(&pool).await?;
    /// println!("{} has joined {:?}", cluster.node(), cluster.nodes().await);
    /// # Ok(())
    /// # }
    /// ```
    pub fn nats(server: impl AsRef<str>) -> ClusterBuilder {
        ClusterBuilder::nats(server.as_ref().to_owned())
    }

    /// A node without other nodes and without a server, for a program that runs on one machine for now.
    pub fn local() -> ClusterBuilder {
        Self::on(&LocalBus::new())
    }

    /// A node that reaches other nodes in this process, without a server, for tests.
    pub fn on(bus: &LocalBus) -> ClusterBuilder {
        ClusterBuilder::local(bus.clone())
    }
}

impl<P: ClusterProtocol, F: Format> Cluster<P, F> {
    pub(crate) fn new(node: Arc<Node<P, F>>) -> Self {
        let within = node.request_timeout;
        Cluster { node, within }
    }

    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.node.name
    }

    /// The names of the nodes that have a lease, sorted.
    ///
    /// # Errors
    /// [`DeliveryError::Disconnected`]: the server cannot be asked.
    pub async fn nodes(&self) -> Result<Vec<Arc<str>>, DeliveryError> {
        let nodes = self.node.nodes().await.map_err(|_| DeliveryError::Disconnected)?;
        Ok(nodes.into_iter().map(|(name, _)| name.into()).collect())
    }

    /// The pool of this node.
    pub fn pool(&self) -> &Pool<Connection<P>> {
        &self.node.pool
    }

    /// Whether the other nodes can be reached at the moment.
    pub fn is_connected(&self) -> bool {
        self.node.bus.is_connected()
    }

    /// Registers a name for a connection of this node, unique over all nodes, until the connection ends or releases it.
    ///
    /// The connection must belong to the pool that was given to [`connect`](ClusterBuilder::connect). A program with several pools
    /// connects each of them as a node of its own.
    ///
    /// In a callback: `conn.wait(cluster.register(conn, "ann"), |registered, me, conn| ..)`. If the future is dropped, the connection
    /// does not get the name.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub fn register(
        &self,
        conn: &Conn<P>,
        name: impl AsRef<str>,
    ) -> impl Future<Output = Result<(), RegisterError>> + Send + 'static {
        self.register_in_pool(conn, name.as_ref().into(), false)
    }

    /// Like [`register`](Cluster::register), but if another connection on any node has the name, it loses it and ends with
    /// [`Closed::Replaced`](actix_acceptor::Closed::Replaced). A connection whose node has lost its lease, and that cannot get its
    /// name back, ends in the same way.
    ///
    /// The former owner gives the name up before this connection gets it. If its node does not answer, this connection gets the
    /// name when the lease of that node has expired, which can take as long as the [`ttl`](ClusterBuilder::ttl).
    ///
    /// # Errors
    /// See [`RegisterError`]; never [`RegisterError::Taken`]. The former owner may have lost the name despite the error.
    pub fn register_replacing(
        &self,
        conn: &Conn<P>,
        name: impl AsRef<str>,
    ) -> impl Future<Output = Result<(), RegisterError>> + Send + 'static {
        self.register_in_pool(conn, name.as_ref().into(), true)
    }

    fn register_in_pool(
        &self,
        conn: &Conn<P>,
        name: Arc<str>,
        replaces: bool,
    ) -> impl Future<Output = Result<(), RegisterError>> + Send + 'static + use<P, F> {
        // Ids are unique within a pool only.
        let (node, id) = (self.node_of(conn), conn.id());
        async move { node.ok_or(RegisterError::OtherPool)?.register(id, name, replaces).await }
    }

    /// The node, if the connection is one of its pool.
    fn node_of(&self, conn: &Conn<P>) -> Option<Arc<Node<P, F>>> {
        (conn.pool() == self.node.pool).then(|| self.node.clone())
    }

    /// Releases a name. Returns false if this connection does not have it.
    pub fn unregister(&self, conn: &Conn<P>, name: impl AsRef<str>) -> impl Future<Output = bool> + Send + 'static {
        let (node, id, name) = (self.node_of(conn), conn.id(), name.as_ref().to_owned());
        async move {
            match node {
                Some(node) => node.unregister(id, &name).await,
                None => false,
            }
        }
    }

    /// Whether a connection of this node has this name, without asking the server. Use it, for example, before an action that only
    /// the owner may take.
    ///
    /// Returns false as soon as this node cannot be sure of its lease, because no heartbeat was acknowledged for nine tenths of the
    /// [`ttl`](ClusterBuilder::ttl). Other nodes treat the name as free only later, when the lease has expired, and a
    /// [replaced](Cluster::register_replacing) owner loses the name before another connection gets it. So this is never true for
    /// two connections at the same time.
    ///
    /// ```
    /// # use std::sync::{Arc, OnceLock};
    /// # use actix_acceptor::Next;
    /// # use actix_acceptor_cluster::Cluster;
    /// # use support::{connect, guests, Guest};
    /// # actix::System::new().block_on(async {
    /// # let own = Arc::new(OnceLock::<Cluster<Guest>>::new());
    /// # let cluster = own.clone();
    /// # let pool = guests(move |name, conn| {
    /// #     conn.wait(cluster.get().expect("it is connected").register(conn, name), |_, _, _| Next::send("registered"))
    /// # }).await;
    /// let cluster = Cluster::local().connect(&pool).await?;
    /// # own.set(cluster.clone()).expect("it is set once");
    /// # let mut peer = connect(&pool).await;
    /// # peer.send("ann\n").await;
    /// # peer.expect(b"welcome\nregistered\n").await;
    /// // A connection has registered the name "ann".
    /// let id = pool.list()[0].id;
    /// assert!(cluster.owns(id, "ann") && !cluster.owns(id, "bob"));
    /// assert_eq!(cluster.names_of(id), ["ann".into()]);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn owns(&self, id: ConnectionId, name: impl AsRef<str>) -> bool {
        self.node.naming.owns(id, name.as_ref())
    }

    /// The names that a connection of this node has, as [`owns`](Cluster::owns) sees it.
    pub fn names_of(&self, id: ConnectionId) -> Vec<Arc<str>> {
        self.node.naming.names_of(id)
    }

    /// The connection with this name, on any node.
    ///
    /// # Errors
    /// [`DeliveryError::Disconnected`]: the server cannot be asked.
    pub async fn whereis(&self, name: impl AsRef<str>) -> Result<Option<ClusterRef<P, F>>, DeliveryError> {
        let owner = self.node.whereis(name.as_ref()).await?;
        Ok(owner.map(|owner| owner.within(self.within)))
    }

    /// Waits until the server has received everything that this node has published so far.
    ///
    /// # Errors
    /// [`RemoteError::Disconnected`]: there is no connection to NATS, it is lost while waiting, or the server does not answer in
    /// time.
    /// [`RemoteError::Lost`]: messages published before may not have arrived; the next call does not report them again.
    pub async fn flush(&self) -> Result<(), RemoteError> {
        if self.node.bus.has_left() {
            return Err(RemoteError::Disconnected);
        }
        self.node.bus.flush().await
    }

    /// Leaves the cluster: waits until what was published before is sent, for at most the
    /// [`request_timeout`](ClusterBuilder::request_timeout), then gives up the lease, so that the names of this node are free at
    /// once.
    ///
    /// It ends the node for all of its handles. From this call on, sending to other nodes and asking fail with `Disconnected`,
    /// publishing reaches only members on this node, and the closures of [`node_answers`](Cluster::node_answers) are dropped. Handles
    /// and [`ClusterTopic`]s that a protocol keeps need not be dropped first. The thread of the node and its connection to NATS have
    /// ended when this returns or its future is dropped; in the latter case, the names may be free only when the lease has expired.
    ///
    /// If the last handle is dropped without this call, messages that wait to be sent are dropped, and the names are free when the
    /// lease has expired.
    pub async fn leave(self) {
        self.node.leave().await;
    }

    /// The topic with this name, with its members on all nodes.
    pub fn topic(&self, name: impl AsRef<str>) -> ClusterTopic<P, F> {
        let local = self.node.pool.topic(&name);
        let subject = self.node.topic_subject(name.as_ref());
        ClusterTopic { node: self.node.clone(), local, subject }
    }
}

impl<P: ClusterProtocol, F: Format> Clone for Cluster<P, F> {
    fn clone(&self) -> Self {
        Cluster { node: self.node.clone(), within: self.within }
    }
}

impl<P: ClusterProtocol, F: Format> fmt::Debug for Cluster<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("node", &self.node()).finish_non_exhaustive()
    }
}
