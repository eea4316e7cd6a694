//! The times of one connection, in milliseconds of its arbiter's clock: pure arithmetic, no clock is read here.
//!
//! A stamp is up to one [`grain`] old, so every deadline lies that much later than stamp and limit: late by a little,
//! never early.

use super::{resolution, tolerance};

/// Stamps of 0 stand for "not running", limits of 0 for "never".
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
    /// The deadline has to be worked out anew.
    pub(crate) changed: bool,
}

/// Whose time has come.
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

    /// From now on, until set again.
    pub(crate) fn set_idle(&mut self, limit: u32, now: u64) {
        (self.idle, self.idle_once, self.idle_from, self.changed) = (limit, 0, now, true);
    }

    /// For one wait only: until the peer sends something.
    pub(crate) fn set_idle_once(&mut self, limit: u32, now: u64) {
        (self.idle_once, self.idle_from, self.changed) = (limit, now, true);
    }

    pub(crate) fn set_packet(&mut self, limit: u32) {
        (self.packet, self.changed) = (limit, true);
    }

    /// The shortest limit in use: the tick follows it.
    pub(crate) fn shortest(&self) -> u32 {
        [self.idle, self.idle_once, self.packet, self.send, self.age]
            .into_iter()
            .filter(|limit| *limit > 0)
            .min()
            .unwrap_or(0)
    }

    /// The peer sent something.
    #[inline]
    pub(crate) fn heard(&mut self) {
        if self.idle_once != 0 {
            (self.idle_once, self.changed) = (0, true);
        }
    }

    /// A timeout was answered with going on: the same time again.
    pub(crate) fn idle_again(&mut self, now: u64) {
        (self.idle_from, self.idle_once, self.changed) = (now, 0, true);
    }

    /// Whole packets were taken out; `partial`: the begin of another one is left.
    #[inline]
    pub(crate) fn decoded(&mut self, delivered: bool, partial: bool, now: u64) {
        if !partial {
            self.packet_since = 0;
        } else if delivered || self.packet_since == 0 {
            (self.packet_since, self.changed) = (now, true);
        }
    }

    /// Bytes were sent, or the socket had no room for them.
    #[inline]
    pub(crate) fn wrote(&mut self, progress: bool, left: bool, now: u64) {
        if !left {
            self.stalled_since = 0;
        } else if progress || self.stalled_since == 0 {
            (self.stalled_since, self.changed) = (now, true);
        }
    }

    /// Idle and packet time stand still while the connection takes nothing in.
    ///
    /// Both ends of a pause are exact: a difference of stamps would have the age of both. True if a pause is over.
    #[inline]
    pub(crate) fn pause(&mut self, paused: bool, heard: u64, exact: impl FnOnce() -> u64) -> bool {
        if paused == (self.paused_since != 0) {
            return false;
        }
        let now = exact();
        if paused {
            self.paused_since = now;
        } else {
            let pause = now.saturating_sub(self.paused_since);
            self.idle_from = (self.idle_from.max(heard) + pause).min(now);
            if self.packet_since != 0 {
                self.packet_since = (self.packet_since + pause).min(now);
            }
            self.paused_since = 0;
        }
        self.changed = true;
        !paused
    }

    /// What has run out by now, the gravest first.
    pub(crate) fn expired(&self, heard: u64, now: u64) -> Option<Expired> {
        let due = |deadline: Option<u64>| deadline.is_some_and(|deadline| deadline <= now);
        if due(self.age_deadline()) {
            Some(Expired::Age)
        } else if due(self.send_deadline()) {
            Some(Expired::Send)
        } else if due(self.packet_deadline()) {
            Some(Expired::Packet)
        } else if due(self.idle_deadline(heard)) {
            Some(Expired::Idle)
        } else {
            None
        }
    }

    /// Whether the peer took nothing for too long.
    pub(crate) fn send_expired(&self, now: u64) -> bool {
        self.send_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// When to look again.
    pub(crate) fn due(&self, heard: u64) -> Option<u64> {
        [self.age_deadline(), self.send_deadline(), self.packet_deadline(), self.idle_deadline(heard)]
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

    fn idle_deadline(&self, heard: u64) -> Option<u64> {
        let limit = if self.idle_once > 0 { self.idle_once } else { self.idle };
        deadline(self.idle_from.max(heard), limit).filter(|_| self.paused_since == 0)
    }
}

fn deadline(since: u64, limit: u32) -> Option<u64> {
    (since != 0 && limit != 0).then(|| since + u64::from(limit) + u64::from(tolerance(resolution(limit))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_met_within_a_tenth_and_never_early() {
        for limit in [50, 100, 1_000, 10_000, 60_000] {
            let deadlines = Deadlines::new(limit, 0, 0, 1, 0);
            // The stamp is up to a grain old when the peer falls silent.
            assert_eq!(deadlines.expired(1, 1 + u64::from(limit)), None);
            let due = deadlines.due(1).unwrap() - 1 - u64::from(limit);
            assert!(due + u64::from(resolution(limit)) <= u64::from(limit.div_ceil(10).max(10)), "{limit}: {due}");
        }
    }

    #[test]
    fn a_pause_does_not_count() {
        let mut deadlines = Deadlines::new(1_000, 0, 0, 1, 0);
        deadlines.pause(true, 1, || 500);
        assert_eq!(deadlines.due(1), None);
        deadlines.pause(false, 1, || 10_500);
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
