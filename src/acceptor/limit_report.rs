//! Reports that acceptors wait at a connection limit, with [`AtLimit::Wait`](crate::config::AtLimit::Wait).

use std::cell::Cell;
use std::sync::Arc;

use tracing::{info, warn};

use super::AcceptorContext;
use crate::limits::WaitingGuard;
use crate::listener::{ListenerMode, ListenerState};
use crate::telemetry::PoolEvent;

/// A reached limit that has been reported. Dropping it, also when the arbiter stops, reports that it is cleared.
struct ReachedLimit {
    context: Arc<AcceptorContext>,
    listener: Arc<ListenerState>,
    /// Whether the next acceptor that waits reports the limit again. It may have done so already.
    is_cleared: Cell<bool>,
}

impl AcceptorContext {
    /// Counts an acceptor that waits for a permit to accept the next peer, until the guard is dropped. The first one reports that
    /// the limit is reached.
    pub(super) fn begin_waiting(self: &Arc<Self>, listener: &Arc<ListenerState>) -> WaitingGuard {
        let (guard, reports) = listener.limits.begin_waiting();
        if reports {
            self.report_limit(listener);
        }
        guard
    }

    #[cold]
    fn report_limit(self: &Arc<Self>, listener: &Arc<ListenerState>) {
        let (scope, limit) = listener.limits.reached();
        let name = &*listener.name();
        self.limit_log.log(|left_out| {
            warn!(
                listener = name,
                limit,
                scope = scope.name(),
                left_out,
                "connection limit reached; further peers wait in the kernel's queue"
            );
        });
        let observers = &self.registries.shared().observers;
        observers.emit(|| PoolEvent::LimitReached { listener: name, scope, limit });
        let (context, listener) = (self.clone(), listener.clone());
        let reached = ReachedLimit { context, listener, is_cleared: Cell::new(false) };
        actix_rt::spawn(async move {
            let mut mode = reached.listener.mode_changes();
            tokio::select! {
                _ = mode.wait_for(|mode| *mode != ListenerMode::Accepting) => {}
                () = reached.listener.limits.until_cleared() => reached.is_cleared.set(true),
            }
        });
    }
}

impl Drop for ReachedLimit {
    fn drop(&mut self) {
        if !self.is_cleared.get() {
            self.listener.limits.clear_limit();
        }
        let listener = &*self.listener.name();
        info!(listener, "connection limit cleared");
        self.context.registries.shared().observers.emit(|| PoolEvent::LimitCleared { listener });
    }
}
