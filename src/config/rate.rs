//! [`Rate`], a rate limit as a setting: a burst and a time.

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
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(deny_unknown_fields, expecting = "a table such as { burst = 100, per = \"1s\" }")
)]
#[non_exhaustive]
pub struct Rate {
    /// The capacity of the bucket: how many are admitted at once.
    #[cfg_attr(feature = "serde", serde(with = "super::representation::whole"))]
    pub burst: u32,
    /// The time in which an empty bucket fills.
    #[cfg_attr(feature = "serde", serde(with = "super::representation::time"))]
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

    /// The time in which one token is added, in nanoseconds.
    pub(crate) fn refill(&self) -> u128 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_and_a_time() {
        assert_eq!("5/0.5".parse(), Ok(Rate::new(5, Duration::from_millis(500))));
        for bad in ["", "5", "0/1", "5/0", "5/-1", "x/1", "5/x", "5/1e400"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }
}
