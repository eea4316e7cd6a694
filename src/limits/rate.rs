//! A token bucket. Pure arithmetic: the caller passes the time.

use std::time::Duration;

/// A rate limit, as a token bucket: its capacity, and the time in which an empty bucket fills. A bucket starts full.
///
/// As text: `N/SECS`.
///
/// ```
/// use actix_acceptor::limits::Rate;
/// use std::time::Duration;
///
/// assert_eq!("100/1".parse(), Ok(Rate::new(100, Duration::from_secs(1))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct Rate {
    /// The capacity of the bucket: how many are admitted at once.
    pub burst: u32,
    /// The time in which an empty bucket fills.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub per: Duration,
}

impl Rate {
    /// Creates a rate. A burst or a time of zero is rejected where the rate is used.
    #[must_use]
    pub const fn new(burst: u32, per: Duration) -> Self {
        Rate { burst, per }
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.burst > 0 && !self.per.is_zero()
    }

    fn refill(&self) -> u128 {
        self.per.as_nanos() / u128::from(self.burst.max(1))
    }
}

/// Parses `N/SECS`, both greater than 0. `SECS` may have a fraction.
impl std::str::FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let invalid = || ParseRateError(text.to_owned());
        let (burst, secs) = text.split_once('/').ok_or_else(invalid)?;
        let burst = burst.trim().parse().map_err(|_| invalid())?;
        let secs: f64 = secs.trim().parse().map_err(|_| invalid())?;
        let per = Duration::try_from_secs_f64(secs).map_err(|_| invalid())?;
        Some(Rate { burst, per }).filter(Rate::is_valid).ok_or_else(invalid)
    }
}

/// The text is not a valid [`Rate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid rate {0:?}: expected N/SECS with both greater than 0")]
pub struct ParseRateError(String);

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

    #[test]
    fn a_rate_is_a_count_and_a_time() {
        assert_eq!("5/0.5".parse(), Ok(Rate::new(5, Duration::from_millis(500))));
        for bad in ["", "5", "0/1", "5/0", "5/-1", "x/1", "5/x", "5/1e400"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
