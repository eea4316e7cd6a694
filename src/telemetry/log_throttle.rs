//! Log lines that may come often: so many a second at most, and how many were left out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::CloseReason;

/// One log line a second at most, over all who complain of the same.
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

    /// Writes the line, told how many were left out since the last one, or leaves it out.
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

/// How many connections a second may end with a line of their own, per reason.
const ENDINGS: u32 = 10;

/// Log lines of connections that ended: so many a second per reason, over a whole pool.
#[derive(Debug, Default)]
pub(crate) struct CloseLogThrottle(Mutex<[Window; CloseReason::ALL.len()]>);

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl CloseLogThrottle {
    /// Whether one more line may be written, and how many were left out before it.
    pub(crate) fn allow(&self, reason: CloseReason) -> Option<u64> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = &mut written[reason as usize];
        if written.since.is_none_or(|since| since.elapsed().as_secs() >= 1) {
            (written.since, written.lines) = (Some(Instant::now()), 0);
        }
        if written.lines == ENDINGS {
            written.left_out += 1;
            return None;
        }
        written.lines += 1;
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_endings_some_are_told_and_the_rest_counted() {
        let endings = CloseLogThrottle::default();
        let told = (0..1_000).filter(|_| endings.allow(CloseReason::Error).is_some()).count();
        assert!((10..=20).contains(&told), "{told}");
        assert_eq!(endings.allow(CloseReason::Panic), Some(0));
        let a_second_ago = Instant::now().checked_sub(std::time::Duration::from_secs(1));
        endings.0.lock().unwrap()[CloseReason::Error as usize].since = a_second_ago;
        assert_eq!(endings.allow(CloseReason::Error), Some(1_000 - told as u64));
    }
}
