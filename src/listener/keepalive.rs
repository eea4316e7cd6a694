//! TCP keepalive probes.

use std::time::Duration;

use socket2::TcpKeepalive;

use crate::error::InvalidSetting;

/// TCP keepalive: the kernel probes a silent peer and ends the connection when no answer arrives.
///
/// It detects peers that vanish without closing the connection (a cut cable, a sleeping laptop), even if connections may be
/// silent for a long time.
///
/// ```
/// use actix_acceptor::{transport::Keepalive, Listener};
/// use std::time::Duration;
///
/// // After a minute of silence, every ten seconds, four times: a dead peer is found after 100 seconds.
/// let keepalive = Keepalive::time(Duration::from_secs(60)).interval(Duration::from_secs(10)).retries(4);
/// let listener = Listener::tcp("127.0.0.1:7878").keepalive(keepalive);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "pass it to `Listener::keepalive`"]
pub struct Keepalive {
    time: Duration,
    interval: Option<Duration>,
    retries: Option<u32>,
}

impl Keepalive {
    /// Sets how long a connection is silent before the first probe, in whole seconds, at least 1.
    pub fn time(time: Duration) -> Self {
        Keepalive { time, interval: None, retries: None }
    }

    /// Sets the time between two probes, in whole seconds, at least 1.
    ///
    /// Default: the system's, 75 seconds on Linux.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// Sets how many unanswered probes end the connection, at least 1.
    ///
    /// Default: the system's, 9 on Linux.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// The first value that the kernel does not accept. It counts in whole seconds.
    pub(super) fn invalid_setting(&self) -> Option<InvalidSetting> {
        let too_short = |name, time: Duration| {
            (time.as_secs() == 0).then(|| format!("the {name} must be at least 1 second (got {time:?})"))
        };
        let why = too_short("time", self.time)
            .or_else(|| too_short("interval", self.interval?))
            .or_else(|| (self.retries == Some(0)).then(|| "the retries must be at least 1 (got 0)".to_owned()));
        why.map(|why| InvalidSetting::new("keepalive", why))
    }

    /// Whether it leaves to the system what the other one sets.
    pub(super) fn unsets(&self, before: &Self) -> bool {
        (self.interval.is_none() && before.interval.is_some()) || (self.retries.is_none() && before.retries.is_some())
    }

    /// The parameters that this system supports.
    pub(super) fn params(&self) -> TcpKeepalive {
        let params = TcpKeepalive::new().with_time(self.time);
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd", windows))]
        {
            let params = self.interval.map_or(params.clone(), |interval| params.with_interval(interval));
            self.retries.map_or(params.clone(), |retries| params.with_retries(retries))
        }
        #[cfg(not(any(
            target_os = "linux",
            target_os = "android",
            target_os = "macos",
            target_os = "freebsd",
            windows
        )))]
        params
    }
}
