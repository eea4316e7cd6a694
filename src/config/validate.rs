//! Settings are checked as a whole: what would be refused is named, all of it.

use super::Settings;
use crate::error::InvalidSetting;
use crate::limits::{AtLimit, Rate};

impl Settings {
    /// What makes no sense, by itself or beside another.
    pub(crate) fn invalid_settings(&self) -> Vec<InvalidSetting> {
        let unsound = |rate: &Option<Rate>| rate.is_some_and(|rate| !rate.is_valid());
        [
            (self.acceptors == Some(0), "acceptors", "a pool needs at least one"),
            (self.low_watermark > self.high_watermark, "watermarks", "the low mark is above the high one"),
            (self.mailbox_capacity == 0, "mailbox_capacity", "a mailbox needs room for one message"),
            (self.max_age.is_none() && !self.max_age_jitter.is_zero(), "max_age_jitter", "there is no maximum age"),
            (self.max_connections == 0, "max_connections", "a pool needs room for one connection"),
            (self.max_per_peer == Some(0), "max_per_peer", "a peer needs room for one connection"),
            (matches!(self.at_limit, AtLimit::Hold(limit) if limit.is_zero()), "at_limit", "to hold takes time"),
            (self.max_handshakes == 0, "max_handshakes", "nobody could ever be ready"),
            (self.watchdog.is_some_and(|limit| limit.is_zero()), "watchdog", "a callback takes time"),
            (unsound(&self.accept_rate), "accept_rate", "a count and a time above zero are needed"),
            (unsound(&self.peer_rate), "peer_rate", "a count and a time above zero are needed"),
            (self.peer_prefix.v4 > 32 || self.peer_prefix.v6 > 128, "peer_prefix", "an address has no more bits"),
        ]
        .into_iter()
        .filter_map(|(wrong, setting, why)| wrong.then_some(InvalidSetting::new(setting, why)))
        .collect()
    }

    /// What of this cannot take the place of other settings while the pool runs.
    pub(crate) fn invalid_changes(&self, before: &Settings) -> Vec<InvalidSetting> {
        let why = "needs a restart of the pool";
        let mut invalid = self.invalid_settings();
        invalid.extend(
            [
                (self.peer_prefix != before.peer_prefix, "peer_prefix"),
                (self.reserve_descriptor != before.reserve_descriptor, "reserve_descriptor"),
                (self.max_handshakes != before.max_handshakes, "max_handshakes"),
                (self.watchdog != before.watchdog, "watchdog"),
            ]
            .into_iter()
            .filter_map(|(changed, setting)| changed.then_some(InvalidSetting::new(setting, why))),
        );
        invalid
    }
}
