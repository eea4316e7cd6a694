//! [`HeldPeers`]: how many peers are held, at the limit, above a rate, or by the overload hook, and how many may be.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

use tokio::sync::watch;

use super::Limits;

/// The greatest number of peers that are held.
const MAX_HELD: usize = 1_024;

/// The peers that a pool holds.
pub(super) struct HeldPeers {
    count: watch::Sender<usize>,
    max: AtomicUsize,
}

impl HeldPeers {
    pub(super) fn new() -> Self {
        HeldPeers { count: watch::Sender::new(0), max: AtomicUsize::new(MAX_HELD) }
    }

    /// `spare` is the number of descriptors left for held peers.
    pub(super) fn set_max(&self, spare: usize) {
        self.max.store(spare.min(MAX_HELD), Relaxed);
    }
}

impl Limits {
    /// Counts a held peer. `None` if as many are held as may be: the peer is closed.
    pub(crate) fn try_hold(self: &Arc<Self>) -> Option<HeldPermit> {
        let max = self.held.max.load(Relaxed);
        let counted = self.held.count.send_if_modified(|count| {
            let is_below_limit = *count < max;
            *count += usize::from(is_below_limit);
            is_below_limit
        });
        counted.then(|| HeldPermit(self.clone()))
    }

    /// How many peers are held.
    pub(crate) fn held(&self) -> usize {
        *self.held.count.borrow()
    }

    /// Waits until no peer is held.
    pub(crate) async fn none_held(&self) {
        // The sender is in `self`, so the channel is open.
        let _ = self.held.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// The place of one held peer, given back when dropped.
pub(crate) struct HeldPermit(Arc<Limits>);

impl Drop for HeldPermit {
    fn drop(&mut self) {
        self.0.held.count.send_modify(|count| *count -= 1);
    }
}
