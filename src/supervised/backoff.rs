//! The pauses between the attempts to restart a pool.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pauses that double from the first to the longest, each shortened at random by up to a half.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) longest: Duration,
    attempts: u32,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Backoff { first, longest, attempts: 0 }
    }

    /// Begins with the first pause again.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        // Each `RandomState` has random keys, so its hash serves as a random number.
        self.next_with(RandomState::new().hash_one(self.attempts))
    }

    fn next_with(&mut self, random: u64) -> Duration {
        let factor = 2u32.checked_pow(self.attempts).unwrap_or(u32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let pause = self.first.saturating_mul(factor).min(self.longest);
        let fraction = f64::from((random >> 32) as u32) / f64::from(u32::MAX);
        pause.mul_f64(1.0 - fraction / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let pauses: Vec<_> = (0..6).map(|_| backoff.next_with(0).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.next_with(u64::MAX).as_millis(), 500);
        for _ in 0..100 {
            backoff.next();
        }
        assert!((500..=1000).contains(&backoff.next().as_millis()));
        backoff.reset();
        assert_eq!(backoff.next_with(0).as_millis(), 100);
    }
}
