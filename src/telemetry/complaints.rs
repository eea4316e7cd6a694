//! Log lines that may come often: one a second at most.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// One log line a second at most, over all who complain of the same.
#[derive(Debug)]
pub(crate) struct Complaints {
    since: Instant,
    next: AtomicU64,
    left_out: AtomicU64,
}

impl Complaints {
    pub(crate) fn new() -> Self {
        Complaints { since: Instant::now(), next: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Writes the line, told how many were left out since the last one, or leaves it out.
    pub(crate) fn complain(&self, line: impl FnOnce(u64)) {
        let now = self.since.elapsed().as_millis() as u64;
        let next = self.next.load(Relaxed);
        if now >= next && self.next.compare_exchange(next, now + 1000, Relaxed, Relaxed).is_ok() {
            line(self.left_out.swap(0, Relaxed));
        } else {
            self.left_out.fetch_add(1, Relaxed);
        }
    }
}
