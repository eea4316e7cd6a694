//! [`Config`], a validated copy of all settings that is replaced as a whole.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;

use super::Settings;
use crate::time::{limit_millis, Timeouts};

/// The settings in force, with values derived from them once instead of once per connection.
///
/// Settings that take effect at once are read through [`SharedConfig`]. A connection keeps the snapshot that it started with.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    pub(crate) refusal_message: Bytes,
    timeouts: Timeouts,
    max_age_jitter: u32,
}

impl Config {
    fn new(settings: Settings) -> Self {
        let timeouts = Timeouts {
            idle: limit_millis(settings.idle_timeout),
            packet: limit_millis(settings.packet_timeout),
            send: limit_millis(settings.send_timeout),
            max_age: limit_millis(settings.max_age),
        };
        let refusal_message = Bytes::from(settings.refusal_message.clone());
        let max_age_jitter = limit_millis(Some(settings.max_age_jitter));
        Config { settings, refusal_message, timeouts, max_age_jitter }
    }

    pub(crate) fn handshake_timeout(&self) -> Option<Duration> {
        self.settings.handshake_timeout.filter(|limit| !limit.is_zero())
    }

    /// The timeouts of one new connection: its maximum age is spread over `max_age` ± `max_age_jitter`.
    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts { max_age: jittered(self.timeouts.max_age, self.max_age_jitter), ..self.timeouts }
    }
}

fn jittered(max_age: u32, jitter: u32) -> u32 {
    use std::hash::{BuildHasher, RandomState};
    if max_age == 0 || jitter == 0 {
        return max_age;
    }
    // Each `RandomState` has different keys.
    let random = RandomState::new().hash_one(());
    let offset = (random % (2 * u64::from(jitter) + 1)) as i64 - i64::from(jitter);
    (i64::from(max_age) + offset).clamp(1, i64::from(u32::MAX)) as u32
}

/// The current [`Config`] of a pool. Readers never block.
#[derive(Debug)]
pub(crate) struct SharedConfig(ArcSwap<Config>);

impl SharedConfig {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(SharedConfig(ArcSwap::from_pointee(Config::new(settings))))
    }

    /// The current settings, for short use. To keep them, use [`load_full`](Self::load_full).
    pub(crate) fn load(&self) -> Guard<Arc<Config>> {
        self.0.load()
    }

    /// The current settings, for long use.
    pub(crate) fn load_full(&self) -> Arc<Config> {
        self.0.load_full()
    }

    pub(crate) fn set(&self, settings: Settings) {
        self.0.store(Arc::new(Config::new(settings)));
    }
}
