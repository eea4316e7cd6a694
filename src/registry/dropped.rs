//! Reports to the observers that replies were left out.

use super::{ConnectionGuard, OutboxQueue};
use crate::telemetry::PoolEvent;

impl ConnectionGuard {
    /// Reports the replies that were left out since the last report, if there are any. Called when the outbox is empty again, and
    /// at the end. Where replies are left out, a lock may be held, and it may happen thousands of times a second.
    #[cold]
    pub(crate) fn report_dropped(&self) {
        let replies = self.state().outbox().map_or(0, OutboxQueue::take_dropped);
        if replies > 0 {
            let (id, peer, listener) = (self.state().id(), self.state().peer(), &**self.state().listener_name());
            let observers = &self.registry().shared().observers;
            observers.emit(|| PoolEvent::RepliesDropped { id, peer, listener, replies });
        }
    }
}
