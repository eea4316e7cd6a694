//! Wake-ups of many connections at once.
//!
//! Waking a connection from another thread takes a lock, and often a system call; waking it from its own thread takes
//! neither. Signals for many connections are therefore set first, then one wake-up of the tick's task makes it wake them
//! all.

use super::{ConnectionState, Registry, Signals};

impl Registry {
    /// Wakes the connections that have one of these signals set, from the task of the tick.
    pub(super) fn wake_signalled(&self, signals: Signals) {
        self.unwoken.set(signals);
        self.wake_tick();
    }

    /// Defers the wake-ups for mail until the returned guard is dropped; see [`DeferredMail::expect`].
    pub(crate) fn defer_mail(&self) -> DeferredMail<'_> {
        DeferredMail(self)
    }

    /// Wakes the connections whose signals were set without waking them.
    pub(super) fn wake_connections(&self) {
        let signals = self.unwoken.take();
        if signals.is_empty() {
            return;
        }
        self.for_each(|state| {
            if state.signals().intersects(signals) {
                state.wake();
            }
        });
    }
}

/// Defers the wake-ups of connections that get a message. Dropping it wakes them, all at once.
#[derive(Debug)]
pub(crate) struct DeferredMail<'a>(&'a Registry);

impl DeferredMail<'_> {
    /// Must be called before a message is put into the mailbox, which then does not wake the connection itself.
    pub(crate) fn expect(&self, state: &ConnectionState) {
        state.set_signals(Signals::MAIL);
    }
}

impl Drop for DeferredMail<'_> {
    fn drop(&mut self) {
        self.0.wake_signalled(Signals::MAIL);
    }
}
