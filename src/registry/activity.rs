//! The connection whose callbacks run on an arbiter. Written by the arbiter's thread, read by the watchdog's.

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Registry;
use crate::telemetry::{ConnectionId, EnteredSpan};

/// The current activity of an arbiter. Only the arbiter's thread writes it, so plain loads and stores suffice.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Counts the starts and ends of turns, and twice the callbacks in between. Odd while callbacks run.
    turns: AtomicU64,
    /// The connection whose turn it is, or was last.
    connection: AtomicU64,
    ticks: AtomicU64,
    /// The arbiter's thread.
    thread: Mutex<Option<ThreadId>>,
}

impl Activity {
    #[inline]
    pub(super) fn begin(&self, connection: ConnectionId) {
        self.connection.store(connection.get(), Release);
        self.turns.store((self.turns.load(Relaxed) + 1) | 1, Release);
    }

    #[inline]
    pub(super) fn next_callback(&self) {
        self.turns.store(self.turns.load(Relaxed) + 2, Release);
    }

    #[inline]
    pub(super) fn callbacks(&self) -> u64 {
        self.turns.load(Relaxed) / 2
    }

    #[inline]
    pub(super) fn end(&self) {
        self.turns.store(self.turns.load(Relaxed) + 1, Release);
    }

    /// Records that the current thread is the arbiter's.
    pub(super) fn set_thread(&self) {
        *self.thread.lock() = Some(thread::current().id());
    }

    pub(super) fn count_tick(&self) {
        self.ticks.store(self.ticks.load(Relaxed) + 1, Relaxed);
    }
}

/// A snapshot of an arbiter's activity.
pub(crate) struct ActivitySnapshot {
    /// The number of callbacks and ticks so far. Differs between two snapshots unless the arbiter was blocked or idle.
    pub(crate) count: u64,
    /// The connection whose callback runs. Certain only if the snapshot before had the same count.
    pub(crate) connection: Option<ConnectionId>,
}

impl Registry {
    pub(crate) fn activity_snapshot(&self) -> ActivitySnapshot {
        let activity = self.activity();
        // The connection is read first, so that a later connection is never paired with an earlier turn.
        let connection = activity.connection.load(Acquire);
        let turns = activity.turns.load(Acquire);
        let connection = (turns % 2 == 1).then_some(ConnectionId(connection));
        ActivitySnapshot { count: turns + activity.ticks.load(Relaxed), connection }
    }
}

impl Registry {
    /// The connection whose callbacks run on the current thread, if this is the thread of the registry's arbiter.
    pub(super) fn current_connection(&self) -> Option<ConnectionId> {
        let is_here = *self.activity().thread.lock() == Some(thread::current().id());
        self.activity_snapshot().connection.filter(|_| is_here)
    }
}

/// Marks the connection whose callbacks run, and keeps its span entered. Turns on one arbiter follow each other; they never
/// nest.
pub(crate) struct ActivityGuard<'a>(&'a Activity, Option<EnteredSpan<'a>>);

impl<'a> ActivityGuard<'a> {
    #[inline]
    pub(super) fn new(activity: &'a Activity, connection: ConnectionId, entered: Option<EnteredSpan<'a>>) -> Self {
        activity.begin(connection);
        ActivityGuard(activity, entered)
    }
}

impl Drop for ActivityGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.1.take();
        self.0.end();
    }
}

/// Where the watchdog's thread sleeps between its rounds.
#[derive(Debug, Default)]
pub(crate) struct WatchdogParker {
    state: Mutex<ParkState>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct ParkState {
    parked: bool,
    ended: bool,
}

impl WatchdogParker {
    /// Sleeps for `pause`, then until there is a connection to watch. Returns false once the pool has ended.
    pub(crate) fn park(&self, pause: Duration, is_idle: impl Fn() -> bool) -> bool {
        let mut state = self.state.lock();
        if !state.ended {
            self.wake.wait_for(&mut state, pause);
        }
        while !state.ended && is_idle() {
            state.parked = true;
            self.wake.wait(&mut state);
        }
        state.parked = false;
        !state.ended
    }

    /// Wakes the thread. Called once the registries contain a connection to watch.
    pub(super) fn unpark(&self) {
        if std::mem::take(&mut self.state.lock().parked) {
            self.wake.notify_one();
        }
    }

    pub(crate) fn end(&self) {
        self.state.lock().ended = true;
        self.wake.notify_one();
    }
}
