//! The restart budget: how often acceptors may be restarted before the pool gives up.
//!
//! [`AcceptorPool`](super::AcceptorPool) checks it before each restart, and ends the pool when it is spent.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// At most `limit` restarts within any window of time, over all acceptors of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Restarts {
    limit: usize,
    window: Duration,
    /// The times of the restarts within the last window.
    recent: VecDeque<Instant>,
}

impl Restarts {
    pub(crate) fn new(limit: usize, window: Duration) -> Self {
        Restarts { limit, window, recent: VecDeque::new() }
    }

    pub(crate) fn budget(&self) -> (usize, Duration) {
        (self.limit, self.window)
    }

    pub(super) fn set_budget(&mut self, limit: usize, window: Duration) {
        (self.limit, self.window) = (limit, window);
    }

    /// Counts a restart if it is within the budget, and returns whether it is.
    pub(crate) fn try_acquire(&mut self, now: Instant) -> bool {
        while self.recent.front().is_some_and(|then| now.duration_since(*then) >= self.window) {
            self.recent.pop_front();
        }
        let allowed = self.recent.len() < self.limit;
        if allowed {
            self.recent.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_count_and_a_window() {
        let mut restarts = Restarts::new(2, Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(restarts.try_acquire(at(0)));
        assert!(restarts.try_acquire(at(6)));
        assert!(!restarts.try_acquire(at(9)));
        assert!(restarts.try_acquire(at(10)));
        assert!(!restarts.try_acquire(at(15)));
        assert!(restarts.try_acquire(at(16)));
    }
}
