//! The time as an arbiter's connections see it: milliseconds as of the last tick.
//!
//! The clock counts the time its arbiter was awake: a tick that comes late, because a callback blocked the thread, moves
//! it on by one tick only. So a peer is never held silent for a time in which nobody listened.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// The longest time between two ticks, in milliseconds: how fresh stamps are when no limit asks for more.
const SLOWEST: u32 = 100;
/// The shortest one.
const FASTEST: u32 = 4;

/// So much of a tick, as a divisor, may a late one owe to the next.
const OWED: u64 = 4;

/// How much older than it says a stamp with this grain may be, in milliseconds: taken just before a late tick, it sees the
/// whole of that tick counted, and what that owes to the next one.
pub(crate) fn tolerance(resolution: u32) -> u32 {
    resolution + resolution.div_ceil(OWED as u32)
}

/// How exact a limit is kept, in milliseconds: a stamp is at most this old, and the tick follows.
///
/// A twenty-fifth of the limit: the stamp's age and the wait for the tick together stay within a tenth, with a little left
/// for a late timer.
pub(crate) fn resolution(limit: u32) -> u32 {
    if limit == 0 {
        SLOWEST
    } else {
        (limit / 25).clamp(FASTEST, SLOWEST)
    }
}

/// Milliseconds of an arbiter's waking life.
#[derive(Debug)]
pub(crate) struct Clock {
    now: AtomicU64,
    tick: AtomicU32,
    /// When `now` was last moved on, in microseconds since `epoch`.
    moved: AtomicU64,
    /// Microseconds that were seen but not yet counted, for they were more than a tick.
    owed: AtomicU64,
    epoch: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Clock {
            now: AtomicU64::new(1),
            tick: AtomicU32::new(SLOWEST),
            moved: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }

    /// The time of the last tick; never 0.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// Milliseconds between two ticks at present.
    pub(crate) fn tick(&self) -> u32 {
        self.tick.load(Relaxed)
    }

    pub(crate) fn set_tick(&self, tick: u32) {
        self.tick.store(tick, Relaxed);
    }

    /// The time right now, for those who cannot wait for the tick: reads the system's clock, moves nothing.
    pub(crate) fn exact(&self) -> u64 {
        let since = self.elapsed().saturating_sub(self.moved.load(Relaxed)) + self.owed.load(Relaxed);
        self.now() + (since / 1000).min(u64::from(self.tick()))
    }

    /// Moves the time on: by what has passed, but by no more than a tick.
    ///
    /// What is a little more than a tick is owed to the next one, else the clock would lose time with every late timer;
    /// what is much more was a blocked arbiter and is forgotten.
    pub(crate) fn advance(&self) {
        let tick = u64::from(self.tick()) * 1000;
        let elapsed = self.elapsed();
        let passed = elapsed.saturating_sub(self.moved.load(Relaxed)) + self.owed.load(Relaxed);
        let counted = passed.min(tick) / 1000 * 1000;
        self.owed.store((passed - counted).min(tick / OWED), Relaxed);
        self.moved.store(elapsed, Relaxed);
        self.now.fetch_add(counted / 1000, Relaxed);
    }

    /// After a time without connections, in which nothing ticked.
    pub(crate) fn catch_up(&self) {
        let elapsed = self.elapsed();
        let passed = elapsed.saturating_sub(self.moved.load(Relaxed));
        self.owed.store(0, Relaxed);
        self.moved.store(elapsed, Relaxed);
        self.now.fetch_add(passed / 1000, Relaxed);
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// How long the next tick is waited for.
pub(crate) fn pause(tick: u32) -> Duration {
    Duration::from_millis(u64::from(tick))
}

/// A duration as the tables count it: whole milliseconds, at least one; 0 stands for "never".
pub(crate) fn millis(limit: Option<Duration>) -> u32 {
    match limit {
        None => 0,
        Some(limit) => u32::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1),
    }
}
