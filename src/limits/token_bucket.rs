//! A token bucket. Pure arithmetic: the caller passes the time.

use std::time::Duration;

use crate::config::Rate;

/// The fill level of a bucket, stored as the time in nanoseconds at which it is full again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenBucket {
    full_at: u128,
    /// The rate of the last call. With another rate the bucket starts full again.
    rate: Option<Rate>,
}

impl TokenBucket {
    /// Takes a token if there is one. Returns whether there was.
    pub(super) fn take(&mut self, rate: &Rate, now: Duration) -> bool {
        if self.rate != Some(*rate) {
            *self = TokenBucket { full_at: 0, rate: Some(*rate) };
        }
        let (now, refill) = (now.as_nanos(), rate.refill());
        let full_at = self.full_at.max(now) + refill;
        // The remainder of the division must not add a token.
        let fits = full_at <= now + refill * u128::from(rate.burst);
        if fits {
            self.full_at = full_at;
        }
        fits
    }

    pub(super) fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now.as_nanos()
    }

    /// The time at which the bucket is full again, in nanoseconds.
    pub(super) fn full_at(&self) -> u128 {
        self.full_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_admits_exactly_its_capacity() {
        for (burst, millis) in [(1, 1_000), (3, 1_000), (7, 10), (1_000, 60_000)] {
            let rate = Rate::new(burst, Duration::from_millis(millis));
            let mut bucket = TokenBucket::default();
            let now = Duration::from_secs(5);
            assert_eq!((0..burst * 2).filter(|_| bucket.take(&rate, now)).count() as u32, burst);
            let next = now + rate.per / burst;
            assert!(!bucket.take(&rate, next - Duration::from_nanos(2)));
            assert!(bucket.take(&rate, next));
            assert!(!bucket.take(&rate, next));
            assert!(!bucket.is_full(next + rate.per - Duration::from_nanos(u64::from(burst) + 3)));
            assert!(bucket.is_full(next + rate.per));
        }
    }
}
