//! [`Cluster`], the handle of a node.

use std::collections::HashMap;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use actix_acceptor::messages::EncodeOnce;
use actix_acceptor::telemetry::ObserverKey;
use actix_acceptor::{Conn, Connection, Framing, Next, Pool, Protocol};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::Serialize;
use tokio::task::AbortHandle;
use tracing::{error, warn};

use crate::bus::{Bus, LocalBus, Subscription};
use crate::envelope::{self, Kind, Refused};
use crate::observer::Follow;
use crate::subject::token;
use crate::subscriptions::Subscriptions;
use crate::topic::ClusterTopic;
use crate::{ClusterBuilder, Format, Postcard, RemoteError};

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
    pool: Pool<Connection<P>>,
    bus: Bus,
    format: F,
    node: Arc<str>,
    prefix: String,
    pub(crate) subscriptions: Arc<Subscriptions>,
    observer: ObserverKey,
    task: OnceLock<AbortHandle>,
    refused: AtomicU64,
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
    pub(crate) fn start(pool: Pool<Connection<P>>, bus: Bus, format: F, node: Arc<str>, prefix: String) -> Self {
        let subscriptions = Subscriptions::new();
        let observer = pool.add_observer(Follow(Arc::downgrade(&subscriptions)));
        // Topics that have members already.
        pool.topics().iter().for_each(|(topic, _)| subscriptions.changed(topic));
        let shared = Arc::new(Shared {
            pool,
            bus,
            format,
            node,
            prefix,
            subscriptions: subscriptions.clone(),
            observer,
            task: OnceLock::new(),
            refused: AtomicU64::new(0),
        });
        let task = tokio::spawn(follow(Arc::downgrade(&shared), subscriptions));
        let _ = shared.task.set(task.abort_handle());
        Cluster(shared)
    }

    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.0.node
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
        self.pool.remove_observer(self.observer);
        if let Some(task) = self.task.get() {
            task.abort();
        }
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
