//! How often acceptors may be replaced before something must be wrong for good.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A budget of restarts: so many within so long, over all acceptors of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Restarts {
    limit: usize,
    within: Duration,
    recent: VecDeque<Instant>,
}

impl Restarts {
    pub(crate) fn new(limit: usize, within: Duration) -> Self {
        Restarts { limit, within, recent: VecDeque::new() }
    }

    pub(crate) fn budget(&self) -> (usize, Duration) {
        (self.limit, self.within)
    }

    pub(super) fn set_budget(&mut self, limit: usize, within: Duration) {
        (self.limit, self.within) = (limit, within);
    }

    /// Whether one more is within the budget; if so it is counted.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        while self.recent.front().is_some_and(|then| now.duration_since(*then) >= self.within) {
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
        assert!(restarts.allow(at(0)));
        assert!(restarts.allow(at(6)));
        assert!(!restarts.allow(at(9)));
        assert!(restarts.allow(at(10)));
        assert!(!restarts.allow(at(15)));
        assert!(restarts.allow(at(16)));
    }
}
