//! The deadlines of one connection, in milliseconds of its arbiter's clock. Pure arithmetic: no clock is read here.
//!
//! A timestamp may be older than its value by [`tolerance`]. Every deadline is timestamp plus limit plus this tolerance, so a
//! timeout may fire slightly late, but never early. The fields are `Cell`s, since a connection stays on one thread and its
//! guard is shared there.

use std::cell::Cell;

use super::{resolution, tolerance};

/// The deadlines of one connection. A timestamp of 0 means "not running", a limit of 0 means "never".
#[derive(Debug)]
pub(crate) struct Deadlines {
    idle: Cell<u32>,
    idle_once: Cell<u32>,
    packet: Cell<u32>,
    send: u32,
    max_age: u32,
    idle_since: Cell<u64>,
    packet_since: Cell<u64>,
    stalled_since: Cell<u64>,
    paused_since: Cell<u64>,
    expires: u64,
    /// Whether the next deadline must be computed again.
    changed: Cell<bool>,
}

/// The timeouts a connection starts with, in milliseconds; 0 for none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timeouts {
    pub(crate) idle: u32,
    pub(crate) packet: u32,
    pub(crate) send: u32,
    pub(crate) max_age: u32,
}

impl Timeouts {
    /// The shortest timeout in use, 0 for none.
    pub(crate) fn shortest(&self) -> u32 {
        shortest([self.idle, self.packet, self.send, self.max_age])
    }
}

/// A deadline that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    Age,
    Send,
    Packet,
    Idle,
}

impl Deadlines {
    pub(crate) fn new(timeouts: Timeouts, opened: u64) -> Self {
        let Timeouts { idle, packet, send, max_age } = timeouts;
        let expires =
            if max_age == 0 { 0 } else { opened + u64::from(max_age) + u64::from(tolerance(resolution(max_age))) };
        Deadlines {
            idle: Cell::new(idle),
            idle_once: Cell::new(0),
            packet: Cell::new(packet),
            send,
            max_age,
            idle_since: Cell::new(opened),
            packet_since: Cell::new(0),
            stalled_since: Cell::new(0),
            paused_since: Cell::new(0),
            expires,
            changed: Cell::new(true),
        }
    }

    /// Sets the idle timeout and restarts it.
    pub(crate) fn set_idle(&self, limit: u32, now: u64) {
        self.idle.set(limit);
        self.idle_once.set(0);
        self.idle_since.set(now);
        self.mark_changed();
    }

    /// Sets the idle timeout until the peer sends something, and restarts it.
    pub(crate) fn set_idle_once(&self, limit: u32, now: u64) {
        self.idle_once.set(limit);
        self.idle_since.set(now);
        self.mark_changed();
    }

    pub(crate) fn set_packet(&self, limit: u32) {
        self.packet.set(limit);
        self.mark_changed();
    }

    /// The shortest limit in use, which determines the tick. 0 if there is none.
    pub(crate) fn shortest(&self) -> u32 {
        shortest([self.idle.get(), self.idle_once.get(), self.packet.get(), self.send, self.max_age])
    }

    pub(crate) fn mark_changed(&self) {
        self.changed.set(true);
    }

    /// Returns whether the next deadline must be computed again, and clears the mark.
    #[inline]
    pub(crate) fn take_changed(&self) -> bool {
        self.changed.replace(false)
    }

    /// Records that bytes were received.
    #[inline]
    pub(crate) fn received(&self) {
        if self.idle_once.get() != 0 {
            self.idle_once.set(0);
            self.mark_changed();
        }
    }

    /// Restarts the idle timeout after it fired and the connection continues.
    pub(crate) fn restart_idle(&self, now: u64) {
        self.idle_since.set(now);
        self.idle_once.set(0);
        self.mark_changed();
    }

    /// Records a decoding step. `delivered` means that complete packets were delivered, `partial` that the start of
    /// another one is left.
    #[inline]
    pub(crate) fn decoded(&self, delivered: bool, partial: bool, now: impl FnOnce() -> u64) {
        if !partial {
            self.packet_since.set(0);
        } else if delivered || self.packet_since.get() == 0 {
            self.packet_since.set(now());
            self.mark_changed();
        }
    }

    /// Whether a packet begun earlier still continues: its codec may have taken all of its bytes out of the buffer.
    #[inline]
    pub(crate) fn continues_packet(&self, delivered: bool) -> bool {
        !delivered && self.packet_since.get() != 0
    }

    /// Records a write. `progress` means that bytes were sent, `pending` that bytes are left to send.
    #[inline]
    pub(crate) fn wrote(&self, progress: bool, pending: bool, now: impl FnOnce() -> u64) {
        if !pending {
            self.stalled_since.set(0);
        } else if progress || self.stalled_since.get() == 0 {
            self.stalled_since.set(now());
            self.mark_changed();
        }
    }

    /// Pauses or resumes the idle and packet timeouts: neither runs while reading is paused. Returns true if this call
    /// ended a pause.
    ///
    /// `exact` reads the clock at both ends of a pause: a difference of timestamps would be wrong by the age of both.
    #[inline]
    pub(crate) fn set_paused(&self, paused: bool, last_read: u64, exact: impl FnOnce() -> u64) -> bool {
        if paused == (self.paused_since.get() != 0) {
            return false;
        }
        let now = exact();
        if paused {
            self.paused_since.set(now);
        } else {
            let pause = now.saturating_sub(self.paused_since.get());
            self.idle_since.set((self.idle_since.get().max(last_read) + pause).min(now));
            if self.packet_since.get() != 0 {
                self.packet_since.set((self.packet_since.get() + pause).min(now));
            }
            self.paused_since.set(0);
        }
        self.mark_changed();
        !paused
    }

    /// The limit that has expired by `now`. If several have, the most severe one.
    pub(crate) fn expired(&self, last_read: u64, now: u64) -> Option<Expired> {
        let due = |deadline: Option<u64>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.age_deadline()) {
            Some(Expired::Age)
        } else if due(self.send_deadline()) {
            Some(Expired::Send)
        } else if due(self.packet_deadline()) {
            Some(Expired::Packet)
        } else if due(self.idle_deadline(last_read)) {
            Some(Expired::Idle)
        } else {
            None
        }
    }

    /// Whether the connection has reached its maximum age.
    pub(crate) fn has_age_expired(&self, now: u64) -> bool {
        self.age_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Whether the peer was silent for the idle timeout.
    pub(crate) fn has_idle_expired(&self, last_read: u64, now: u64) -> bool {
        self.idle_deadline(last_read).is_some_and(|deadline| deadline <= now)
    }

    /// The idle timeout, 0 for none.
    pub(crate) fn idle_limit(&self) -> u32 {
        self.idle.get()
    }

    /// The send timeout, 0 for none.
    pub(crate) fn send_limit(&self) -> u32 {
        self.send
    }

    /// Whether the peer has accepted nothing for the send timeout.
    pub(crate) fn has_send_expired(&self, now: u64) -> bool {
        self.send_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// The earliest deadline.
    pub(crate) fn next(&self, last_read: u64) -> Option<u64> {
        [self.age_deadline(), self.send_deadline(), self.packet_deadline(), self.idle_deadline(last_read)]
            .into_iter()
            .flatten()
            .min()
    }

    /// When the connection reaches its maximum age.
    pub(crate) fn age_deadline(&self) -> Option<u64> {
        (self.expires != 0).then_some(self.expires)
    }

    /// The deadline of the idle timeout, counted from `since`. It also runs while reading is paused.
    pub(crate) fn idle_deadline_after(&self, since: u64) -> Option<u64> {
        deadline(since, self.idle_limit_now())
    }

    /// As [`idle_deadline_after`](Self::idle_deadline_after), counted from the beginning of the pause if that is later.
    pub(crate) fn idle_deadline_of_pause(&self, since: u64) -> Option<u64> {
        let since = if since == 0 { 0 } else { since.max(self.paused_since.get()) };
        self.idle_deadline_after(since)
    }

    fn send_deadline(&self) -> Option<u64> {
        deadline(self.stalled_since.get(), self.send)
    }

    fn packet_deadline(&self) -> Option<u64> {
        deadline(self.packet_since.get(), self.packet.get()).filter(|_| self.paused_since.get() == 0)
    }

    fn idle_deadline(&self, last_read: u64) -> Option<u64> {
        deadline(self.idle_since.get().max(last_read), self.idle_limit_now()).filter(|_| self.paused_since.get() == 0)
    }

    fn idle_limit_now(&self) -> u32 {
        if self.idle_once.get() > 0 {
            self.idle_once.get()
        } else {
            self.idle.get()
        }
    }
}

fn deadline(since: u64, limit: u32) -> Option<u64> {
    (since != 0 && limit != 0).then(|| since + u64::from(limit) + u64::from(tolerance(resolution(limit))))
}

fn shortest<const N: usize>(limits: [u32; N]) -> u32 {
    limits.into_iter().filter(|limit| *limit > 0).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadlines(idle: u32, packet: u32, send: u32) -> Deadlines {
        Deadlines::new(Timeouts { idle, packet, send, max_age: 0 }, 1)
    }

    #[test]
    fn a_timeout_fires_within_a_tenth_and_never_early() {
        for limit in [50, 100, 1_000, 10_000, 60_000] {
            let deadlines = deadlines(limit, 0, 0);
            // The timestamp is up to one resolution old when the peer falls silent.
            assert_eq!(deadlines.expired(1, 1 + u64::from(limit)), None);
            let late = deadlines.next(1).unwrap() - 1 - u64::from(limit);
            assert!(late + u64::from(resolution(limit)) <= u64::from(limit.div_ceil(10).max(10)), "{limit}: {late}");
        }
    }

    #[test]
    fn a_pause_does_not_count() {
        let deadlines = deadlines(1_000, 0, 0);
        deadlines.set_paused(true, 1, || 500);
        assert_eq!(deadlines.next(1), None);
        deadlines.set_paused(false, 1, || 10_500);
        assert_eq!(deadlines.expired(1, 11_000), None);
        assert_eq!(deadlines.expired(1, 11_060), Some(Expired::Idle));
    }

    #[test]
    fn progress_does_not_extend_the_packet_timeout() {
        let deadlines = deadlines(0, 1_000, 0);
        deadlines.decoded(false, true, || 100);
        deadlines.decoded(false, true, || 900);
        assert_eq!(deadlines.expired(900, 1_150), Some(Expired::Packet));
        deadlines.decoded(true, true, || 1_160);
        assert_eq!(deadlines.expired(1_160, 1_200), None);
    }

    #[test]
    fn progress_extends_the_send_timeout() {
        let deadlines = deadlines(0, 0, 1_000);
        deadlines.wrote(false, true, || 100);
        deadlines.wrote(true, true, || 900);
        assert_eq!(deadlines.expired(1, 1_500), None);
        assert_eq!(deadlines.expired(1, 1_950), Some(Expired::Send));
    }
}
