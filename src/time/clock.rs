//! The clock of an arbiter: milliseconds as of the last tick.
//!
//! The clock counts the time in which its arbiter was not blocked: a tick that is late because a callback blocked the
//! thread advances it by one tick only. Therefore time in which the arbiter did not read never counts as silence of a peer.
//!
//! A paused tokio clock does not advance during a callback, so none of its time is time in which the arbiter was blocked. It
//! moves in jumps, and this clock is *frozen*: it is not advanced by ticks, but read from tokio's clock at each use.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// The longest time between two ticks, in milliseconds: the resolution of timestamps when no limit needs a finer one.
const MAX_TICK: u32 = 100;
/// The shortest time between two ticks, in milliseconds.
pub(crate) const MIN_TICK: u32 = 4;

/// A late tick carries at most one tick divided by this number over to the next tick.
const CARRY_DIVISOR: u64 = 4;

/// The difference in milliseconds by which a timestamp of this resolution may be older than its value. A timestamp taken just
/// before a late tick is older by that whole tick and by the time that the tick carries over.
pub(crate) fn tolerance(resolution: u32) -> u32 {
    resolution + resolution.div_ceil(CARRY_DIVISOR as u32)
}

/// The resolution at which a limit is measured, in milliseconds: the greatest age of a timestamp, and the length of a tick.
///
/// It is 1/25 of the limit: the age of the timestamp and the wait for the tick together stay within 1/10 of the limit, with
/// a margin for a late timer.
pub(crate) fn resolution(limit: u32) -> u32 {
    if limit == 0 {
        MAX_TICK
    } else {
        (limit / 25).clamp(MIN_TICK, MAX_TICK)
    }
}

/// How often the clock is read to see whether it is paused. A read takes 10 ns or more, and clocks that run change every 100
/// ns or more often.
const READS: usize = 100;

/// Whether tokio's clock is paused on this thread.
pub(crate) fn is_paused() -> bool {
    let now = Instant::now();
    (0..READS).all(|_| Instant::now() == now)
}

/// Whether tokio's clock is paused on this thread. Unlike [`is_paused`] it cannot be wrong: a running clock moves while the
/// thread sleeps.
pub(crate) fn is_clock_paused() -> bool {
    let before = Instant::now();
    is_paused() && {
        std::thread::sleep(Duration::from_millis(1));
        Instant::now() == before
    }
}

/// Milliseconds in which an arbiter was not blocked.
#[derive(Debug)]
pub(crate) struct Clock {
    /// The time of the last tick, 0 while the clock is frozen.
    now: AtomicU64,
    /// The time of the last tick.
    counted: AtomicU64,
    tick: AtomicU32,
    /// When `counted` was last advanced, in microseconds since `epoch`.
    advanced: AtomicU64,
    /// Microseconds that have passed and are not yet counted in `counted`, because they exceeded a tick.
    carry: AtomicU64,
    epoch: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Clock {
            now: AtomicU64::new(1),
            counted: AtomicU64::new(1),
            tick: AtomicU32::new(MAX_TICK),
            advanced: AtomicU64::new(0),
            carry: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }

    /// The time of the last tick, or the exact time while the clock is frozen. Never 0.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match self.now.load(Relaxed) {
            0 => self.exact(),
            now => now,
        }
    }

    /// Whether this clock is read from tokio's, which was paused at the last tick.
    pub(crate) fn is_frozen(&self) -> bool {
        self.now.load(Relaxed) == 0
    }

    /// The current length of a tick, in milliseconds.
    pub(crate) fn tick(&self) -> u32 {
        self.tick.load(Relaxed)
    }

    pub(crate) fn set_tick(&self, tick: u32) {
        self.tick.store(tick, Relaxed);
    }

    /// The exact time, for callers that cannot wait for the tick. Reads tokio's clock; does not advance this one.
    #[cold]
    pub(crate) fn exact(&self) -> u64 {
        let limit = if self.is_frozen() { u64::MAX } else { u64::from(self.tick()) };
        self.counted.load(Relaxed) + (self.uncounted(self.elapsed()) / 1000).min(limit)
    }

    /// Advances the clock by the time that has passed, but by at most one tick.
    ///
    /// An excess of up to a quarter of a tick is carried over to the next tick. Otherwise the clock would lose time
    /// with every late timer. A greater excess means that the arbiter was blocked; it is dropped.
    pub(crate) fn advance(&self) {
        let (tick, is_paused) = (u64::from(self.tick()) * 1000, is_paused());
        let elapsed = self.elapsed();
        let passed = self.uncounted(elapsed);
        let counted = if is_paused { passed } else { passed.min(tick) } / 1000 * 1000;
        self.carry.store((passed - counted).min(tick / CARRY_DIVISOR), Relaxed);
        self.count(counted, elapsed, is_paused);
    }

    /// Advances the clock by all the time that has passed, after a period without connections and thus without ticks.
    pub(crate) fn catch_up(&self) {
        let elapsed = self.elapsed();
        let passed = elapsed.saturating_sub(self.advanced.load(Relaxed));
        self.carry.store(0, Relaxed);
        self.count(passed, elapsed, is_paused());
    }

    fn count(&self, counted: u64, elapsed: u64, is_frozen: bool) {
        let now = self.counted.fetch_add(counted / 1000, Relaxed) + counted / 1000;
        self.advanced.store(elapsed, Relaxed);
        self.now.store(if is_frozen { 0 } else { now }, Relaxed);
    }

    /// The microseconds that have passed and are not yet counted.
    fn uncounted(&self, elapsed: u64) -> u64 {
        elapsed.saturating_sub(self.advanced.load(Relaxed)) + self.carry.load(Relaxed)
    }

    /// Microseconds of tokio's clock since this one was created, time in which the arbiter was blocked included.
    ///
    /// On another thread, whose clock is behind if that of the arbiter was paused and advanced, this is the time of the last
    /// tick.
    pub(crate) fn elapsed(&self) -> u64 {
        let own = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        own.max(self.advanced.load(Relaxed))
    }
}

/// The length of a tick as a duration.
pub(crate) fn tick_duration(tick: u32) -> Duration {
    Duration::from_millis(u64::from(tick))
}

/// A limit in whole milliseconds, rounded up, at least 1.
pub(crate) fn millis(limit: Duration) -> u32 {
    u32::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

/// Like [`millis`], but `None` and zero become 0, which means "never".
pub(crate) fn limit_millis(limit: Option<Duration>) -> u32 {
    limit.filter(|limit| !limit.is_zero()).map_or(0, millis)
}
