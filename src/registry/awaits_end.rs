//! Connections that wait for the end of their own pool. The pool does not wait for them.

use std::sync::Arc;

use super::RegistryShared;
use crate::telemetry::ConnectionId;

/// Counts a connection as one that waits for the end of the pool, until it is dropped.
pub(crate) struct AwaitsEnd {
    shared: Arc<RegistryShared>,
    id: ConnectionId,
}

impl RegistryShared {
    pub(crate) fn await_end(self: &Arc<Self>, id: ConnectionId) -> AwaitsEnd {
        *self.awaiting_end.lock().entry(id).or_default() += 1;
        // Other connections may have waited for this one only.
        self.changed.notify_waiters();
        AwaitsEnd { shared: self.clone(), id }
    }

    /// Whether every connection that is left waits for the end of the pool.
    pub(crate) fn all_await_end(&self) -> bool {
        self.unsettled() <= self.awaiting_end.lock().len()
    }
}

impl Drop for AwaitsEnd {
    fn drop(&mut self) {
        let mut awaiting = self.shared.awaiting_end.lock();
        if let Some(count) = awaiting.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                awaiting.remove(&self.id);
            }
        }
    }
}
