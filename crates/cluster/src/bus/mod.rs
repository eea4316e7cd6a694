//! The connection between nodes: NATS, or the memory of this process.

mod local;
mod nats;
mod store;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;

/// Where messages are published. Its clones share the text.
pub(crate) use async_nats::Subject;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::counters::Counters;
use crate::info::LinkInfo;
use crate::names::Buckets;
use crate::settings::{NatsSettings, Servers};
use crate::{ConnectError, RemoteError};
pub use local::LocalBus;
use local::LocalNode;
use nats::NatsNode;
pub(crate) use store::BucketError;
#[cfg(test)]
pub(crate) use store::LocalStore;
use store::{nats_bucket, BucketOptions};
pub(crate) use store::{Entry, Store, StoreError};

/// Called with each message of a subscription, one after the other.
pub(crate) type OnMessage = Box<dyn Fn(Bytes) + Send + Sync>;

/// Answers requests. An answer that is not ready at once gets its own task; the callee has to limit their number.
pub(crate) type OnRequest = Box<dyn Fn(Bytes) -> BoxFuture<'static, Bytes> + Send + Sync>;

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// No node has this subject.
    NoResponder,
    Timeout,
    NotSent(RemoteError),
}

/// A snapshot of a node's connection to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkState {
    pub(crate) is_connected: bool,
    /// How many connections there were. Each needs its subscriptions to be confirmed.
    pub(crate) connects: u64,
}

/// A node's connection to the others. A node never receives what it has published itself.
pub(crate) struct Bus {
    way: Way,
    pub(crate) counters: Arc<Counters>,
    /// Whether the node is leaving or has left: nothing more is sent for its handles.
    has_left: watch::Sender<bool>,
}

enum Way {
    Local(LocalNode),
    Nats(Box<NatsNode>),
}

/// A subscription, until it is dropped.
pub(crate) enum Subscription {
    Local(#[allow(dead_code, reason = "dropped")] local::LocalSubscription),
    Nats(nats::NatsSubscription),
}

impl Subscription {
    /// Whether the server does not permit it, as far as it has answered.
    pub(crate) fn is_refused(&self) -> bool {
        match self {
            Subscription::Local(_) => false,
            Subscription::Nats(subscription) => subscription.is_refused(),
        }
    }
}

impl Bus {
    pub(crate) fn local(bus: &LocalBus) -> Self {
        let counters = Arc::default();
        Bus { way: Way::Local(bus.node(&counters)), counters, has_left: watch::Sender::default() }
    }

    pub(crate) async fn nats(
        settings: NatsSettings,
        servers: Servers,
        node: &str,
        ttl: Duration,
    ) -> Result<Self, ConnectError> {
        let counters = Arc::default();
        let connected = NatsNode::connect(settings, servers, node, ttl, Arc::clone(&counters)).await?;
        Ok(Bus { way: Way::Nats(Box::new(connected)), counters, has_left: watch::Sender::default() })
    }

    /// Refuses what handles of the node ask for from now on. What was published before can still be flushed.
    pub(crate) fn leave(&self) {
        self.has_left.send_replace(true);
    }

    pub(crate) fn has_left(&self) -> bool {
        *self.has_left.borrow()
    }

    /// Returns the output of an operation, or an error once the node leaves.
    pub(crate) async fn unless_left<T>(&self, operation: impl Future<Output = T>) -> Result<T, RemoteError> {
        let mut has_left = self.has_left.subscribe();
        tokio::select! {
            biased;
            // Cannot fail: `self` owns the sender.
            _ = has_left.wait_for(|has_left| *has_left) => Err(RemoteError::Disconnected),
            output = operation => Ok(output),
        }
    }

    /// Ends the connection. What was not sent is dropped and counted.
    pub(crate) async fn close(&self) {
        match &self.way {
            Way::Local(_) => {}
            Way::Nats(node) => node.close().await,
        }
    }

    /// Queues a message for the other nodes. Never waits. The messages of one caller keep their order.
    pub(crate) fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), RemoteError> {
        if self.has_left() {
            return Err(RemoteError::Disconnected);
        }
        match &self.way {
            Way::Local(node) => node.publish(subject, &payload),
            Way::Nats(node) => node.publish(subject, payload),
        }?;
        self.counters.published.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Subscribes to a subject: what other nodes publish after [`confirm`](Bus::confirm) arrives.
    pub(crate) async fn subscribe(&self, subject: Subject, on_message: OnMessage) -> Result<Subscription, RemoteError> {
        match &self.way {
            Way::Local(node) => Ok(Subscription::Local(node.subscribe(subject.to_string(), on_message))),
            Way::Nats(node) => node.subscribe(subject, on_message).await.map(Subscription::Nats),
        }
    }

    /// Answers the requests of other nodes to a subject, after [`confirm`](Bus::confirm).
    pub(crate) async fn answer(&self, subject: String, on_request: OnRequest) -> Result<Subscription, RemoteError> {
        match &self.way {
            Way::Local(node) => Ok(Subscription::Local(node.answer(subject, on_request))),
            Way::Nats(node) => node.answer(subject, on_request).await.map(Subscription::Nats),
        }
    }

    /// Asks the node that answers requests to this subject.
    pub(crate) async fn request(&self, subject: &str, payload: Bytes, within: Duration) -> Result<Bytes, NoAnswer> {
        if self.has_left() {
            return Err(NoAnswer::NotSent(RemoteError::Disconnected));
        }
        match &self.way {
            Way::Local(node) => node.request(subject, payload, within).await,
            Way::Nats(node) => node.request(subject, payload, within).await,
        }
    }

    /// The buckets for leases and names.
    pub(crate) async fn buckets(&self, prefix: &str, ttl: Duration) -> Result<Buckets, BucketError> {
        match &self.way {
            Way::Local(node) => node.buckets(prefix, ttl),
            Way::Nats(node) => node.buckets(prefix, ttl).await,
        }
    }

    /// Makes a new connection to the server.
    pub(crate) async fn reconnect(&self) {
        match &self.way {
            Way::Local(_) => {}
            Way::Nats(node) => node.reconnect().await,
        }
    }

    /// How many subscriptions the server has refused without naming them.
    pub(crate) fn unnamed_refusals(&self) -> u64 {
        match &self.way {
            Way::Local(_) => 0,
            Way::Nats(node) => node.unnamed_refusals(),
        }
    }

    /// Returns when the server has handled all subscriptions. It may have [refused](Subscription::is_refused) some.
    pub(crate) async fn confirm(&self) -> Result<(), RemoteError> {
        match &self.way {
            Way::Local(_) => Ok(()),
            Way::Nats(node) => node.confirm().await,
        }
    }

    /// Returns when everything that was published before has reached the server.
    pub(crate) async fn flush(&self) -> Result<(), RemoteError> {
        match &self.way {
            Way::Local(_) => Ok(()),
            Way::Nats(node) => node.flush().await,
        }
    }

    /// The largest payload of a message, if there is a limit.
    pub(crate) fn max_payload(&self) -> Option<usize> {
        match &self.way {
            Way::Local(_) => None,
            Way::Nats(node) => Some(node.max_payload()),
        }
    }

    /// Whether other nodes can be reached.
    pub(crate) fn is_connected(&self) -> bool {
        !self.has_left()
            && match &self.way {
                Way::Local(_) => true,
                Way::Nats(node) => node.is_connected(),
            }
    }

    /// Follows whether there is a connection.
    pub(crate) fn link_state(&self) -> watch::Receiver<LinkState> {
        match &self.way {
            Way::Local(node) => node.link_state(),
            Way::Nats(node) => node.link_state(),
        }
    }

    pub(crate) fn link_info(&self) -> LinkInfo {
        match &self.way {
            Way::Local(_) => LinkInfo::default(),
            Way::Nats(node) => node.link_info(),
        }
    }
}
