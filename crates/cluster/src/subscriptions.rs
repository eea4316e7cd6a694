//! The topics that this node is subscribed to: those that have members here.
//!
//! The events of the pool only say that a topic may have changed. A task then asks the topic for its number of members, so that
//! the order of events from different threads does not matter.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{watch, Notify};

/// What the task has to look at, and what it has done.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    dirty: Mutex<HashSet<Arc<str>>>,
    is_dirty: Notify,
    /// The topics whose subscription the server has confirmed.
    confirmed: watch::Sender<HashMap<Arc<str>, ()>>,
}

impl Subscriptions {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Subscriptions {
            dirty: Mutex::default(),
            is_dirty: Notify::new(),
            confirmed: watch::Sender::new(HashMap::new()),
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

    pub(crate) fn set_confirmed(&self, topic: &Arc<str>, is_confirmed: bool) {
        self.confirmed.send_modify(|confirmed| {
            if is_confirmed {
                confirmed.insert(topic.clone(), ());
            } else {
                confirmed.remove(topic);
            }
        });
    }

    /// Waits until the subscription of this topic is confirmed.
    pub(crate) async fn until_confirmed(&self, topic: &str) {
        // Cannot fail: `self` owns the sender.
        let _ = self.confirmed.subscribe().wait_for(|confirmed| confirmed.contains_key(topic)).await;
    }
}
