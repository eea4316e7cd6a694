//! [`DrainConfig`], how a pool drains, as a part of its configuration.

use std::fmt;
use std::time::Duration;

use super::value::Shown;

/// How a pool drains with [`Drain::configured`](crate::Drain::configured). A field that is left out (`None`) stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize),
    serde(default, deny_unknown_fields, expecting = "a table with `grace` and `delay`")
)]
#[non_exhaustive]
pub struct DrainConfig {
    /// The grace period: [`Drain::grace`](crate::Drain::grace). `Some(None)` sets no limit, in a file `"never"`.
    ///
    /// Default: [`Settings::grace`](crate::Settings::grace).
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::representation::given_or_never"))]
    pub grace: Option<Option<Duration>>,
    /// How long to continue accepting while the pool is not ready: [`Drain::delay`](crate::Drain::delay).
    ///
    /// Default: no delay.
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::representation::time::given"))]
    pub delay: Option<Duration>,
}

impl DrainConfig {
    /// Sets the fields that `other` sets.
    pub(crate) fn apply(&mut self, other: DrainConfig) {
        self.grace = other.grace.or(self.grace);
        self.delay = other.delay.or(self.delay);
    }
}

impl fmt::Display for DrainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.grace {
            None => f.write_str("grace as in the settings")?,
            Some(grace) => write!(f, "grace {}", Shown(grace))?,
        }
        write!(f, ", delay {}", Shown(&self.delay.unwrap_or_default()))
    }
}
