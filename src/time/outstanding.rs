//! [`Outstanding`]: whether an operation is still polled by the user's future. Pure arithmetic, in milliseconds.

use std::cell::Cell;

use super::resolution;

/// An outstanding operation is checked this many times within its limit.
const CHECKS: u32 = 4;

/// Whether a read or write is outstanding. A dropped future does not report that it was dropped, so this is concluded from
/// its polls: the task is woken at each check, and an outstanding operation is then polled again.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    /// When the operation was last polled without completing; 0 if there is none.
    last_poll: Cell<u64>,
}

impl Outstanding {
    /// Records a poll that did not complete the operation.
    pub(crate) fn polled(&self, now: u64) {
        self.last_poll.set(now);
    }

    /// Records that the operation has completed.
    pub(crate) fn done(&self) {
        self.last_poll.set(0);
    }

    /// When the task must be woken to see whether the operation is still outstanding; `None` if there is none, or no limit.
    pub(crate) fn next_check(&self, limit: u32) -> Option<u64> {
        let last_poll = self.last_poll.get();
        (last_poll != 0 && limit != 0).then(|| last_poll + u64::from(limit.div_ceil(CHECKS)))
    }

    /// Returns the time of the last poll if the operation was not polled after the last check, and thus was dropped. Forgets
    /// the operation then.
    pub(crate) fn take_dropped(&self, limit: u32, now: u64) -> Option<u64> {
        // The tick may be late by its length, and the task runs before the next one.
        let is_dropped = self.next_check(limit)? + 2 * u64::from(resolution(limit)) < now;
        is_dropped.then(|| self.last_poll.replace(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_that_misses_its_check_was_dropped() {
        let read = Outstanding::default();
        assert_eq!((read.next_check(1_000), read.take_dropped(1_000, 5_000)), (None, None));
        read.polled(100);
        assert_eq!((read.next_check(1_000), read.next_check(0)), (Some(350), None));
        assert_eq!(read.take_dropped(1_000, 430), None);
        assert_eq!(read.take_dropped(1_000, 431), Some(100));
        assert_eq!(read.next_check(1_000), None);
        read.polled(500);
        read.done();
        assert_eq!(read.take_dropped(1_000, 5_000), None);
    }
}
