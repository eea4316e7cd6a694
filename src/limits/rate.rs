//! A token bucket: pure arithmetic, the time is given.

use std::time::Duration;

/// So many within so long: the capacity of a token bucket, which is full at first, and the time in which an empty one fills.
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
    /// How many are let in at once at the most.
    pub burst: u32,
    /// The time in which an empty bucket is full again.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub per: Duration,
}

impl Rate {
    /// So many within so long. A burst or a time of zero is refused where the rate is used.
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

/// `N/SECS`.
impl std::str::FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let bad = || ParseRateError(text.to_owned());
        let (burst, secs) = text.split_once('/').ok_or_else(bad)?;
        let burst = burst.trim().parse().map_err(|_| bad())?;
        let secs: f64 = secs.trim().parse().map_err(|_| bad())?;
        let per = Duration::try_from_secs_f64(secs).map_err(|_| bad())?;
        Some(Rate { burst, per }).filter(Rate::is_valid).ok_or_else(bad)
    }
}

/// A text that is no [`Rate`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate: N/SECS, both above 0, is one")]
pub struct ParseRateError(String);

/// How full a bucket is: kept as the time at which it is full again, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenBucket {
    full_at: u128,
    /// The rate it is for: at another one it is full anew.
    rate: Option<Rate>,
}

impl TokenBucket {
    /// Takes a token if there is one.
    pub(super) fn take(&mut self, rate: &Rate, now: Duration) -> bool {
        if self.rate != Some(*rate) {
            *self = TokenBucket { full_at: 0, rate: Some(*rate) };
        }
        let (now, refill) = (now.as_nanos(), rate.refill());
        let full_at = self.full_at.max(now) + refill;
        // Of what rounding leaves over nobody gets a token more.
        let fits = full_at <= now + refill * u128::from(rate.burst);
        if fits {
            self.full_at = full_at;
        }
        fits
    }

    pub(super) fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now.as_nanos()
    }

    /// The time at which it is full again: the nearer, the less is forgotten with it.
    pub(super) fn full_at(&self) -> u128 {
        self.full_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bucket_lets_in_exactly_its_capacity() {
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
