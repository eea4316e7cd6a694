//! Throttles for log lines: a maximum number of lines per second, and a count of those left out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{CloseReason, HandshakeFailure};

/// At most one log line per second, over all callers that share the throttle.
#[derive(Debug)]
pub(crate) struct LogThrottle {
    since: Instant,
    next: AtomicU64,
    left_out: AtomicU64,
}

impl LogThrottle {
    pub(crate) fn new() -> Self {
        LogThrottle { since: Instant::now(), next: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Calls `line` with the number of lines left out since the last one, or leaves this line out.
    pub(crate) fn log(&self, line: impl FnOnce(u64)) {
        let now = self.since.elapsed().as_millis() as u64;
        let next = self.next.load(Relaxed);
        if now >= next && self.next.compare_exchange(next, now + 1000, Relaxed, Relaxed).is_ok() {
            line(self.left_out.swap(0, Relaxed));
        } else {
            self.left_out.fetch_add(1, Relaxed);
        }
    }
}

/// The number of closed connections that are logged per second and close reason.
const MAX_LINES: u32 = 10;

/// Throttles the log lines of closed connections over a whole pool: per close reason, and for failed handshakes per kind of
/// failure.
#[derive(Debug, Default)]
pub(crate) struct CloseLogThrottle {
    closed: Mutex<[Window; CloseReason::ALL.len()]>,
    handshakes: Mutex<[Window; HandshakeFailure::ALL.len()]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl CloseLogThrottle {
    /// Returns how many lines were left out before this one, or `None` if this line must be left out, too.
    pub(crate) fn allow(&self, reason: CloseReason) -> Option<u64> {
        self.closed.lock()[reason as usize].allow()
    }

    /// As [`allow`](Self::allow), for a handshake that failed.
    pub(crate) fn allow_handshake(&self, kind: HandshakeFailure) -> Option<u64> {
        self.handshakes.lock()[kind as usize].allow()
    }
}

impl Window {
    fn allow(&mut self) -> Option<u64> {
        if self.since.is_none_or(|since| since.elapsed().as_secs() >= 1) {
            (self.since, self.lines) = (Some(Instant::now()), 0);
        }
        if self.lines == MAX_LINES {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_endings_ten_are_logged_and_the_rest_counted() {
        let endings = CloseLogThrottle::default();
        let logged = (0..1_000).filter(|_| endings.allow(CloseReason::Error).is_some()).count();
        assert!((10..=20).contains(&logged), "{logged}");
        assert_eq!(endings.allow(CloseReason::Panic), Some(0));
        let a_second_ago = Instant::now().checked_sub(std::time::Duration::from_secs(1));
        endings.closed.lock()[CloseReason::Error as usize].since = a_second_ago;
        assert_eq!(endings.allow(CloseReason::Error), Some(1_000 - logged as u64));
    }
}
