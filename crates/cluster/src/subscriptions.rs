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
use tokio::time::Instant;
use tracing::warn;

use crate::bus::{LinkState, Subject, Subscription};
use crate::cluster::ClusterProtocol;
use crate::counters::Throttle;
use crate::node::Node;
use crate::{Format, RemoteError};

/// After a subscription has failed, it is tried again after this time.
const RETRY: Duration = Duration::from_millis(500);

/// After the server has refused a subscription, it is tried again after this time.
const RETRY_REFUSED: Duration = Duration::from_secs(10);

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
    /// Messages to all connections arrive, and all topics were confirmed.
    is_subscribed: bool,
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
        self.confirmed.send_modify(|confirmed| *confirmed = Confirmed { on, ..Confirmed::default() });
    }

    fn set_subscribed(&self) {
        self.confirmed.send_modify(|confirmed| confirmed.is_subscribed = true);
    }

    /// Whether messages to all connections arrive on this connection.
    pub(crate) fn is_subscribed(&self, link: LinkState) -> bool {
        let confirmed = self.confirmed.borrow();
        confirmed.on == link && confirmed.is_subscribed
    }

    /// Waits until messages to all connections arrive on the connection in use.
    pub(crate) async fn until_subscribed(&self, link: watch::Receiver<LinkState>) {
        let is_subscribed = |confirmed: &Confirmed| confirmed.on == *link.borrow() && confirmed.is_subscribed;
        // Cannot fail: `self` owns the sender.
        let _ = self.confirmed.subscribe().wait_for(is_subscribed).await;
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
    /// To messages for all connections.
    to_all: Option<Subscription>,
    /// The topics for which the server has refused the subscription, and when they are tried again.
    refused: HashSet<Arc<str>>,
    retry_at: Option<Instant>,
    /// The server has refused a subscription without naming it, so they are made one after the other.
    is_at_limit: bool,
    /// It has refused the last one.
    is_full: bool,
    unnamed_refusals: u64,
}

impl Subscribed {
    /// Ends the subscriptions to these topics, to make them again.
    fn forget(&mut self, changes: &Subscriptions, topics: &[Arc<str>], and_to_all: bool) {
        self.to_all.take_if(|_| and_to_all);
        for topic in topics {
            self.topics.remove(topic);
            changes.changed(topic);
        }
    }

    /// Tries topics again that were refused, when it is time.
    fn retry_refused(&mut self, changes: &Subscriptions) {
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            (self.retry_at, self.is_full) = (None, false);
            self.refused.drain().for_each(|topic| changes.changed(&topic));
        }
    }
}

/// Waits until this time. Without one, never returns.
async fn at(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// Subscribes to the topics that have members on this node, and ends the subscriptions to others.
///
/// The client subscribes again after a reconnect. Until the server has confirmed that, no topic counts as subscribed.
pub(crate) async fn follow<P: ClusterProtocol, F: Format>(
    node: Weak<Node<P, F>>,
    changes: Arc<Subscriptions>,
    mut link: watch::Receiver<LinkState>,
) {
    let (mut subscribed, mut connects) = (Subscribed::default(), 0);
    loop {
        let now = *link.borrow_and_update();
        if std::mem::replace(&mut connects, now.connects) != now.connects && subscribed.retry_at.is_some() {
            // The server may have other permissions and limits.
            subscribed.retry_at = Some(Instant::now());
        }
        if now != subscribed.confirmed_on {
            changes.clear_confirmed(now);
        }
        let Some(node) = node.upgrade() else { return };
        node.refresh_state();
        subscribed.retry_refused(&changes);
        let is_done = if now.is_connected {
            let is_done = node.update_subscriptions(&changes, &mut subscribed, &link).await;
            node.refresh_state();
            is_done
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
                () = at(subscribed.retry_at) => true,
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
        if subscribed.to_all.is_none() {
            match self.subscribe_to_all().await {
                // Confirmed with all topics.
                Ok(to_all) => (subscribed.to_all, subscribed.confirmed_on) = (Some(to_all), LinkState::default()),
                Err(_) => return false,
            }
            if subscribed.is_at_limit && !self.confirm_subscriptions(changes, subscribed, link).await {
                return false;
            }
        }
        let mut left = HashSet::new();
        let mut topics = changes.take().into_iter();
        while let Some(topic) = topics.next() {
            let is_subscribed = subscribed.topics.contains_key(&topic);
            if is_subscribed && !has_members(&topic) {
                left.insert(topic);
            } else if is_subscribed || !has_members(&topic) || subscribed.refused.contains(&topic) {
                continue;
            } else if subscribed.is_full {
                subscribed.refused.insert(topic);
            } else {
                self.add_topic(changes, subscribed, topic).await;
                // One after the other, to know which one is refused.
                if subscribed.is_at_limit && !self.confirm_subscriptions(changes, subscribed, link).await {
                    topics.chain(left).for_each(|topic| changes.changed(&topic));
                    return false;
                }
            }
        }
        subscribed.is_at_limit &= !subscribed.refused.is_empty();
        // A connection may join meanwhile. If it has seen the topic as confirmed, it is a member by now, and the subscription stays.
        let confirmed = changes.set_unconfirmed(&left);
        left.retain(|topic| !has_members(topic));
        changes.set_confirmed(confirmed.into_iter().filter(|topic| !left.contains(topic)));
        left.iter().for_each(|topic| drop(subscribed.topics.remove(topic)));
        self.confirm_subscriptions(changes, subscribed, link).await
    }

    async fn add_topic(self: &Arc<Self>, changes: &Subscriptions, subscribed: &mut Subscribed, topic: Arc<str>) {
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
    }

    /// Asks the server, with one round trip for all of them. Returns false if it is to be tried again.
    async fn confirm_subscriptions(
        &self,
        changes: &Subscriptions,
        subscribed: &mut Subscribed,
        link: &watch::Receiver<LinkState>,
    ) -> bool {
        let connection = *link.borrow();
        let is_new = connection != subscribed.confirmed_on;
        if subscribed.added.is_empty() && !is_new {
            return true;
        }
        let is_confirmed = self.bus.confirm().await.is_ok();
        if *link.borrow() != connection {
            return false;
        }
        if !is_confirmed {
            if self.bus.unnamed_refusals() != subscribed.unnamed_refusals {
                // Perhaps the subscription to answers was refused, which the client makes when it connects.
                let topics: Vec<_> = subscribed.topics.keys().cloned().collect();
                subscribed.is_at_limit = true;
                subscribed.forget(changes, &topics, true);
                self.bus.reconnect().await;
            }
            return false;
        }
        let mut added = std::mem::take(&mut subscribed.added);
        if is_new {
            added = subscribed.topics.keys().cloned().collect();
        }
        let unnamed = self.bus.unnamed_refusals();
        let is_at_limit = std::mem::replace(&mut subscribed.unnamed_refusals, unnamed) != unnamed;
        if is_at_limit && added.len() + usize::from(is_new) > 1 {
            // It may be any of them.
            subscribed.is_at_limit = true;
            subscribed.forget(changes, &added, is_new);
            return false;
        }
        let is_refused = |subscription: &Subscription| is_at_limit || subscription.is_refused();
        if is_new && subscribed.to_all.as_ref().is_none_or(is_refused) {
            subscribed.to_all = None;
            return false;
        }
        let (refused, confirmed): (Vec<_>, Vec<_>) = added
            .into_iter()
            .filter(|topic| subscribed.topics.contains_key(topic))
            .partition(|topic| subscribed.topics.get(topic).is_some_and(is_refused));
        if is_new {
            changes.set_subscribed();
        }
        changes.set_confirmed(confirmed.into_iter());
        subscribed.confirmed_on = connection;
        for topic in refused {
            subscribed.topics.remove(&topic);
            subscribed.refused.insert(topic);
            subscribed.retry_at.get_or_insert_with(|| Instant::now() + RETRY_REFUSED);
        }
        subscribed.is_full |= is_at_limit;
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
