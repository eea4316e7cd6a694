//! A node: what its handles and tasks share, and how it starts, delivers and ends.

use std::collections::HashMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_acceptor::telemetry::ObserverKey;
use actix_acceptor::{BoxError, Connection, Pool};
use bytes::Bytes;
use futures::future::FutureExt;
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use tokio::task::AbortHandle;
use tracing::{error, warn};

use crate::bus::{Bus, Subscription};
use crate::cluster::ClusterProtocol;
use crate::envelope::{self, Kind, Refused};
use crate::naming::{self, Naming};
use crate::observer::Follow;
use crate::requests::Answer;
use crate::runtime::Runtime;
use crate::subject::token;
use crate::subscriptions::{self, Subscriptions};
use crate::{Format, RemoteError};

/// A node.
pub(crate) struct Node<P: ClusterProtocol, F: Format> {
    pub(crate) pool: Pool<Connection<P>>,
    pub(crate) bus: Bus,
    pub(crate) runtime: Runtime,
    pub(crate) format: F,
    pub(crate) name: Arc<str>,
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
    pub(crate) runtime: Runtime,
    pub(crate) format: F,
    pub(crate) name: Arc<str>,
    pub(crate) prefix: String,
    pub(crate) ttl: Duration,
    pub(crate) request_timeout: Duration,
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    /// Starts the tasks of the node. Without `starts_alone`, it is an error if the node cannot join the others at once.
    pub(crate) async fn start(parts: NodeParts<P, F>, starts_alone: bool) -> Result<Arc<Self>, BoxError> {
        let NodeParts { pool, bus, runtime, format, name, prefix, ttl, request_timeout } = parts;
        let node = Arc::new(Node {
            naming: Naming::new(&name, ttl),
            pool,
            bus,
            runtime,
            format,
            name,
            prefix,
            request_timeout,
            subscriptions: Subscriptions::new(),
            answers: RwLock::default(),
            refused: AtomicU64::new(0),
            observer: OnceLock::new(),
            requests: OnceLock::new(),
            tasks: Mutex::default(),
        });
        let _ = node.observer.set(node.pool.add_observer(Follow(Arc::downgrade(&node))));
        // Topics that have members already.
        node.pool.topics().iter().for_each(|(topic, _)| node.subscriptions.changed(topic));
        match node.join().await {
            Err(error) if !starts_alone => return Err(error),
            Err(error) => warn!(node = &*node.name, %error, "the node starts alone"),
            Ok(()) => {}
        }
        let subscribe = node.runtime.spawn(subscriptions::follow(Arc::downgrade(&node), node.subscriptions.clone()));
        let keep = node.runtime.spawn(naming::keep(Arc::downgrade(&node)));
        node.tasks.lock().extend([subscribe.abort_handle(), keep.abort_handle()]);
        Ok(node)
    }

    /// Answers the requests of other nodes, and takes the lease.
    async fn join(self: &Arc<Self>) -> Result<(), BoxError> {
        self.answer_requests().await?;
        self.take_lease().await?;
        Ok(())
    }

    /// The subject of a topic, or the length that it would have.
    pub(crate) fn topic_subject(&self, topic: &str) -> Result<String, usize> {
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

    pub(crate) async fn answer_requests(self: &Arc<Self>) -> Result<(), RemoteError> {
        if self.requests.get().is_some() {
            return Ok(());
        }
        let node = Arc::downgrade(self);
        let on_page = move |request: Bytes| {
            let answer = node.upgrade().map(|node| node.answer_page(&request)).unwrap_or_default();
            futures::future::ready(answer).boxed()
        };
        let pages = self.bus.answer(self.presence_subject(&self.name).unwrap_or_default(), Box::new(on_page)).await?;
        // The builder has checked the name.
        let subject = self.node_subject(&self.name).unwrap_or_default();
        let node = Arc::downgrade(self);
        let on_request = move |request: Bytes| match node.upgrade() {
            Some(node) => node.handle(request),
            None => futures::future::ready(Bytes::new()).boxed(),
        };
        let requests = self.bus.answer(subject, Box::new(on_request)).await?;
        self.bus.confirm().await?;
        let _ = self.requests.set([requests, pages]);
        Ok(())
    }

    /// Ends the tasks of the node.
    pub(crate) fn stop(&self) {
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
    pub(crate) fn deliver(&self, topic: &str, payload: &[u8]) {
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
                warn!(node = &*self.name, topic, error = %refused, "a message of another node was refused")
            }
            Err(_) => error!(node = &*self.name, topic, "panic while a message of another node was delivered"),
        }
        self.refused.fetch_add(1, Relaxed);
    }
}

impl<P: ClusterProtocol, F: Format> Drop for Node<P, F> {
    fn drop(&mut self) {
        self.stop();
    }
}
