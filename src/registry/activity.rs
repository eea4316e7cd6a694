//! Who is at work on an arbiter: marked by its own thread, looked at from the watchdog's.

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{ConnectionGuard, Registry};
use crate::telemetry::ConnectionId;

/// What an arbiter does at present. Its thread alone writes here, so plain loads and stores do.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Counts the begins and the ends of turns, twice the callbacks in between: odd while a connection is at work.
    turns: AtomicU64,
    /// Whose turn it is, or was.
    who: AtomicU64,
    /// Counts the ticks.
    beats: AtomicU64,
}

impl Activity {
    #[inline]
    fn begin(&self, who: ConnectionId) {
        self.who.store(who.get(), Release);
        self.turns.store((self.turns.load(Relaxed) + 1) | 1, Release);
    }

    #[inline]
    fn go_on(&self) {
        self.turns.store(self.turns.load(Relaxed) + 2, Release);
    }

    #[inline]
    fn end(&self) {
        self.turns.store(self.turns.load(Relaxed) + 1, Release);
    }

    pub(super) fn beat(&self) {
        self.beats.store(self.beats.load(Relaxed) + 1, Relaxed);
    }
}

/// What an arbiter was seen to do.
pub(crate) struct ActivitySnapshot {
    /// Callbacks and ticks so far: another number at the next look, unless nothing went on.
    pub(crate) count: u64,
    /// Whose turn it is. Certain only where the look before had the same count.
    pub(crate) at_work: Option<ConnectionId>,
}

impl Registry {
    pub(crate) fn activity(&self) -> ActivitySnapshot {
        // First who: a later one is never seen with an earlier turn then.
        let who = self.work.who.load(Acquire);
        let turns = self.work.turns.load(Acquire);
        let at_work = (turns % 2 == 1).then_some(ConnectionId(who));
        ActivitySnapshot { count: turns + self.work.beats.load(Relaxed), at_work }
    }

    /// Asks the tick for a beat out of its time.
    pub(crate) fn wake_tick(&self) {
        self.bell.notify_one();
    }
}

impl ConnectionGuard {
    /// Marks the connection as the one that is at work, until the mark is dropped.
    pub(crate) fn at_work(&self) -> ActivityGuard<'_> {
        self.begin_work();
        ActivityGuard(self)
    }

    /// As [`at_work`](ConnectionGuard::at_work), for whoever cannot lend the seat meanwhile.
    #[inline]
    pub(crate) fn begin_work(&self) {
        self.registry().work.begin(self.state().id());
    }

    /// One callback is done, the next begins.
    #[inline]
    pub(crate) fn go_on(&self) {
        self.registry().work.go_on();
    }

    /// How many callbacks of this arbiter were marked so far.
    #[inline]
    pub(crate) fn callbacks(&self) -> u64 {
        self.registry().work.turns.load(Relaxed) / 2
    }

    #[inline]
    pub(crate) fn end_work(&self) {
        self.registry().work.end();
    }
}

/// A connection at work. Turns of one arbiter follow one another, they never nest.
pub(crate) struct ActivityGuard<'a>(&'a ConnectionGuard);

impl Drop for ActivityGuard<'_> {
    fn drop(&mut self) {
        self.0.end_work();
    }
}

/// Where the watchdog lies between its rounds.
#[derive(Debug, Default)]
pub(crate) struct WatchdogParker {
    state: Mutex<Rest>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Rest {
    asleep: bool,
    over: bool,
}

impl WatchdogParker {
    /// Rests for a while, and on as long as there is nobody to watch. False: for ever.
    pub(crate) fn rest(&self, pause: Duration, is_idle: impl Fn() -> bool) -> bool {
        let mut state = self.lock();
        if !state.over {
            state = self.bell.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        while !state.over && is_idle() {
            state.asleep = true;
            state = self.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.asleep = false;
        !state.over
    }

    /// There is somebody to watch, and the tables show it already.
    pub(super) fn wake(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.asleep) {
            self.bell.notify_one();
        }
    }

    pub(crate) fn end(&self) {
        self.lock().over = true;
        self.bell.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Rest> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
