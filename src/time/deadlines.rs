//! The deadlines of one connection, in milliseconds of its arbiter's clock. Pure arithmetic: no clock is read here.
//!
//! A timestamp may be older than its value by [`tolerance`], so every deadline is later than timestamp plus limit by that
//! much: a timeout may fire a little late, but never early.

use super::{resolution, tolerance};

/// The deadlines of one connection. A timestamp of 0 means "not running", a limit of 0 means "never".
#[derive(Debug)]
pub(crate) struct Deadlines {
    idle: u32,
    idle_once: u32,
    packet: u32,
    send: u32,
    age: u32,
    idle_from: u64,
    packet_since: u64,
    stalled_since: u64,
    paused_since: u64,
    expires: u64,
    /// The next deadline has to be computed again.
    pub(crate) changed: bool,
}

/// A limit that has expired.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    Age,
    Send,
    Packet,
    Idle,
}

impl Deadlines {
    pub(crate) fn new(idle: u32, packet: u32, send: u32, opened: u64, max_age: u32) -> Self {
        let expires =
            if max_age == 0 { 0 } else { opened + u64::from(max_age) + u64::from(tolerance(resolution(max_age))) };
        Deadlines {
            idle,
            idle_once: 0,
            packet,
            send,
            age: max_age,
            idle_from: opened,
            packet_since: 0,
            stalled_since: 0,
            paused_since: 0,
            expires,
            changed: true,
        }
    }

    /// Sets the idle limit until it is set again.
    pub(crate) fn set_idle(&mut self, limit: u32, now: u64) {
        (self.idle, self.idle_once, self.idle_from, self.changed) = (limit, 0, now, true);
    }

    /// Sets the idle limit once: until the peer sends something.
    pub(crate) fn set_idle_once(&mut self, limit: u32, now: u64) {
        (self.idle_once, self.idle_from, self.changed) = (limit, now, true);
    }

    pub(crate) fn set_packet(&mut self, limit: u32) {
        (self.packet, self.changed) = (limit, true);
    }

    /// The shortest limit in use, which determines the tick. 0 if there is none.
    pub(crate) fn shortest(&self) -> u32 {
        [self.idle, self.idle_once, self.packet, self.send, self.age]
            .into_iter()
            .filter(|limit| *limit > 0)
            .min()
            .unwrap_or(0)
    }

    /// Records that bytes were received.
    #[inline]
    pub(crate) fn on_read(&mut self) {
        if self.idle_once != 0 {
            (self.idle_once, self.changed) = (0, true);
        }
    }

    /// Starts the idle time again, after the callback for an idle timeout chose to continue.
    pub(crate) fn restart_idle(&mut self, now: u64) {
        (self.idle_from, self.idle_once, self.changed) = (now, 0, true);
    }

    /// Records a decoding step. `delivered`: whole packets were delivered; `partial`: the beginning of another one is left.
    #[inline]
    pub(crate) fn decoded(&mut self, delivered: bool, partial: bool, now: u64) {
        if !partial {
            self.packet_since = 0;
        } else if delivered || self.packet_since == 0 {
            (self.packet_since, self.changed) = (now, true);
        }
    }

    /// Records a write. `progress`: bytes were sent; `pending`: bytes are left to send.
    #[inline]
    pub(crate) fn wrote(&mut self, progress: bool, pending: bool, now: u64) {
        if !pending {
            self.stalled_since = 0;
        } else if progress || self.stalled_since == 0 {
            (self.stalled_since, self.changed) = (now, true);
        }
    }

    /// Pauses or resumes the idle and the packet time: neither runs while reading is paused. Returns true if this call
    /// ended a pause.
    ///
    /// Both ends of a pause are measured exactly: a difference of timestamps would be wrong by the age of both.
    #[inline]
    pub(crate) fn set_paused(&mut self, paused: bool, last_read: u64, exact: impl FnOnce() -> u64) -> bool {
        if paused == (self.paused_since != 0) {
            return false;
        }
        let now = exact();
        if paused {
            self.paused_since = now;
        } else {
            let pause = now.saturating_sub(self.paused_since);
            self.idle_from = (self.idle_from.max(last_read) + pause).min(now);
            if self.packet_since != 0 {
                self.packet_since = (self.packet_since + pause).min(now);
            }
            self.paused_since = 0;
        }
        self.changed = true;
        !paused
    }

    /// The limit that has expired, if any. If several have, the most severe one.
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

    /// Whether the peer accepted no bytes for the send limit.
    pub(crate) fn send_expired(&self, now: u64) -> bool {
        self.send_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// The earliest deadline.
    pub(crate) fn due(&self, last_read: u64) -> Option<u64> {
        [self.age_deadline(), self.send_deadline(), self.packet_deadline(), self.idle_deadline(last_read)]
            .into_iter()
            .flatten()
            .min()
    }

    fn age_deadline(&self) -> Option<u64> {
        (self.expires != 0).then_some(self.expires)
    }

    fn send_deadline(&self) -> Option<u64> {
        deadline(self.stalled_since, self.send)
    }

    fn packet_deadline(&self) -> Option<u64> {
        deadline(self.packet_since, self.packet).filter(|_| self.paused_since == 0)
    }

    fn idle_deadline(&self, last_read: u64) -> Option<u64> {
        let limit = if self.idle_once > 0 { self.idle_once } else { self.idle };
        deadline(self.idle_from.max(last_read), limit).filter(|_| self.paused_since == 0)
    }
}

fn deadline(since: u64, limit: u32) -> Option<u64> {
    (since != 0 && limit != 0).then(|| since + u64::from(limit) + u64::from(tolerance(resolution(limit))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_expires_within_a_tenth_and_never_early() {
        for limit in [50, 100, 1_000, 10_000, 60_000] {
            let deadlines = Deadlines::new(limit, 0, 0, 1, 0);
            // The timestamp is up to one resolution old when the peer falls silent.
            assert_eq!(deadlines.expired(1, 1 + u64::from(limit)), None);
            let due = deadlines.due(1).unwrap() - 1 - u64::from(limit);
            assert!(due + u64::from(resolution(limit)) <= u64::from(limit.div_ceil(10).max(10)), "{limit}: {due}");
        }
    }

    #[test]
    fn a_pause_does_not_count() {
        let mut deadlines = Deadlines::new(1_000, 0, 0, 1, 0);
        deadlines.set_paused(true, 1, || 500);
        assert_eq!(deadlines.due(1), None);
        deadlines.set_paused(false, 1, || 10_500);
        assert_eq!(deadlines.expired(1, 11_000), None);
        assert_eq!(deadlines.expired(1, 11_060), Some(Expired::Idle));
    }

    #[test]
    fn progress_does_not_extend_a_packet() {
        let mut deadlines = Deadlines::new(0, 1_000, 0, 1, 0);
        deadlines.decoded(false, true, 100);
        deadlines.decoded(false, true, 900);
        assert_eq!(deadlines.expired(900, 1_150), Some(Expired::Packet));
        deadlines.decoded(true, true, 1_160);
        assert_eq!(deadlines.expired(1_160, 1_200), None);
    }

    #[test]
    fn progress_extends_the_send_timeout() {
        let mut deadlines = Deadlines::new(0, 0, 1_000, 1, 0);
        deadlines.wrote(false, true, 100);
        deadlines.wrote(true, true, 900);
        assert_eq!(deadlines.expired(1, 1_500), None);
        assert_eq!(deadlines.expired(1, 1_950), Some(Expired::Send));
    }
}
