//! Replies that a topic defers for a moment, to queue several of them in each outbox at once.
//!
//! If a burst is published to many members, queueing each reply in every outbox costs more than copying it. So only the first
//! reply is queued at once. Those that follow it are collected, once for all members on one arbiter, until
//! [`Registry::flush_deferred`] queues them. That happens before anything that depends on them: another reply to a connection of
//! this arbiter, a turn of such a connection, its end, a change of its format, a join or leave, and the wake-ups that the first
//! reply has requested. At most one topic of an arbiter defers replies at a time.
//!
//! Locks are taken in this order: the slot of [`Deferred`], the members of a topic, an outbox.

use std::sync::atomic::Ordering::*;
use std::sync::Arc;

use super::{Batch, Registry};
use crate::sync::{AtomicBool, AtomicU64, Mutex};

/// A topic that may have deferred replies to connections of one registry.
pub(crate) trait DeferredReplies: Send + Sync {
    /// Queues them.
    fn flush(&self, batch: &mut Batch<'_>);
}

#[derive(Default)]
pub(super) struct Deferred {
    /// Whether there is something in the slot. Set and cleared under its lock; cleared after the replies were queued.
    is_set: AtomicBool,
    slot: Mutex<Option<Arc<dyn DeferredReplies>>>,
    /// How many times a connection has changed its format.
    format_changes: AtomicU64,
}

impl Registry {
    /// Queues the deferred replies to connections of this registry. Must not be called with the members of a topic locked.
    #[inline]
    pub(crate) fn flush_deferred(&self) {
        if self.deferred.is_set.load(Acquire) {
            self.flush_deferred_slow();
        }
    }

    #[cold]
    fn flush_deferred_slow(&self) {
        // Dropped after the lock: it may wake connections.
        let mut batch = Batch::new(self);
        self.flush_slot(&mut self.deferred.slot.lock(), &mut batch);
    }

    fn flush_slot(&self, slot: &mut Option<Arc<dyn DeferredReplies>>, batch: &mut Batch<'_>) {
        if let Some(topic) = slot.take() {
            topic.flush(batch);
            self.deferred.is_set.store(false, Release);
        }
    }

    /// Changes the format of a connection. No reply in the former format is deferred meanwhile or afterwards.
    pub(crate) fn change_format(&self, change: impl FnOnce()) {
        let mut batch = Batch::new(self);
        let mut slot = self.deferred.slot.lock();
        self.flush_slot(&mut slot, &mut batch);
        change();
        self.deferred.format_changes.fetch_add(1, Release);
    }

    /// How many times a connection has changed its format, for [`try_defer`](Self::try_defer).
    pub(crate) fn format_changes(&self) -> u64 {
        self.deferred.format_changes.load(Acquire)
    }

    /// Lets a topic defer replies from now on, until its next `flush`, and wakes the arbiter. Returns false if it must not:
    /// another topic does, or a connection has changed its format since `format_changes`, or the arbiter has ended.
    ///
    /// Called with the members of the topic locked, so it never waits for the slot.
    pub(crate) fn try_defer<T: DeferredReplies + 'static>(&self, topic: &Arc<T>, format_changes: u64) -> bool {
        let Some(mut slot) = self.deferred.slot.try_lock() else { return false };
        let is_other = slot.as_ref().is_some_and(|other| !std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(topic)));
        if is_other || self.format_changes() != format_changes {
            return false;
        }
        if slot.is_none() {
            *slot = Some(topic.clone());
            self.deferred.is_set.store(true, Release);
        }
        // Afterwards: the task that is woken must see that there is something in the slot.
        self.notify_wakes()
    }
}

impl std::fmt::Debug for Deferred {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Deferred(..)")
    }
}
