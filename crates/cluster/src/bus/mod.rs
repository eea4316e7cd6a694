//! The way between nodes: NATS, or the memory of this process.

mod local;
mod nats;
mod store;

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::names::Buckets;
use crate::RemoteError;
pub use local::LocalBus;
pub(crate) use local::LocalNode;
pub(crate) use nats::NatsNode;
pub(crate) use store::BucketError;
use store::{nats_bucket, BucketOptions};
pub(crate) use store::{Entry, Store, StoreError};

/// Called with each message of a subscription, one after the other.
pub(crate) type OnMessage = Box<dyn Fn(Bytes) + Send + Sync>;

/// Answers requests. An answer that is not ready at once gets a task of its own: their number is for the callee to limit.
pub(crate) type OnRequest = Box<dyn Fn(Bytes) -> BoxFuture<'static, Bytes> + Send + Sync>;

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// No node has this subject.
    NoResponder,
    Timeout,
    NotSent(RemoteError),
}

/// One node's connection to the others. A node never receives what it has published itself.
pub(crate) enum Bus {
    Local(LocalNode),
    Nats(Box<NatsNode>),
}

/// A subscription, until it is dropped.
pub(crate) enum Subscription {
    Local(#[allow(dead_code, reason = "dropped")] local::LocalSubscription),
    Nats(#[allow(dead_code, reason = "dropped")] nats::NatsSubscription),
}

impl Bus {
    /// Queues a message for the other nodes. Never waits. The messages of one caller keep their order.
    pub(crate) fn publish(&self, subject: &str, payload: Bytes) -> Result<(), RemoteError> {
        match self {
            Bus::Local(node) => node.publish(subject, &payload),
            Bus::Nats(node) => node.publish(subject, payload),
        }
    }

    /// Subscribes to a subject: what other nodes publish after [`confirm`](Bus::confirm) arrives.
    pub(crate) async fn subscribe(&self, subject: String, on_message: OnMessage) -> Result<Subscription, RemoteError> {
        match self {
            Bus::Local(node) => Ok(Subscription::Local(node.subscribe(subject, on_message))),
            Bus::Nats(node) => node.subscribe(subject, on_message).await.map(Subscription::Nats),
        }
    }

    /// Answers the requests of other nodes to a subject, after [`confirm`](Bus::confirm).
    pub(crate) async fn answer(&self, subject: String, on_request: OnRequest) -> Result<Subscription, RemoteError> {
        match self {
            Bus::Local(node) => Ok(Subscription::Local(node.answer(subject, on_request))),
            Bus::Nats(node) => node.answer(subject, on_request).await.map(Subscription::Nats),
        }
    }

    /// Asks the node that answers requests to this subject.
    pub(crate) async fn request(&self, subject: &str, payload: Bytes, within: Duration) -> Result<Bytes, NoAnswer> {
        match self {
            Bus::Local(node) => node.request(subject, payload, within).await,
            Bus::Nats(node) => node.request(subject, payload, within).await,
        }
    }

    /// The buckets for leases and names.
    pub(crate) async fn buckets(&self, prefix: &str, ttl: Duration) -> Result<Buckets, BucketError> {
        match self {
            Bus::Local(node) => node.buckets(prefix, ttl),
            Bus::Nats(node) => node.buckets(prefix, ttl).await,
        }
    }

    /// Returns when the server knows all subscriptions.
    pub(crate) async fn confirm(&self) -> Result<(), RemoteError> {
        match self {
            Bus::Local(_) => Ok(()),
            Bus::Nats(node) => node.confirm().await,
        }
    }

    /// Returns when everything that was published before has reached the server.
    pub(crate) async fn flush(&self) -> Result<(), RemoteError> {
        match self {
            Bus::Local(_) => Ok(()),
            Bus::Nats(node) => node.flush().await,
        }
    }

    /// The largest payload of a message, if there is a limit.
    pub(crate) fn max_payload(&self) -> Option<usize> {
        match self {
            Bus::Local(_) => None,
            Bus::Nats(node) => Some(node.max_payload()),
        }
    }

    /// Whether other nodes can be reached.
    pub(crate) fn is_connected(&self) -> bool {
        match self {
            Bus::Local(_) => true,
            Bus::Nats(node) => node.is_connected(),
        }
    }
}
