//! The removal of connections from a registry, and the count of refused peers, which were never in it.

use std::sync::atomic::Ordering::Relaxed;

use super::{ConnectionState, Contents, Registry, Signals};
use crate::panic::Guarded;
use crate::telemetry::{CloseReason, HandshakeFailure, PoolEvent, RefusalReason};

impl Registry {
    /// Counts a peer that was accepted, then refused.
    pub(crate) fn count_refused(&self, reason: RefusalReason) {
        let mut contents = self.contents.lock();
        contents.totals.accepted += 1;
        contents.totals.refused.add(reason);
    }

    /// Removes a connection and counts how it ended. `detail` is the text of the error, if there was one.
    pub(super) fn remove(
        &self,
        state: &ConnectionState,
        reason: CloseReason,
        failure: Option<HandshakeFailure>,
        detail: Option<&str>,
    ) {
        self.remove_with(state, |contents| {
            contents.totals.closed.add(reason);
            if let Some(kind) = failure {
                contents.totals.handshake_failures.add(kind);
            }
            if let Some(drain) = contents.drain.as_mut().filter(|_| reason == CloseReason::Killed) {
                drain.forced += usize::from(state.signals().contains(Signals::FORCED));
            }
        });
        self.shared.observers.emit(|| PoolEvent::ConnectionStopped {
            id: state.id(),
            peer: state.peer(),
            listener: state.listener_name(),
            reason,
            detail,
            duration: self.age(state),
            bytes_in: state.bytes_in(),
            bytes_out: state.bytes_out(),
            packets: state.packets(),
        });
    }

    /// Removes a connection that was refused because of the peer that its PROXY header names.
    pub(super) fn remove_refused(&self, state: &ConnectionState, reason: RefusalReason) {
        self.remove_with(state, |contents| contents.totals.refused.add(reason));
        self.shared.observers.emit(|| {
            let (peer, listener) = (state.peer(), &**state.listener_name());
            PoolEvent::Refused { id: Some(state.id()), peer, listener, reason }
        });
    }

    fn remove_with(&self, state: &ConnectionState, count: impl FnOnce(&mut Contents)) {
        let mut contents = self.contents.lock();
        contents.connections.remove(state.id());
        let request = contents.close_requests.remove(&state.id());
        count(&mut contents);
        contents.count_ended(state);
        self.live.store(contents.connections.len(), Relaxed);
        let is_drained = contents.drain.is_some() && contents.connections.is_empty();
        drop(contents);
        // Outside the lock: the reply in it is user code.
        drop(Guarded::new(request));
        if is_drained {
            self.wake_tick();
        }
    }
}
