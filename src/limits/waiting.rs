//! [`WaitingAcceptors`]: the acceptors of a listener that wait for a permit, and whether that has been reported.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::ListenerLimits;
use crate::telemetry::LimitScope;

/// A limit is cleared when no acceptor has waited for this time. At the limit, acceptors stop waiting for a moment with each
/// connection that ends.
const CLEARED_AFTER: Duration = Duration::from_secs(1);

/// The acceptors of a listener that wait for a permit.
#[derive(Debug)]
pub(super) struct WaitingAcceptors {
    count: watch::Sender<usize>,
    is_reported: Mutex<bool>,
}

impl WaitingAcceptors {
    pub(super) fn new() -> Self {
        WaitingAcceptors { count: watch::Sender::new(0), is_reported: Mutex::new(false) }
    }
}

impl ListenerLimits {
    /// Counts an acceptor that waits for a permit, until the guard is dropped. Also returns whether the caller must report that
    /// the limit is reached.
    pub(crate) fn begin_waiting(self: &Arc<Self>) -> (WaitingGuard, bool) {
        let waiting = self.waiting_acceptors();
        // Counted before the lock: `until_cleared` looks at the count under it.
        waiting.count.send_modify(|count| *count += 1);
        let was_reported = std::mem::replace(&mut *waiting.is_reported.lock(), true);
        (WaitingGuard(self.clone()), !was_reported)
    }

    /// How many acceptors wait for a permit.
    pub(crate) fn waiting(&self) -> usize {
        *self.waiting_acceptors().count.borrow()
    }

    /// Whether acceptors wait for permits, or did so within the last second.
    pub(crate) fn is_at_limit(&self) -> bool {
        *self.waiting_acceptors().is_reported.lock()
    }

    /// Waits until no acceptor has waited for a second. The next one that waits reports the limit again.
    pub(crate) async fn until_cleared(&self) {
        let waiting = self.waiting_acceptors();
        let mut count = waiting.count.subscribe();
        loop {
            // Cannot fail: `self` owns the sender.
            let _ = count.wait_for(|count| *count == 0).await;
            if timeout(CLEARED_AFTER, count.changed()).await.is_err() {
                let mut is_reported = waiting.is_reported.lock();
                if *waiting.count.borrow() == 0 {
                    *is_reported = false;
                    return;
                }
            }
        }
    }

    /// Records that the limit is cleared.
    pub(crate) fn clear_limit(&self) {
        *self.waiting_acceptors().is_reported.lock() = false;
    }

    /// The limit for which acceptors wait, and its value: the listener's own if that is reached, else the pool's.
    pub(crate) fn reached(&self) -> (LimitScope, usize) {
        match self.max().filter(|_| self.is_group_full()) {
            Some(max) => (LimitScope::Listener, max),
            None => (LimitScope::Pool, self.limits().max()),
        }
    }
}

/// An acceptor that waits for a permit.
pub(crate) struct WaitingGuard(Arc<ListenerLimits>);

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        self.0.waiting_acceptors().count.send_modify(|count| *count -= 1);
    }
}
