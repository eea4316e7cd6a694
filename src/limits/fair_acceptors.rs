//! Whether acceptors take turns when they wait for permits.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

use super::Limits;

/// The number of listeners of a pool that have a socket for each acceptor. While there is one, acceptors of all listeners that
/// wait for permits take turns.
#[derive(Debug, Default)]
pub(super) struct FairAcceptors(AtomicUsize);

impl FairAcceptors {
    pub(super) fn is_on(&self) -> bool {
        self.0.load(Relaxed) > 0
    }
}

/// A listener with a socket for each acceptor, counted until this is dropped.
pub(crate) struct FairAcceptorsGuard(Arc<Limits>);

impl Limits {
    /// Makes acceptors take turns until the guard is dropped.
    pub(crate) fn require_fair_acceptors(self: &Arc<Self>) -> FairAcceptorsGuard {
        self.fair_acceptors.0.fetch_add(1, Relaxed);
        FairAcceptorsGuard(self.clone())
    }
}

impl Drop for FairAcceptorsGuard {
    fn drop(&mut self) {
        self.0.fair_acceptors.0.fetch_sub(1, Relaxed);
    }
}
