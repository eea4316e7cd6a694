//! The topics that this node is subscribed to: those that have members here.
//!
//! The events of the pool only say that a topic may have changed. A task then asks the topic for its number of members, so that
//! the order of events from different threads does not matter.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{watch, Notify};
use tracing::warn;

use crate::bus::Subscription;
use crate::cluster::ClusterProtocol;
use crate::node::Node;
use crate::{Format, RemoteError};

/// After a subscription has failed, it is tried again after this time.
const RETRY: Duration = Duration::from_millis(500);

/// What the task has to look at, and what it has done.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    dirty: Mutex<HashSet<Arc<str>>>,
    is_dirty: Notify,
    /// The topics whose subscription the server has confirmed.
    confirmed: watch::Sender<HashSet<Arc<str>>>,
}

impl Subscriptions {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Subscriptions {
            dirty: Mutex::default(),
            is_dirty: Notify::new(),
            confirmed: watch::Sender::new(HashSet::new()),
        })
    }

    /// The members of this topic may have changed.
    pub(crate) fn changed(&self, topic: &str) {
        let mut dirty = self.dirty.lock();
        if !dirty.contains(topic) {
            dirty.insert(topic.into());
        }
        drop(dirty);
        self.is_dirty.notify_one();
    }

    /// Waits for topics to look at.
    pub(crate) async fn take(&self) -> HashSet<Arc<str>> {
        loop {
            let dirty = std::mem::take(&mut *self.dirty.lock());
            if !dirty.is_empty() {
                return dirty;
            }
            self.is_dirty.notified().await;
        }
    }

    fn set_confirmed(&self, added: Vec<Arc<str>>, removed: &[Arc<str>]) {
        self.confirmed.send_modify(|confirmed| {
            for topic in removed {
                confirmed.remove(topic);
            }
            confirmed.extend(added);
        });
    }

    /// Waits until the subscription of this topic is confirmed.
    pub(crate) async fn until_confirmed(&self, topic: &str) {
        // Cannot fail: `self` owns the sender.
        let _ = self.confirmed.subscribe().wait_for(|confirmed| confirmed.contains(topic)).await;
    }
}

/// Subscribes to the topics that have members on this node, and ends the subscriptions to others.
pub(crate) async fn follow<P: ClusterProtocol, F: Format>(node: Weak<Node<P, F>>, changes: Arc<Subscriptions>) {
    let mut subscribed: HashMap<Arc<str>, Option<Subscription>> = HashMap::new();
    loop {
        let topics = changes.take().await;
        let Some(node) = node.upgrade() else { return };
        let has_members = |topic: &Arc<str>| !node.pool.topic(&**topic).is_empty();
        let (mut added, mut left) = (Vec::new(), Vec::new());
        for topic in topics {
            let is_subscribed = subscribed.contains_key(&topic);
            if has_members(&topic) && !is_subscribed {
                added.push((node.subscribe(&topic).await, topic));
            } else if is_subscribed && !has_members(&topic) {
                left.push(topic);
            }
        }
        // A connection may join meanwhile. If it has seen the topic as confirmed, it is a member by now, and the subscription stays.
        changes.set_confirmed(Vec::new(), &left);
        let (joined, left): (Vec<_>, Vec<_>) = left.into_iter().partition(has_members);
        changes.set_confirmed(joined, &[]);
        left.iter().for_each(|topic| drop(subscribed.remove(topic)));
        if added.is_empty() {
            continue;
        }
        // One round trip for all of them.
        let is_confirmed = node.bus.confirm().await.is_ok();
        let mut confirmed = Vec::new();
        for (subscription, topic) in added {
            match subscription
                .and_then(|subscription| if is_confirmed { Ok(subscription) } else { Err(RemoteError::Disconnected) })
            {
                Ok(subscription) => {
                    subscribed.insert(topic.clone(), subscription);
                    confirmed.push(topic);
                }
                Err(error) => {
                    warn!(node = &*node.name, topic = &*topic, %error, "cannot subscribe; trying again");
                    let changes = changes.clone();
                    node.runtime.spawn(async move {
                        tokio::time::sleep(RETRY).await;
                        changes.changed(&topic);
                    });
                }
            }
        }
        changes.set_confirmed(confirmed, &[]);
    }
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    /// Subscribes to a topic. `None` if its name is too long.
    async fn subscribe(self: &Arc<Self>, topic: &Arc<str>) -> Result<Option<Subscription>, RemoteError> {
        let Ok(subject) = self.topic_subject(topic) else {
            warn!(node = &*self.name, topic = &**topic, "the name is too long for a topic of a cluster");
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
