//! Signals: requests to a connection from other threads or from its arbiter's tick.

use std::sync::atomic::Ordering::*;

use bitflags::bitflags;

use crate::sync::AtomicU8;

bitflags! {
    /// Requests to one connection. The connection handles them in its next turn.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Signals: u8 {
        /// Close at once.
        const KILL = 1;
        /// Shut down, because the pool drains.
        const DRAIN = 1 << 1;
        /// A deadline may have passed.
        const DEADLINE = 1 << 2;
        /// The mailbox may hold messages.
        const MAIL = 1 << 3;
        /// Close after the queued bytes are sent.
        const STOP = 1 << 4;
        /// `KILL` or `STOP` came from the deadline of a drain.
        const FORCED = 1 << 5;
        /// Close as requested by an operator: see [`CloseRequest`](super::CloseRequest).
        const CLOSE_REQUESTED = 1 << 6;

        /// The outbox may hold replies.
        const OUTBOX = 1 << 7;

        /// `KILL` or `STOP`.
        const CLOSE = Self::KILL.bits() | Self::STOP.bits();
    }
}

/// A set of signals that any thread may add to.
#[derive(Debug, Default)]
pub(super) struct AtomicSignals(AtomicU8);

impl AtomicSignals {
    /// Adds signals; false if all of them were set before.
    pub(super) fn set(&self, signals: Signals) -> bool {
        let before = Signals::from_bits_retain(self.0.fetch_or(signals.bits(), AcqRel));
        !before.contains(signals)
    }

    #[inline]
    pub(super) fn get(&self) -> Signals {
        Signals::from_bits_retain(self.0.load(Acquire))
    }

    /// Clears all signals and returns those that were set.
    pub(super) fn take(&self) -> Signals {
        Signals::from_bits_retain(self.0.swap(0, AcqRel))
    }

    pub(super) fn clear(&self, signals: Signals) {
        self.0.fetch_and(!signals.bits(), AcqRel);
    }
}
