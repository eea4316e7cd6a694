//! A token bucket. Pure arithmetic: the caller passes the time.

use std::time::Duration;

use crate::config::Rate;

/// The fill level of a bucket, stored as the time in nanoseconds at which it is full again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenBucket {
    full_at: u128,
    /// The rate of the last token. With another rate the bucket starts full again.
    rate: Option<Rate>,
}

impl TokenBucket {
    /// Takes a token if there is one. Returns whether there was.
    pub(crate) fn take(&mut self, rate: &Rate, now: Duration) -> bool {
        let has_token = self.until_token(rate, now).is_zero();
        if has_token {
            self.take_in_advance(rate, now);
        }
        has_token
    }

    /// Takes a token that is there or is added within `max_wait`, and returns the time until it is added. Tokens are added in
    /// the order in which they were taken.
    pub(crate) fn reserve(&mut self, rate: &Rate, now: Duration, max_wait: Duration) -> Option<Duration> {
        let wait = self.until_token(rate, now);
        (wait <= max_wait).then(|| {
            self.take_in_advance(rate, now);
            wait
        })
    }

    /// Takes a token, also one that is only added later.
    pub(crate) fn take_in_advance(&mut self, rate: &Rate, now: Duration) {
        self.full_at = self.full_at_by(rate, now) + rate.refill();
        self.rate = Some(*rate);
    }

    /// How long it takes until there is a token.
    pub(crate) fn until_token(&self, rate: &Rate, now: Duration) -> Duration {
        let refill = rate.refill();
        // The remainder of the division must not add a token.
        let capacity = refill * u128::from(rate.burst);
        let nanos = (self.full_at_by(rate, now) + refill).saturating_sub(now.as_nanos() + capacity);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// When the bucket is full, not earlier than now.
    fn full_at_by(&self, rate: &Rate, now: Duration) -> u128 {
        let full_at = if self.rate == Some(*rate) { self.full_at } else { 0 };
        full_at.max(now.as_nanos())
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

    #[test]
    fn tokens_taken_in_advance_are_paid_for() {
        let rate = Rate::new(4, Duration::from_secs(1));
        let (mut bucket, now, quarter) = (TokenBucket::default(), Duration::from_secs(5), rate.per / 4);
        for taken in 1..=10 {
            bucket.take_in_advance(&rate, now);
            assert_eq!(bucket.until_token(&rate, now), quarter * u32::saturating_sub(taken + 1, 4), "{taken}");
        }
        assert!(!bucket.take(&rate, now + quarter * 7 - Duration::from_nanos(1)));
        assert!(bucket.take(&rate, now + quarter * 7));
        // Another rate begins with a full bucket.
        assert!(bucket.take(&Rate::new(1, Duration::from_secs(1)), now));
    }
}
