//! [`Totals`], the counts of a registry, and the counts that exist once per pool.

use std::sync::atomic::Ordering::Relaxed;

use super::{Registry, RegistryShared};
use crate::telemetry::{CloseReason, Counts, HandshakeFailure, RefusalReason};

/// The counts of a registry so far. They satisfy accepted = refused + live + closed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) live: u64,
    pub(crate) refused: Counts<RefusalReason>,
    pub(crate) closed: Counts<CloseReason>,
    pub(crate) handshake_failures: Counts<HandshakeFailure>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) packets: u64,
    /// Bytes that are queued for live connections.
    pub(crate) unsent: u64,
}

impl Registry {
    /// The counts, consistent with each other.
    pub(crate) fn totals(&self) -> Totals {
        // Queues the replies that a topic has deferred: they count as unsent.
        self.flush_deferred();
        let contents = self.contents.lock();
        let mut totals = contents.totals;
        totals.live = contents.connections.len() as u64;
        for state in contents.connections.iter() {
            totals.bytes_in += state.bytes_in();
            totals.bytes_out += state.bytes_out();
            totals.packets += state.packets();
            totals.unsent += state.unsent();
        }
        totals
    }
}

impl RegistryShared {
    pub(crate) fn blocked(&self) -> u64 {
        self.blocked.load(Relaxed)
    }

    /// How many times `accept` failed.
    pub(crate) fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Relaxed)
    }

    pub(crate) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_blocked(&self) {
        self.blocked.fetch_add(1, Relaxed);
    }
}
