//! The way between nodes: NATS, or the memory of this process.

mod local;
mod nats;
mod store;

use bytes::Bytes;

use crate::RemoteError;
pub use local::LocalBus;
pub(crate) use local::LocalNode;
pub(crate) use nats::{NatsNode, NatsOptions};
pub(crate) use store::{nats_bucket, BucketOptions, Entry, Store, StoreError};

/// Called with each message of a subscription, one after the other.
pub(crate) type OnMessage = Box<dyn Fn(Bytes) + Send + Sync>;

/// One node's connection to the others. A node never receives what it has published itself.
pub(crate) enum Bus {
    Local(LocalNode),
    Nats(NatsNode),
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

    /// Subscribes to a subject. When it returns, what other nodes publish from now on arrives.
    pub(crate) async fn subscribe(&self, subject: String, on_message: OnMessage) -> Result<Subscription, RemoteError> {
        match self {
            Bus::Local(node) => Ok(Subscription::Local(node.subscribe(subject, on_message))),
            Bus::Nats(node) => node.subscribe(subject, on_message).await.map(Subscription::Nats),
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
