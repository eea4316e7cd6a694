//! The drain of a registry: every connection is notified, and those that remain at the deadline are ended.

use std::time::Duration;

use tokio::time::Instant;

use super::{Contents, Registry, Signals};

/// How long sending the queued bytes may take once a drain's deadline has passed.
pub(crate) const FINAL_FLUSH: Duration = Duration::from_millis(500);

/// A drain in progress, and its result so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainProgress {
    /// When the remaining connections are ended; `None` for never.
    pub(crate) deadline: Option<Instant>,
    /// There is no grace period: connections are not notified, and queued bytes are not sent.
    immediate: bool,
    pub(crate) asked: usize,
    pub(crate) forced: usize,
}

impl Registry {
    /// Notifies every connection of the shutdown, and ends those that are left at the deadline.
    ///
    /// A second call can only make the deadline earlier.
    pub(crate) fn drain(&self, deadline: Option<Instant>) {
        let mut contents = self.contents.lock();
        let Contents { connections, drain, .. } = &mut *contents;
        let now = Instant::now();
        let immediate = deadline.is_some_and(|deadline| deadline <= now);
        match drain {
            Some(drain) => {
                drain.deadline = drain.deadline.into_iter().chain(deadline).min();
                drain.immediate |= immediate;
            }
            None => {
                *drain = Some(DrainProgress { deadline, immediate, asked: connections.len(), forced: 0 });
                if !immediate {
                    connections.iter().for_each(|state| state.set_signals(Signals::DRAIN));
                }
            }
        }
        drop(contents);
        self.enforce_deadline(now);
        self.wake_signalled(Signals::DRAIN);
    }

    /// Ends the connections that remain at the deadline of a drain: first with [`Signals::STOP`], which sends their queued
    /// bytes, and [`FINAL_FLUSH`] later with [`Signals::KILL`].
    pub(crate) fn enforce_deadline(&self, now: Instant) {
        let contents = self.contents.lock();
        let Contents { connections, drain: Some(drain), .. } = &*contents else { return };
        let Some(deadline) = drain.deadline.filter(|deadline| *deadline <= now) else { return };
        let abort = drain.immediate || deadline + FINAL_FLUSH <= now;
        let signals = Signals::FORCED | if abort { Signals::KILL } else { Signals::STOP };
        let unsignalled = connections.iter().filter(|state| !state.signals().contains(signals));
        let signalled = unsignalled.map(|state| state.set_signals(signals)).count();
        drop(contents);
        if signalled > 0 {
            self.wake_signalled(signals);
        }
    }

    /// Whether the connections have been notified of a drain.
    pub(crate) fn is_draining(&self) -> bool {
        self.contents.lock().drain.is_some()
    }

    /// When a drain ends the remaining connections.
    pub(crate) fn drain_deadline(&self) -> Option<Instant> {
        self.contents.lock().drain.and_then(|drain| drain.deadline)
    }

    /// The progress of the drain. A live connection that was ended at the deadline counts as forced, unless it was already
    /// closing by itself.
    pub(crate) fn drain_progress(&self) -> Option<DrainProgress> {
        let contents = self.contents.lock();
        let forced = || {
            let connections = contents.connections.iter();
            connections.filter(|state| state.signals().contains(Signals::FORCED)).count()
        };
        contents.drain.map(|drain| DrainProgress { forced: drain.forced + forced(), ..drain })
    }
}
