//! What other nodes have sent and this one has refused: each is counted, and one line a second is logged.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::envelope::Refused;
use crate::info::Refusals as Counts;

/// The time between two lines.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counts: Mutex<Counts>,
    /// When the last line was logged, and how many were refused by then.
    logged: Mutex<Option<(Instant, u64)>>,
}

impl Refusals {
    /// By reason.
    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock()
    }

    pub(crate) fn add(&self, node: &str, error: &Refused) {
        self.count(error);
        if let Some(refused) = self.allow() {
            warn!(node, %error, refused, "a message from another node was refused");
        }
    }

    fn count(&self, error: &Refused) {
        let mut counts = self.counts.lock();
        let count = match error {
            Refused::Version(_) => &mut counts.unknown_version,
            Refused::Kind(_) => &mut counts.unknown_kind,
            Refused::Empty | Refused::Body(_) => &mut counts.unreadable,
            Refused::Panic => &mut counts.panicked,
        };
        *count += 1;
    }

    /// Returns how many were refused since the last line, if one may be logged.
    fn allow(&self) -> Option<u64> {
        let (now, count) = (Instant::now(), self.counts().total());
        let mut logged = self.logged.lock();
        let before = match *logged {
            Some((at, _)) if now < at + PAUSE => return None,
            Some((_, count)) => count,
            None => 0,
        };
        *logged = Some((now, count));
        Some(count.saturating_sub(before))
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
            refusals.count(&Refused::Empty);
            lines.extend(refusals.allow());
            tokio::time::advance(PAUSE / 10).await;
        }
        assert_eq!((lines, refusals.counts().unreadable), (vec![1, 10, 10], 25));
    }
}
