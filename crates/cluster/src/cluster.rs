//! [`Cluster`], the handle of a node.

use std::collections::HashMap;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use actix::{Actor, Handler};
use actix_acceptor::messages::EncodeOnce;
use actix_acceptor::telemetry::ObserverKey;
use actix_acceptor::{BoxError, Conn, Connection, ConnectionContext, Framing, Next, Pool, Protocol};
use bytes::Bytes;
use futures::future::FutureExt;
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use serde::Serialize;
use tokio::task::AbortHandle;
use tracing::{error, warn};

use crate::bus::{Bus, LocalBus, Subscription};
use crate::connection::{ClusterRef, Question};
use crate::envelope::{self, Kind, Refused};
use crate::naming::{self, Naming};
use crate::observer::Follow;
use crate::requests::{self, Answer};
use crate::subject::token;
use crate::subscriptions::Subscriptions;
use crate::topic::ClusterTopic;
use crate::{ClusterBuilder, DeliveryError, Format, Postcard, RegisterError, RemoteError};

/// After a subscription has failed, it is tried again after this time.
const RETRY: Duration = Duration::from_millis(500);

/// A protocol whose replies and messages can be sent to other nodes.
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

/// The type parameter of [`Cluster::nats`] and [`Cluster::local`], which are not about a protocol.
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

/// A handle of this node of a cluster: cheap to clone, usable from any thread. The node leaves the cluster when the last one is
/// dropped.
pub struct Cluster<P: ClusterProtocol, F: Format = Postcard>(Arc<Shared<P, F>>);

/// A node.
pub(crate) struct Shared<P: ClusterProtocol, F: Format> {
    pub(crate) pool: Pool<Connection<P>>,
    pub(crate) bus: Bus,
    pub(crate) format: F,
    pub(crate) node: Arc<str>,
    pub(crate) prefix: String,
    pub(crate) request_timeout: Duration,
    pub(crate) subscriptions: Arc<Subscriptions>,
    pub(crate) naming: Naming,
    pub(crate) answers: RwLock<HashMap<&'static str, Arc<Answer<P, F>>>>,
    pub(crate) refused: AtomicU64,
    observer: OnceLock<ObserverKey>,
    /// The subscription to requests for this node.
    requests: OnceLock<[Subscription; 2]>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// What a node is made of.
pub(crate) struct NodeParts<P: ClusterProtocol, F> {
    pub(crate) pool: Pool<Connection<P>>,
    pub(crate) bus: Bus,
    pub(crate) format: F,
    pub(crate) node: Arc<str>,
    pub(crate) prefix: String,
    pub(crate) ttl: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) starts_alone: bool,
}

impl Cluster<Unconnected> {
    /// A node that reaches the others through NATS. `server` is a URL, such as `nats://127.0.0.1:4222` or `tls://nats.example:4222`,
    /// or several of one NATS cluster, separated by commas.
    pub fn nats(server: impl AsRef<str>) -> ClusterBuilder {
        ClusterBuilder::nats(server.as_ref().split(',').map(|server| server.trim().to_owned()).collect())
    }

    /// A node without other nodes, and without a server.
    pub fn local() -> ClusterBuilder {
        Self::on(&LocalBus::new())
    }

    /// A node that reaches the other nodes of this process, without a server.
    pub fn on(bus: &LocalBus) -> ClusterBuilder {
        ClusterBuilder::local(bus.clone())
    }
}

impl<P: ClusterProtocol, F: Format> Cluster<P, F> {
    pub(crate) async fn start(parts: NodeParts<P, F>) -> Result<Self, BoxError> {
        let NodeParts { pool, bus, format, node, prefix, ttl, request_timeout, starts_alone } = parts;
        let shared = Arc::new(Shared {
            naming: Naming::new(&node, ttl),
            pool,
            bus,
            format,
            node,
            prefix,
            request_timeout,
            subscriptions: Subscriptions::new(),
            answers: RwLock::default(),
            refused: AtomicU64::new(0),
            observer: OnceLock::new(),
            requests: OnceLock::new(),
            tasks: Mutex::default(),
        });
        let _ = shared.observer.set(shared.pool.add_observer(Follow(Arc::downgrade(&shared))));
        // Topics that have members already.
        shared.pool.topics().iter().for_each(|(topic, _)| shared.subscriptions.changed(topic));
        let joined = async {
            shared.answer_requests().await?;
            shared.take_lease().await?;
            Ok::<_, BoxError>(())
        };
        match joined.await {
            Err(error) if !starts_alone => return Err(error),
            Err(error) => warn!(node = &*shared.node, %error, "the node starts alone"),
            Ok(()) => {}
        }
        let follow = tokio::spawn(follow(Arc::downgrade(&shared), shared.subscriptions.clone()));
        let keep = tokio::spawn(naming::keep(Arc::downgrade(&shared)));
        shared.tasks.lock().extend([follow.abort_handle(), keep.abort_handle()]);
        Ok(Cluster(shared))
    }

    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.0.node
    }

    /// The names of the nodes that have a lease, sorted.
    ///
    /// # Errors
    /// [`DeliveryError::Disconnected`]: the server cannot be asked.
    pub async fn nodes(&self) -> Result<Vec<String>, DeliveryError> {
        let nodes = self.0.nodes().await.map_err(|_| DeliveryError::Disconnected)?;
        Ok(nodes.into_iter().map(|(name, _)| name).collect())
    }

    /// The pool of this node.
    pub fn pool(&self) -> &Pool<Connection<P>> {
        &self.0.pool
    }

    /// Whether the other nodes can be reached at the moment.
    pub fn is_connected(&self) -> bool {
        self.0.bus.is_connected()
    }

    /// How many messages of other nodes were refused: of an unknown version, or not readable.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// Registers a name for a connection of this node, unique over all nodes, until the connection ends or releases it.
    ///
    /// In a callback: `conn.wait(cluster.register(conn, "ann"), |registered, me, conn| ..)`.
    ///
    /// # Errors
    /// See [`RegisterError`].
    pub fn register(
        &self,
        conn: &Conn<P>,
        name: impl AsRef<str>,
    ) -> impl Future<Output = Result<(), RegisterError>> + Send + 'static {
        self.0.clone().register(conn.id(), name.as_ref().into(), false)
    }

    /// As [`register`](Cluster::register), but a connection that has the name loses it, on whatever node it is, and is closed.
    ///
    /// # Errors
    /// See [`RegisterError`]; never [`RegisterError::Taken`].
    pub fn register_replacing(
        &self,
        conn: &Conn<P>,
        name: impl AsRef<str>,
    ) -> impl Future<Output = Result<(), RegisterError>> + Send + 'static {
        self.0.clone().register(conn.id(), name.as_ref().into(), true)
    }

    /// Releases a name. Returns false if this connection does not have it.
    pub fn unregister(&self, conn: &Conn<P>, name: impl AsRef<str>) -> impl Future<Output = bool> + Send + 'static {
        let (shared, id, name) = (self.0.clone(), conn.id(), name.as_ref().to_owned());
        async move { shared.unregister(id, &name).await }
    }

    /// The connection with this name, on any node.
    ///
    /// # Errors
    /// [`DeliveryError::Disconnected`]: the server cannot be asked.
    pub async fn whereis(&self, name: impl AsRef<str>) -> Result<Option<ClusterRef<P, F>>, DeliveryError> {
        self.0.whereis(name.as_ref()).await
    }

    /// Sends a reply to the peer of the connection with this name.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn send(&self, name: impl AsRef<str>, reply: impl Into<P::Reply>) -> Result<(), DeliveryError> {
        self.owner(name.as_ref()).await?.send(reply).await
    }

    /// Sends a message to the connection with this name.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn notify(&self, name: impl AsRef<str>, message: P::User) -> Result<(), DeliveryError> {
        self.owner(name.as_ref()).await?.notify(message).await
    }

    /// Sends a message with a result to the connection with this name, and waits for the result.
    ///
    /// # Errors
    /// See [`DeliveryError`].
    pub async fn ask<M: Question>(&self, name: impl AsRef<str>, question: M) -> Result<M::Result, DeliveryError> {
        self.owner(name.as_ref()).await?.ask(question).await
    }

    async fn owner(&self, name: &str) -> Result<ClusterRef<P, F>, DeliveryError> {
        self.0.whereis(name).await?.ok_or(DeliveryError::NoOwner)
    }

    /// Answers questions of this type that other nodes ask connections of this one. Call it once on every node.
    pub fn answers<M: Question>(&self)
    where
        Connection<P>: Actor<Context = ConnectionContext<P>> + Handler<M>,
    {
        self.0.answers.write().insert(M::NAME, Arc::new(requests::answer::<P, F, M>()));
    }

    /// Leaves the cluster: the names of this node are free at once. Without this call they are free when the lease has run out.
    pub async fn leave(self) {
        self.0.stop();
        self.0.leave().await;
    }

    /// The topic with this name, with its members on all nodes.
    pub fn topic(&self, name: impl AsRef<str>) -> ClusterTopic<P, F> {
        let local = self.0.pool.topic(&name);
        let subject = self.0.topic_subject(name.as_ref()).map(Arc::from);
        ClusterTopic { shared: self.0.clone(), local, subject }
    }
}

impl<P: ClusterProtocol, F: Format> Shared<P, F> {
    /// The subject of a topic, or the length that it would have.
    fn topic_subject(&self, topic: &str) -> Result<String, usize> {
        token(topic).map(|token| format!("{}.topic.{token}", self.prefix)).ok_or(topic.len())
    }

    /// The subject of requests for a node.
    pub(crate) fn node_subject(&self, node: &str) -> Option<String> {
        token(node).map(|token| format!("{}.node.{token}", self.prefix))
    }

    /// The subject of requests for pages of topics.
    pub(crate) fn presence_subject(&self, node: &str) -> Option<String> {
        token(node).map(|token| format!("{}.presence.{token}", self.prefix))
    }

    async fn answer_requests(self: &Arc<Self>) -> Result<(), RemoteError> {
        if self.requests.get().is_some() {
            return Ok(());
        }
        let node = Arc::downgrade(self);
        let on_page = move |request: Bytes| {
            let answer = node.upgrade().map(|node| node.answer_page(&request)).unwrap_or_default();
            futures::future::ready(answer).boxed()
        };
        let pages = self.bus.answer(self.presence_subject(&self.node).unwrap_or_default(), Box::new(on_page)).await?;
        // The builder has checked the name.
        let subject = self.node_subject(&self.node).unwrap_or_default();
        let node = Arc::downgrade(self);
        let on_request = move |request: Bytes| match node.upgrade() {
            Some(node) => node.handle(request),
            None => futures::future::ready(Bytes::new()).boxed(),
        };
        let requests = self.bus.answer(subject, Box::new(on_request)).await?;
        let _ = self.requests.set([requests, pages]);
        Ok(())
    }

    /// Ends the tasks of the node.
    fn stop(&self) {
        if let Some(observer) = self.observer.get() {
            self.pool.remove_observer(*observer);
        }
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }

    pub(crate) fn send(&self, subject: &str, kind: Kind, body: &impl Serialize) -> Result<(), RemoteError> {
        let envelope = envelope::encode(&self.format, kind, body).map_err(RemoteError::Format)?;
        self.bus.publish(subject, envelope)
    }

    /// Passes a message of another node to the members on this one.
    fn deliver(&self, topic: &str, payload: &[u8]) {
        let delivered = catch_unwind(AssertUnwindSafe(|| -> Result<(), Refused> {
            let (kind, body) = envelope::open(payload)?;
            let topic = self.pool.topic(topic);
            match kind {
                Kind::Reply => drop(topic.publish(envelope::decode::<P::Reply>(&self.format, body)?)),
                Kind::Message => drop(topic.notify(envelope::decode(&self.format, body)?)),
            }
            Ok(())
        }));
        match delivered {
            Ok(Ok(())) => return,
            Ok(Err(refused)) => {
                warn!(node = &*self.node, topic, error = %refused, "a message of another node was refused")
            }
            Err(_) => error!(node = &*self.node, topic, "panic while a message of another node was delivered"),
        }
        self.refused.fetch_add(1, Relaxed);
    }

    async fn subscribe(self: &Arc<Self>, topic: &Arc<str>) -> Result<Option<Subscription>, RemoteError> {
        let Ok(subject) = self.topic_subject(topic) else {
            warn!(node = &*self.node, topic = &**topic, "the name is too long for a topic of a cluster");
            return Ok(None);
        };
        let (node, name) = (Arc::downgrade(self), topic.clone());
        let on_message = move |payload: Bytes| {
            if let Some(node) = node.upgrade() {
                node.deliver(&name, &payload);
            }
        };
        self.bus.subscribe(subject, Box::new(on_message)).await.map(Some)
    }
}

/// Subscribes to the topics that have members on this node, and ends the subscriptions of others.
async fn follow<P: ClusterProtocol, F: Format>(node: Weak<Shared<P, F>>, changes: Arc<Subscriptions>) {
    let mut subscribed: HashMap<Arc<str>, Option<Subscription>> = HashMap::new();
    loop {
        for topic in changes.take().await {
            let Some(node) = node.upgrade() else { return };
            let has_members = !node.pool.topic(&*topic).is_empty();
            if has_members && !subscribed.contains_key(&topic) {
                match node.subscribe(&topic).await {
                    Ok(subscription) => {
                        subscribed.insert(topic.clone(), subscription);
                        changes.set_confirmed(&topic, true);
                    }
                    Err(error) => {
                        warn!(node = &*node.node, topic = &*topic, %error, "cannot subscribe; trying again");
                        let changes = changes.clone();
                        tokio::spawn(async move {
                            tokio::time::sleep(RETRY).await;
                            changes.changed(&topic);
                        });
                    }
                }
            } else if !has_members && subscribed.remove(&topic).is_some() {
                changes.set_confirmed(&topic, false);
            }
        }
    }
}

impl<P: ClusterProtocol, F: Format> Drop for Shared<P, F> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<P: ClusterProtocol, F: Format> Clone for Cluster<P, F> {
    fn clone(&self) -> Self {
        Cluster(self.0.clone())
    }
}

impl<P: ClusterProtocol, F: Format> fmt::Debug for Cluster<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("node", &self.node()).finish_non_exhaustive()
    }
}
