//! The tick: one task per arbiter that advances the clock, signals expired deadlines to connections, and enforces the
//! deadline of a drain.

use std::sync::Arc;

use tokio::time::{timeout_at, Instant};

use super::{DrainProgress, Registry, Signals};
use crate::time::{resolution, tick_duration};

/// Ticks for one registry until its drain is over.
///
/// Returns when the registry is draining and its last connection is gone. While there are no connections it sleeps without a
/// timer.
pub(crate) async fn run(registry: Arc<Registry>) {
    let mut last = Instant::now();
    loop {
        registry.wake_connections();
        match registry.occupancy() {
            (0, Some(_)) => return,
            (0, None) => {
                registry.wake_tick.notified().await;
                last = Instant::now();
            }
            (_, drain) => {
                let next = registry.next_tick(last);
                let deadline = drain.and_then(|drain| drain.deadline);
                let wake =
                    deadline.filter(|deadline| *deadline > Instant::now()).map_or(next, |deadline| next.min(deadline));
                match timeout_at(wake, registry.wake_tick.notified()).await {
                    // Woken early: a shorter tick may have been requested, there are connections to wake, or the watchdog
                    // checks whether the arbiter is blocked.
                    Ok(()) => registry.activity.count_tick(),
                    Err(_) => {
                        last = if wake < next { Instant::now() } else { next };
                        registry.tick();
                    }
                }
            }
        }
    }
}

impl Registry {
    fn occupancy(&self) -> (usize, Option<DrainProgress>) {
        let contents = self.contents.lock();
        (contents.connections.len(), contents.drain)
    }

    /// When the next tick is due: one tick after the last one was due, not after it ran, so that late timers do not slow the
    /// clock down. If that is already over, it counts from now.
    fn next_tick(&self, last: Instant) -> Instant {
        let (tick, now) = (tick_duration(self.clock.tick()), Instant::now());
        if last + tick < now {
            now + tick
        } else {
            last + tick
        }
    }

    /// Advances the clock, signals due deadlines, and sets the pace by the shortest timeout in use.
    fn tick(&self) {
        self.activity.count_tick();
        self.clock.advance();
        let now = self.clock.now();
        let mut tick = resolution(0);
        let contents = self.contents.lock();
        for state in contents.connections.iter() {
            if state.deadline() <= now {
                state.set_deadline(None);
                state.signal(Signals::DEADLINE);
            }
            tick = tick.min(resolution(state.shortest_timeout()));
        }
        drop(contents);
        self.clock.set_tick(tick);
        self.enforce_deadline(Instant::now());
    }
}
