//! The validation of settings, as a whole: every invalid one is named, with its value and what is allowed.

use super::value::{Shown, Value};
use super::{AtLimit, AtRate, PacketRate, Rate, Settings};
use crate::error::InvalidSetting;

/// Each acceptor is a thread.
const MAX_ACCEPTORS: usize = 1_024;
/// actix reserves the upper half of the number range.
const MAX_MAILBOX: usize = u32::MAX as usize;

impl Settings {
    /// Every setting that is invalid, by itself or in combination with another.
    pub(crate) fn invalid_settings(&self) -> Vec<InvalidSetting> {
        self.invalid_settings_after(&Settings::default())
    }

    /// As [`invalid_settings`](Settings::invalid_settings), after a change of these settings.
    fn invalid_settings_after(&self, before: &Settings) -> Vec<InvalidSetting> {
        let (v4, v6, jitter) = (self.peer_prefix.v4, self.peer_prefix.v6, self.max_age_jitter);
        [
            at_least_1("acceptors", self.acceptors),
            self.acceptors.filter(|acceptors| *acceptors > MAX_ACCEPTORS).map(|acceptors| {
                InvalidSetting::new("acceptors", format!("must be at most {MAX_ACCEPTORS} (got {acceptors})"))
            }),
            self.invalid_watermark(before),
            at_least_1("max_read_buffer", Some(self.max_read_buffer)),
            at_least_1("mailbox_capacity", Some(self.mailbox_capacity)),
            (self.mailbox_capacity > MAX_MAILBOX).then(|| {
                let why = format!("must be at most {MAX_MAILBOX} (got {})", self.mailbox_capacity);
                InvalidSetting::new("mailbox_capacity", why)
            }),
            (self.max_age.is_none() && !jitter.is_zero()).then(|| {
                let why = format!("must be zero unless `max_age` is set (got {})", Shown(&jitter));
                InvalidSetting::new("max_age_jitter", why)
            }),
            at_least_1("max_connections", Some(self.max_connections)),
            at_least_1("max_per_peer", self.max_per_peer),
            matches!(self.at_limit, AtLimit::Hold(limit) if limit.is_zero())
                .then(|| InvalidSetting::new("at_limit", "the hold duration must be greater than zero (got 0s)")),
            matches!(self.at_rate, AtRate::Hold(limit) if limit.is_zero())
                .then(|| InvalidSetting::new("at_rate", "the hold duration must be greater than zero (got 0s)")),
            at_least_1("max_handshakes", Some(self.max_handshakes)),
            at_least_1("outbox", Some(self.outbox)),
            at_least_1("max_blocking", Some(self.max_blocking)),
            self.watchdog.is_some_and(|limit| limit.is_zero()).then(|| {
                InvalidSetting::new("watchdog", "must be greater than zero (got 0s); `None` disables the watchdog")
            }),
            valid_rate("accept_rate", self.accept_rate),
            valid_rate("peer_rate", self.peer_rate),
            valid_rate("packet_rate", self.packet_rate.as_ref().map(PacketRate::rate)),
            (v4 > 32 || v6 > 128).then(|| {
                let why = format!("must be at most 32 bits for IPv4 and 128 for IPv6 (got {v4} and {v6})");
                InvalidSetting::new("peer_prefix", why)
            }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Every setting that is invalid, or that differs from `before` and cannot be changed while the pool runs.
    pub(crate) fn invalid_changes(&self, before: &Settings) -> Vec<InvalidSetting> {
        let mut invalid = self.invalid_settings_after(before);
        invalid.extend(
            [
                unchanged("peer_prefix", &self.peer_prefix, &before.peer_prefix),
                unchanged("reserve_descriptor", &self.reserve_descriptor, &before.reserve_descriptor),
                unchanged("max_handshakes", &self.max_handshakes, &before.max_handshakes),
                unchanged("watchdog", &self.watchdog, &before.watchdog),
            ]
            .into_iter()
            .flatten(),
        );
        invalid
    }

    /// The watermark that does not fit the other one: the one that was changed, or the higher one if both were.
    fn invalid_watermark(&self, before: &Settings) -> Option<InvalidSetting> {
        let (high, low) = (self.high_watermark, self.low_watermark);
        (low > high).then(|| {
            if high == before.high_watermark {
                let why = format!("must be at most `high_watermark`, which is {high} (got {low})");
                return InvalidSetting::new("low_watermark", why);
            }
            let why = format!("must be at least `low_watermark`, which is {low} (got {high})");
            InvalidSetting::new("high_watermark", why)
        })
    }
}

fn at_least_1(setting: &'static str, value: Option<usize>) -> Option<InvalidSetting> {
    (value == Some(0)).then(|| InvalidSetting::new(setting, "must be at least 1 (got 0)"))
}

pub(crate) fn valid_rate(setting: &'static str, rate: Option<Rate>) -> Option<InvalidSetting> {
    rate.filter(|rate| !rate.is_valid()).map(|Rate { burst, per, .. }| {
        InvalidSetting::new(
            setting,
            format!("`burst` and `per` must be greater than zero (got burst {burst}, per {})", Shown(&per)),
        )
    })
}

fn unchanged<T: Value + PartialEq>(setting: &'static str, value: &T, before: &T) -> Option<InvalidSetting> {
    (value != before).then(|| {
        let (before, value) = (Shown(before), Shown(value));
        let why = format!("cannot be changed while the pool runs (is {before}, got {value}); restart the pool");
        InvalidSetting::new(setting, why)
    })
}
