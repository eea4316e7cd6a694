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

use crate::bus::{LinkState, Subject, Subscription};
use crate::cluster::ClusterProtocol;
use crate::counters::Throttle;
use crate::node::Node;
use crate::{Format, RemoteError};

/// After a subscription has failed, it is tried again after this time.
const RETRY: Duration = Duration::from_millis(500);

/// What the task has to look at, and what it has done.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    dirty: Mutex<HashSet<Arc<str>>>,
    is_dirty: Notify,
    confirmed: watch::Sender<Confirmed>,
    too_long: Throttle,
}

/// The topics whose subscription the server has confirmed, on a connection.
#[derive(Debug, Default)]
struct Confirmed {
    on: LinkState,
    topics: HashSet<Arc<str>>,
}

impl Subscriptions {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Subscriptions {
            dirty: Mutex::default(),
            is_dirty: Notify::new(),
            confirmed: watch::Sender::default(),
            too_long: Throttle::new(Duration::from_secs(10)),
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

    /// Forgets topics that need no work, so that topics of a moment do not pile up until there is a connection.
    fn forget(&self, needs_no_work: impl Fn(&Arc<str>) -> bool) {
        // Looked at outside of the lock: topics may change meanwhile, and are added again then.
        let (idle, work): (HashSet<_>, HashSet<_>) = self.take().into_iter().partition(needs_no_work);
        drop(idle);
        self.dirty.lock().extend(work);
    }

    /// The topics to look at.
    fn take(&self) -> HashSet<Arc<str>> {
        std::mem::take(&mut *self.dirty.lock())
    }

    /// Forgets all topics: the node leaves.
    pub(crate) fn clear(&self) {
        drop(self.take());
        self.clear_confirmed(LinkState::default());
    }

    /// Forgets what was confirmed on a former connection.
    fn clear_confirmed(&self, on: LinkState) {
        self.confirmed.send_modify(|confirmed| *confirmed = Confirmed { on, topics: HashSet::new() });
    }

    fn set_confirmed(&self, topics: impl Iterator<Item = Arc<str>>) {
        self.confirmed.send_modify(|confirmed| confirmed.topics.extend(topics));
    }

    /// Returns those that were confirmed.
    fn set_unconfirmed(&self, topics: &HashSet<Arc<str>>) -> Vec<Arc<str>> {
        let mut removed = Vec::new();
        self.confirmed.send_modify(|confirmed| {
            removed.extend(topics.iter().filter(|topic| confirmed.topics.remove(*topic)).cloned());
        });
        removed
    }

    /// The number of topics whose members other nodes reach, on this connection.
    pub(crate) fn count(&self, link: LinkState) -> usize {
        let confirmed = self.confirmed.borrow();
        if confirmed.on == link {
            confirmed.topics.len()
        } else {
            0
        }
    }

    /// Waits until the subscription of this topic is confirmed on the connection in use.
    pub(crate) async fn until_confirmed(&self, topic: &str, link: &watch::Receiver<LinkState>) {
        let is_confirmed = |confirmed: &Confirmed| confirmed.on == *link.borrow() && confirmed.topics.contains(topic);
        // Cannot fail: `self` owns the sender.
        let _ = self.confirmed.subscribe().wait_for(is_confirmed).await;
    }
}

/// What the task has subscribed to.
#[derive(Default)]
struct Subscribed {
    topics: HashMap<Arc<str>, Subscription>,
    /// Those that were added since the server was last asked for its confirmation.
    added: Vec<Arc<str>>,
    /// The connection on which all the others were confirmed.
    confirmed_on: LinkState,
}

/// Subscribes to the topics that have members on this node, and ends the subscriptions to others.
///
/// The client subscribes again after a reconnect. Until the server has confirmed that, no topic counts as subscribed.
pub(crate) async fn follow<P: ClusterProtocol, F: Format>(
    node: Weak<Node<P, F>>,
    changes: Arc<Subscriptions>,
    mut link: watch::Receiver<LinkState>,
) {
    let mut subscribed = Subscribed::default();
    loop {
        let now = *link.borrow_and_update();
        if now != subscribed.confirmed_on {
            changes.clear_confirmed(now);
        }
        let Some(node) = node.upgrade() else { return };
        node.refresh_state();
        let is_done = if now.is_connected {
            node.update_subscriptions(&changes, &mut subscribed, &link).await
        } else {
            changes.forget(|topic| !subscribed.topics.contains_key(topic) && node.pool.topic(&**topic).is_empty());
            true
        };
        drop(node);
        let changed = async {
            let has_work = async {
                match (now.is_connected, is_done) {
                    (true, true) => changes.is_dirty.notified().await,
                    (true, false) => tokio::time::sleep(RETRY).await,
                    (false, _) => {
                        changes.is_dirty.notified().await;
                        tokio::time::sleep(RETRY).await;
                    }
                }
            };
            tokio::select! {
                changed = link.changed() => changed.is_ok(),
                () = has_work => true,
            }
        };
        if !changed.await {
            return;
        }
    }
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    /// Follows what has changed. Returns false if it is to be tried again.
    async fn update_subscriptions(
        self: &Arc<Self>,
        changes: &Subscriptions,
        subscribed: &mut Subscribed,
        link: &watch::Receiver<LinkState>,
    ) -> bool {
        let has_members = |topic: &Arc<str>| !self.pool.topic(&**topic).is_empty();
        let mut left = HashSet::new();
        for topic in changes.take() {
            let is_subscribed = subscribed.topics.contains_key(&topic);
            if has_members(&topic) && !is_subscribed {
                match self.topic_subject(&topic) {
                    Ok(subject) => match self.subscribe(&topic, subject).await {
                        Ok(subscription) => {
                            subscribed.topics.insert(topic.clone(), subscription);
                            subscribed.added.push(topic);
                        }
                        // The connection is lost.
                        Err(_) => changes.changed(&topic),
                    },
                    Err(length) => {
                        if let Some(left_out) = changes.too_long.allow() {
                            warn!(node = &*self.name, length, left_out, "the topic name is too long for a cluster");
                        }
                    }
                }
            } else if is_subscribed && !has_members(&topic) {
                left.insert(topic);
            }
        }
        // A connection may join meanwhile. If it has seen the topic as confirmed, it is a member by now, and the subscription stays.
        let confirmed = changes.set_unconfirmed(&left);
        left.retain(|topic| !has_members(topic));
        changes.set_confirmed(confirmed.into_iter().filter(|topic| !left.contains(topic)));
        left.iter().for_each(|topic| drop(subscribed.topics.remove(topic)));
        let connection = *link.borrow();
        let is_new = connection != subscribed.confirmed_on;
        if subscribed.added.is_empty() && !is_new {
            return true;
        }
        // One round trip for all of them.
        if self.bus.confirm().await.is_err() || *link.borrow() != connection {
            return false;
        }
        let added = std::mem::take(&mut subscribed.added);
        if is_new {
            changes.set_confirmed(subscribed.topics.keys().cloned());
        } else {
            changes.set_confirmed(added.into_iter().filter(|topic| subscribed.topics.contains_key(topic)));
        }
        subscribed.confirmed_on = connection;
        true
    }

    async fn subscribe(self: &Arc<Self>, topic: &Arc<str>, subject: Subject) -> Result<Subscription, RemoteError> {
        let (node, members) = (Arc::downgrade(self), self.pool.topic(topic));
        let on_message = move |payload: Bytes| {
            if let Some(node) = node.upgrade() {
                node.deliver(&members, &payload);
            }
        };
        self.bus.subscribe(subject, Box::new(on_message)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_that_need_no_work_do_not_pile_up() {
        let changes = Subscriptions::new();
        for topic in ["a", "b", "c"] {
            changes.changed(topic);
        }
        changes.forget(|topic| **topic != *"b");
        assert_eq!(changes.take(), HashSet::from(["b".into()]));
    }
}
