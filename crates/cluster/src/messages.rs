//! Messages to one connection on any node, and questions to nodes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Handler};
use actix_acceptor::{Connection, ConnectionContext, ConnectionId};
use futures::future::join_all;

use crate::cluster::{Cluster, ClusterProtocol};
use crate::connection::{ClusterRef, Question};
use crate::direct::{Asks, Expects};
use crate::node::Node;
use crate::presence::Member;
use crate::requests::MAX_WITHIN;
use crate::{DeliveryError, Format};

impl<P: ClusterProtocol, F: Format> Cluster<P, F> {
    /// Returns a handle with this time limit for requests to other nodes: [`send`](Cluster::send), [`notify`](Cluster::notify),
    /// [`ask`](Cluster::ask), [`ask_node`](Cluster::ask_node), [`ask_nodes`](Cluster::ask_nodes), and the references of
    /// [`whereis`](Cluster::whereis), [`connection`](Cluster::connection) and [`member`](Cluster::member).
    ///
    /// A limit above 1 hour counts as 1 hour. Default: [`request_timeout`](crate::ClusterBuilder::request_timeout).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use actix::Message;
    /// # use actix_acceptor::Next;
    /// # use actix_acceptor_cluster::{Cluster, DeliveryError, Question};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Message, Serialize, Deserialize)]
    /// # #[rtype(result = "usize")]
    /// # struct Load;
    /// # impl Question for Load { const NAME: &'static str = "load"; }
    /// # actix::System::new().block_on(async {
    /// # let pool = support::guests(|_, _| Next::Continue).await;
    /// let cluster = Cluster::local().node("a").connect(&pool).await?;
    /// cluster.node_answers(|_: Load| std::future::pending());
    /// let late = cluster.within(Duration::from_millis(10)).ask_node("a", Load).await;
    /// assert!(matches!(late, Err(DeliveryError::Timeout)));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    #[must_use = "the time limit applies to the returned handle"]
    pub fn within(&self, limit: Duration) -> Self {
        Cluster { node: self.node.clone(), within: limit.min(MAX_WITHIN) }
    }

    /// Sends a reply to the peer of the connection with this name.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn send(&self, name: impl AsRef<str>, reply: impl Into<P::Reply>) -> Result<(), DeliveryError> {
        self.limited(async { self.owner(name.as_ref()).await?.send(reply).await }).await
    }

    /// Sends a message to the connection with this name.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn notify(&self, name: impl AsRef<str>, message: P::User) -> Result<(), DeliveryError> {
        self.limited(async { self.owner(name.as_ref()).await?.notify(message).await }).await
    }

    /// Sends a message with a result to the connection with this name, and waits for the result.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn ask<M: Question>(&self, name: impl AsRef<str>, question: M) -> Result<M::Result, DeliveryError> {
        self.limited(async { self.owner(name.as_ref()).await?.ask(question).await }).await
    }

    async fn owner(&self, name: &str) -> Result<ClusterRef<P, F>, DeliveryError> {
        self.whereis(name).await?.ok_or(DeliveryError::NoOwner)
    }

    async fn limited<T>(&self, asked: impl Future<Output = Result<T, DeliveryError>>) -> Result<T, DeliveryError> {
        tokio::time::timeout(self.within, asked).await.unwrap_or(Err(DeliveryError::Timeout))
    }

    /// A reference to the connection with this id on the node that has this name whenever a message is sent. After a restart of the
    /// node, the id may belong to another connection; a reference from [`member`](Cluster::member) is valid only until the node
    /// restarts.
    ///
    /// ```
    /// # use actix_acceptor::Next;
    /// # use actix_acceptor_cluster::{Cluster, DeliveryError};
    /// # use support::{connect, guests};
    /// # actix::System::new().block_on(async {
    /// # let pool = guests(|_, _| Next::Continue).await;
    /// let cluster = Cluster::local().node("a").connect(&pool).await?;
    /// # let mut peer = connect(&pool).await;
    /// # peer.expect(b"welcome\n").await;
    /// # // A peer has connected.
    /// let id = pool.list()[0].id;
    /// cluster.connection("a", id).send("hello").await?;
    /// # peer.expect(b"hello\n").await;
    /// assert!(matches!(cluster.connection("b", id).send("hello").await, Err(DeliveryError::NoOwner)));
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn connection(&self, node: impl AsRef<str>, id: ConnectionId) -> ClusterRef<P, F> {
        ClusterRef { here: self.node.clone(), node: node.as_ref().into(), expects: None, id, within: self.within }
    }

    /// A reference to the connection of a member of a topic. After a restart of its node, messages fail with
    /// [`NoOwner`](DeliveryError::NoOwner), even if another connection of the node has the same id.
    ///
    /// ```
    /// # use actix_acceptor::Next;
    /// # use actix_acceptor_cluster::Cluster;
    /// # use support::{connect, guests};
    /// # actix::System::new().block_on(async {
    /// # let pool = guests(|_, _| Next::Continue).await;
    /// let cluster = Cluster::local().connect(&pool).await?;
    /// # let mut peer = connect(&pool).await;
    /// # peer.expect(b"welcome\n").await;
    /// for member in cluster.topic("lobby").presence(None, 100).await?.members {
    ///     cluster.member(&member).send("hello").await?;
    /// }
    /// # peer.expect(b"hello\n").await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn member(&self, member: &Member) -> ClusterRef<P, F> {
        let expects = Some(Expects::Life(member.life));
        ClusterRef { here: self.node.clone(), node: member.node.clone(), expects, id: member.id, within: self.within }
    }

    /// Answers questions of this type that other nodes ask connections of this node. Call it once on every node.
    pub fn answers<M: Question>(&self)
    where
        Connection<P>: Actor<Context = ConnectionContext<P>> + Handler<M>,
    {
        self.node.answers.add_of_connections::<M>();
    }

    /// Answers questions of this type that this node is asked with [`ask_node`](Cluster::ask_node) or
    /// [`ask_nodes`](Cluster::ask_nodes). Calling it again replaces the answer.
    ///
    /// The closure and its future run on the thread of the node, which also renews the lease, or on the thread of a caller on this
    /// node. They must not block; use [`tokio::task::spawn_blocking`]. The future is dropped when the asker no longer waits. If it
    /// panics, the asker gets [`DeliveryError::Refused`]. A node answers at most 1,024 questions at a time, including those to its
    /// connections.
    ///
    /// A closure that owns a handle to this node keeps the node running until [`leave`](Cluster::leave), which drops the closure.
    pub fn node_answers<M: Question, A>(&self, answer: impl Fn(M) -> A + Send + Sync + 'static)
    where
        A: Future<Output = M::Result> + Send + 'static,
    {
        self.node.answers.add_of_node(answer);
    }

    /// Asks the node with this name, which may be this one.
    ///
    /// # Errors
    /// See [`DeliveryError`]; [`NoOwner`](DeliveryError::NoOwner) if there is no such node.
    pub async fn ask_node<M: Question>(&self, node: impl AsRef<str>, question: M) -> Result<M::Result, DeliveryError> {
        let body = self.node.encode(&question)?;
        self.node.ask_question::<M>(node.as_ref(), None, &body, self.within).await
    }

    /// Asks all nodes that have a lease, concurrently. Returns the answer of each, sorted by node name.
    ///
    /// ```
    /// # use actix::Message;
    /// # use actix_acceptor::Next;
    /// # use actix_acceptor_cluster::{Cluster, LocalBus, NodeAnswer, Question};
    /// # use serde::{Deserialize, Serialize};
    /// # use support::guests;
    /// /// How many connections a node has.
    /// #[derive(Message, Serialize, Deserialize)]
    /// #[rtype(result = "usize")]
    /// struct Load;
    ///
    /// impl Question for Load {
    ///     const NAME: &'static str = "load";
    /// }
    ///
    /// # actix::System::new().block_on(async {
    /// # let bus = LocalBus::new();
    /// # let (mut nodes, mut pools) = (Vec::new(), Vec::new());
    /// # for name in ["a", "b"] {
    /// #     let pool = guests(|_, _| Next::Continue).await;
    /// #     let cluster = Cluster::on(&bus).node(name).connect(&pool).await?;
    /// // On every node:
    /// let connections = pool.clone();
    /// cluster.node_answers(move |_: Load| std::future::ready(connections.connections()));
    /// #     nodes.push(cluster);
    /// #     pools.push(pool);
    /// # }
    /// # let cluster = &nodes[0];
    ///
    /// for NodeAnswer { node, answer, .. } in cluster.ask_nodes(Load).await? {
    ///     println!("{node} has {} connections", answer?);
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    ///
    /// # Errors
    /// [`DeliveryError::Disconnected`] or [`DeliveryError::Timeout`]: the server cannot be asked which nodes there are.
    /// [`DeliveryError::Format`]: the question cannot be encoded.
    pub async fn ask_nodes<M: Question>(&self, question: M) -> Result<Vec<NodeAnswer<M>>, DeliveryError> {
        let body = self.node.encode(&question)?;
        let nodes = self.limited(async { self.node.nodes().await.map_err(|_| DeliveryError::Disconnected) }).await?;
        let asked = nodes.into_iter().map(async |(name, incarnation)| {
            let expects = Some(Expects::Lease(incarnation));
            let answer = self.node.ask_question::<M>(&name, expects, &body, self.within).await;
            NodeAnswer { node: name.into(), answer }
        });
        Ok(join_all(asked).await)
    }
}

/// The answer of a node to a question.
#[non_exhaustive]
pub struct NodeAnswer<M: Question> {
    /// The name of the node.
    pub node: Arc<str>,
    /// Its answer, or why there is none.
    pub answer: Result<M::Result, DeliveryError>,
}

impl<M: Question<Result: fmt::Debug>> fmt::Debug for NodeAnswer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeAnswer").field("node", &self.node).field("answer", &self.answer).finish()
    }
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    async fn ask_question<M: Question>(
        self: &Arc<Self>,
        node: &str,
        expects: Option<Expects>,
        body: &[u8],
        within: Duration,
    ) -> Result<M::Result, DeliveryError> {
        let answer = self.ask(node, expects, Asks::NodeQuestion(M::NAME.to_owned()), body, within).await?;
        self.format.decode(&answer).map_err(DeliveryError::Format)
    }
}
