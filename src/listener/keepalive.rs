//! How a silent TCP connection is probed by the kernel.

use std::time::Duration;

use socket2::TcpKeepalive;

/// TCP keepalive: the kernel asks a silent peer whether it is still there, and ends the connection when no answer comes.
///
/// For peers that vanish without a word (a cable, a sleeping laptop) while the connection itself may be silent for long.
///
/// ```
/// use actix_acceptor::{transport::Keepalive, Listener};
/// use std::time::Duration;
///
/// // After a minute of silence, every ten seconds, four times: a dead peer is found after 100 seconds.
/// let keepalive = Keepalive::time(Duration::from_secs(60)).interval(Duration::from_secs(10)).retries(4);
/// let listener = Listener::tcp("127.0.0.1:7000").keepalive(keepalive);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "goes to `Listener::keepalive`"]
pub struct Keepalive {
    time: Duration,
    interval: Option<Duration>,
    retries: Option<u32>,
}

impl Keepalive {
    /// How long a connection is silent before the first probe; whole seconds, 1 at least.
    pub fn time(time: Duration) -> Self {
        Keepalive { time, interval: None, retries: None }
    }

    /// The time between two probes; whole seconds, 1 at least. Default: the system's, 75 seconds on Linux.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// How many probes without an answer end the connection; 1 at least. Default: the system's, 9 on Linux.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Whether the kernel can take it: it counts in seconds.
    pub(super) fn is_valid(&self) -> bool {
        let counts = |time: Duration| time.as_secs() > 0;
        counts(self.time) && self.interval.is_none_or(counts) && self.retries != Some(0)
    }

    /// What this system can of it.
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
