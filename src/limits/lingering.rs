//! [`LingeringPeers`]: how many refused peers are kept open until their refusal message has arrived.

use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::Arc;

use super::Limits;

/// The greatest number of refused peers that are kept open.
const MAX_LINGERING: usize = 256;

/// The refused peers that a pool keeps open.
#[derive(Debug)]
pub(super) struct LingeringPeers {
    count: AtomicUsize,
    max: AtomicUsize,
}

impl LingeringPeers {
    pub(super) fn new() -> Self {
        LingeringPeers { count: AtomicUsize::new(0), max: AtomicUsize::new(MAX_LINGERING) }
    }

    /// `spare` is the number of descriptors left for these peers.
    pub(super) fn set_max(&self, spare: usize) {
        self.max.store(spare.min(MAX_LINGERING), Relaxed);
    }
}

impl Limits {
    /// Counts a refused peer that is kept open. Returns `None` if the limit is reached: the peer is then closed without the
    /// message.
    pub(crate) fn try_linger(self: &Arc<Self>) -> Option<LingerPermit> {
        let max = self.lingering.max.load(Relaxed);
        let counted = self.lingering.count.fetch_update(AcqRel, Acquire, |count| (count < max).then_some(count + 1));
        counted.is_ok().then(|| LingerPermit(self.clone()))
    }
}

/// The place of one refused peer, given back when dropped.
pub(crate) struct LingerPermit(Arc<Limits>);

impl Drop for LingerPermit {
    fn drop(&mut self) {
        self.0.lingering.count.fetch_sub(1, AcqRel);
    }
}
