//! The types of settings: how their values are displayed, and how they are written in a file.

use std::fmt::{self, Debug, Display, Formatter};
use std::time::Duration;

#[cfg(feature = "serde")]
use super::representation::{or_never, or_none, plain, text_or_bytes, time, whole};
use super::{
    Active, AtLimit, AtRate, BacklogPolicy, OverRate, PacketRate, PeerPrefix, Rate, RefuseWith, Rule, SlowConsumer,
};

/// The type of a setting: the form in which its values are displayed, read and written.
///
/// A value is displayed as a file in TOML writes it, with or without feature `serde`. Words and times have no quotes.
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
value!(usize, Display::fmt, whole);
value!(Option<usize>, |value, f| or(value, "none", f, Display::fmt), or_none);
value!(Duration, show_time, time);
value!(Option<Duration>, |value, f| or(value, "never", f, show_time), or_never);
value!(
    Option<Rate>,
    |value, f| or(value, "none", f, |Rate { burst, per }, f| {
        write!(f, "{{ burst = {burst}, per = \"{}\" }}", Shown(per))
    }),
    or_none
);
value!(
    Option<PacketRate>,
    |value, f| or(value, "none", f, |PacketRate { burst, per, over }, f| {
        let over = match over {
            OverRate::Slow => "slow",
            OverRate::Close => "close",
        };
        write!(f, "{{ burst = {burst}, per = \"{}\", over = \"{over}\" }}", Shown(per))
    }),
    or_none
);
value!(Vec<u8>, |bytes, f| Debug::fmt(&String::from_utf8_lossy(bytes), f), text_or_bytes);
value!(Vec<Rule>, |rules, f| f.debug_list().entries(rules.iter().map(Rule::to_string)).finish(), plain);
value!(PeerPrefix, |prefix, f| write!(f, "{{ v4 = {}, v6 = {} }}", prefix.v4, prefix.v6), plain);
value!(
    Active,
    |active, f| match active {
        Active::Always => f.write_str("always"),
        Active::Once => f.write_str("once"),
        Active::Count(packets) => write!(f, "{{ count = {packets} }}"),
        Active::Passive => f.write_str("passive"),
    },
    plain
);
value!(
    AtLimit,
    |at_limit, f| match at_limit {
        AtLimit::Wait => f.write_str("wait"),
        AtLimit::Close => f.write_str("close"),
        AtLimit::Reset => f.write_str("reset"),
        AtLimit::Hold(limit) => write!(f, "{{ hold = \"{}\" }}", Shown(limit)),
    },
    plain
);
value!(
    AtRate,
    |at_rate, f| match at_rate {
        AtRate::Refuse => f.write_str("refuse"),
        AtRate::Hold(limit) => write!(f, "{{ hold = \"{}\" }}", Shown(limit)),
    },
    plain
);
value!(
    BacklogPolicy,
    |policy, f| f.write_str(match policy {
        BacklogPolicy::Accept => "accept",
        BacklogPolicy::Refuse => "refuse",
        BacklogPolicy::Drop => "drop",
    }),
    plain
);

value!(
    RefuseWith,
    |how, f| f.write_str(match how {
        RefuseWith::Close => "close",
        RefuseWith::Reset => "reset",
    }),
    plain
);

value!(
    SlowConsumer,
    |policy, f| f.write_str(match policy {
        SlowConsumer::Close => "close",
        SlowConsumer::DropNewest => "drop_newest",
    }),
    plain
);

/// Displays a duration as `humantime` does: `1h 30m`.
fn show_time(time: &Duration, f: &mut Formatter<'_>) -> fmt::Result {
    const SECOND: u128 = 1_000_000_000;
    const UNITS: [(&str, &str, u128); 9] = [
        ("year", "years", 31_557_600 * SECOND),
        ("month", "months", 2_630_016 * SECOND),
        ("day", "days", 86_400 * SECOND),
        ("h", "h", 3_600 * SECOND),
        ("m", "m", 60 * SECOND),
        ("s", "s", SECOND),
        ("ms", "ms", 1_000_000),
        ("us", "us", 1_000),
        ("ns", "ns", 1),
    ];
    if time.is_zero() {
        return f.write_str("0s");
    }
    let (mut rest, mut separator) = (time.as_nanos(), "");
    for (one, many, nanos) in UNITS {
        let count = rest / nanos;
        rest %= nanos;
        if count > 0 {
            write!(f, "{separator}{count}{}", if count == 1 { one } else { many })?;
            separator = " ";
        }
    }
    Ok(())
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

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_a_file_writes_it() {
        for nanos in [0, 1, 1_500, 162_512_000, 300_000_000_000, 5_400_000_000_000, 86_400_000_000_000, u64::MAX] {
            let time = Duration::from_nanos(nanos);
            let shown = Shown(&time).to_string();
            assert_eq!(shown, humantime::format_duration(time).to_string());
            assert_eq!(humantime::parse_duration(&shown), Ok(time));
        }
    }
}
