//! The types of settings: how their values are displayed, and how they are written in a file.

use std::fmt::{self, Debug, Display, Formatter};
use std::time::Duration;

#[cfg(feature = "serde")]
use super::representation::{or_never, or_none, plain, text_or_bytes};
use super::{Active, AtLimit, BacklogPolicy, PeerPrefix, Rate, Rule};

/// The type of a setting: the form in which its values are displayed, read and written.
pub(super) trait Value: Sized {
    fn show(&self, f: &mut Formatter<'_>) -> fmt::Result;

    #[cfg(feature = "serde")]
    fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    #[cfg(feature = "serde")]
    fn read<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Shows a value.
pub(super) struct Shown<'a, T>(pub(super) &'a T);

impl<T: Value> Display for Shown<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.show(f)
    }
}

/// Implements [`Value`] with a function that shows a value, and a module for `serde(with)`.
macro_rules! value {
    ($type:ty, $show:expr, $($with:tt)+) => {
        impl Value for $type {
            fn show(&self, f: &mut Formatter<'_>) -> fmt::Result {
                let show: fn(&Self, &mut Formatter<'_>) -> fmt::Result = $show;
                show(self, f)
            }

            #[cfg(feature = "serde")]
            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $($with)+::serialize(self, serializer)
            }

            #[cfg(feature = "serde")]
            fn read<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $($with)+::deserialize(deserializer)
            }
        }
    };
}

value!(bool, Display::fmt, plain);
value!(usize, Display::fmt, plain);
value!(Option<usize>, |value, f| or(value, "none", f, Display::fmt), or_none);
value!(Duration, show_time, humantime_serde);
value!(Option<Duration>, |value, f| or(value, "never", f, show_time), or_never);
value!(
    Option<Rate>,
    |value, f| or(value, "none", f, |rate, f| write!(f, "{} per {:?}", rate.burst, rate.per)),
    or_none
);
value!(Vec<u8>, |bytes, f| Debug::fmt(&String::from_utf8_lossy(bytes), f), text_or_bytes);
value!(Vec<Rule>, |rules, f| write!(f, "[{}]", join(rules)), plain);
value!(PeerPrefix, |prefix, f| write!(f, "{} and {} bits", prefix.v4, prefix.v6), plain);
value!(Active, Debug::fmt, plain);
value!(AtLimit, Debug::fmt, plain);
value!(BacklogPolicy, Debug::fmt, plain);

/// Displays a duration as `Debug` does, but zero as `0s`.
fn show_time(time: &Duration, f: &mut Formatter<'_>) -> fmt::Result {
    match time.is_zero() {
        true => f.write_str("0s"),
        false => Debug::fmt(time, f),
    }
}

fn join(rules: &[Rule]) -> String {
    rules.iter().map(Rule::to_string).collect::<Vec<_>>().join(", ")
}

fn or<T>(
    value: &Option<T>,
    none: &str,
    f: &mut Formatter<'_>,
    show: fn(&T, &mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    match value {
        Some(value) => show(value, f),
        None => f.write_str(none),
    }
}
