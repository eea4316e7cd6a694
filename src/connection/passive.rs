//! What bounds a passive connection once its peer has left.

use super::{Active, Connection, Flags, Protocol, Timeout, Trigger};

impl<P: Protocol> Connection<P> {
    /// Runs the idle timeout of a passive connection whose peer has shut down its sending side, since nothing else would end
    /// it. While the connection sends or upgrades, other timeouts bound it. Called whenever the socket is probed.
    #[cold]
    pub(super) fn watch_passive(&mut self, now: u64) {
        if !self.is_passive() {
            return;
        }
        let has_left = self.has(Flags::EOF) || self.conn.io.is_read_closed() == Some(true);
        if !has_left || !self.is_open() {
            if let Some(cold) = self.cold.as_mut() {
                cold.passive_since = 0;
            }
            return;
        }
        let is_idle = self.passive_deadline().is_some_and(|deadline| deadline <= now);
        let cold = self.cold();
        if is_idle || cold.passive_since == 0 {
            cold.passive_since = now;
        }
        if is_idle {
            self.conn.guard.deadlines.restart_idle(now);
            self.call_caught(Trigger::Idle, |me, conn| me.timeout(Timeout::Idle, conn));
        }
    }

    /// The end of the idle timeout of a passive connection whose peer has left.
    pub(super) fn passive_deadline(&self) -> Option<u64> {
        let cold = self.cold.as_ref().filter(|_| self.is_passive())?;
        self.conn.guard.deadlines.idle_deadline_of_pause(cold.passive_since)
    }

    pub(super) fn is_passive(&self) -> bool {
        matches!(self.conn.active, Active::Passive)
    }
}
