//! What a node counts, and how often it logs.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The counts of a node, which its tasks and its connection to the others share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Messages that were accepted for other nodes.
    pub(crate) published: AtomicU64,
    /// Messages of other nodes that were passed on.
    pub(crate) received: AtomicU64,
    /// Messages that have waited for too long.
    pub(crate) expired: AtomicU64,
    /// Messages that the client or the server did not take.
    pub(crate) failed: AtomicU64,
    /// Messages that were on their way when the connection was lost.
    pub(crate) unconfirmed: AtomicU64,
    /// Messages of other nodes that found no room here.
    pub(crate) overflowed: AtomicU64,
    /// Requests of other nodes that were answered.
    pub(crate) requests: AtomicU64,
    /// Requests from other nodes in progress.
    pub(crate) pending_requests: AtomicUsize,
    /// Messages that were lost since the last flush.
    lost: AtomicU64,
}

/// Why a message was not sent, or may not have arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    Expired,
    Failed,
    Unconfirmed,
}

impl Counters {
    pub(crate) fn lose(&self, loss: Loss, messages: u64) {
        let counter = match loss {
            Loss::Expired => &self.expired,
            Loss::Failed => &self.failed,
            Loss::Unconfirmed => &self.unconfirmed,
        };
        counter.fetch_add(messages, Relaxed);
        self.lost.fetch_add(messages, Relaxed);
    }

    /// The messages that were lost since the last call.
    pub(crate) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Relaxed)
    }
}

/// Lets one log line pass per interval, and counts the others.
#[derive(Debug)]
pub(crate) struct Throttle {
    pause: Duration,
    state: Mutex<(Option<Instant>, u64)>,
}

impl Throttle {
    pub(crate) const fn new(pause: Duration) -> Self {
        Throttle { pause, state: Mutex::new((None, 0)) }
    }

    /// How many lines were left out before this one, or `None` if this one must be left out as well.
    pub(crate) fn allow(&self) -> Option<u64> {
        let (since, left_out) = &mut *self.state.lock();
        if since.is_some_and(|since| since.elapsed() < self.pause) {
            *left_out += 1;
            return None;
        }
        *since = Some(Instant::now());
        Some(std::mem::take(left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_in_a_while_has_the_number_of_the_others() {
        let throttle = Throttle::new(Duration::from_secs(1));
        assert_eq!(throttle.allow(), Some(0));
        assert_eq!((throttle.allow(), throttle.allow()), (None, None));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(throttle.allow(), Some(2));
        assert_eq!(throttle.allow(), None);
    }
}
