//! What other nodes have sent and this one has refused: each is counted, and one line a second is logged.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

/// The time between two lines.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Refusals {
    count: AtomicU64,
    /// When the last line was logged, and how many were refused by then.
    logged: Mutex<Option<(Instant, u64)>>,
}

impl Refusals {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    pub(crate) fn add(&self, node: &str, error: &dyn Display) {
        self.count.fetch_add(1, Relaxed);
        if let Some(refused) = self.allow() {
            warn!(node, %error, refused, "a message of another node was refused");
        }
    }

    /// Returns how many were refused since the last line, if one may be logged.
    fn allow(&self) -> Option<u64> {
        let (now, count) = (Instant::now(), self.count());
        let mut logged = self.logged.lock();
        let before = match *logged {
            Some((at, _)) if now < at + PAUSE => return None,
            Some((_, count)) => count,
            None => 0,
        };
        *logged = Some((now, count));
        Some(count - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_a_second_names_the_number_of_refusals() {
        let refusals = Refusals::default();
        let mut lines = Vec::new();
        for _ in 0..25 {
            refusals.count.fetch_add(1, Relaxed);
            lines.extend(refusals.allow());
            tokio::time::advance(PAUSE / 10).await;
        }
        assert_eq!((lines, refusals.count()), (vec![1, 10, 10], 25));
    }
}
