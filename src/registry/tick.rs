//! One task per arbiter that stamps the time, wakes the connections whose time has come, and sees a drain to its end.

use std::sync::Arc;

use tokio::time::{timeout_at, Instant};

use super::{Drain, Registry, Signals};
use crate::time::{resolution, tick_duration};

/// Ticks for one table until its drain is over.
///
/// Returns when the table has been told to drain and its last connection is gone. While there are no connections it
/// sleeps without a timer.
pub(crate) async fn run(registry: Arc<Registry>) {
    let mut last = Instant::now();
    loop {
        let (live, drain) = registry.standing();
        match (live, drain) {
            (0, Some(_)) => return,
            (0, None) => {
                registry.bell.notified().await;
                last = Instant::now();
            }
            (_, drain) => {
                let next = registry.next_tick(last);
                let deadline = drain.and_then(|drain| drain.deadline).map(Instant::from_std);
                let wake =
                    deadline.filter(|deadline| *deadline > Instant::now()).map_or(next, |deadline| next.min(deadline));
                // A bell cuts the pause short: what rang it may want a shorter one.
                let rung = timeout_at(wake, registry.bell.notified()).await.is_ok();
                last = if rung || wake < next { Instant::now() } else { next };
                registry.beat();
            }
        }
    }
}

impl Registry {
    fn standing(&self) -> (usize, Option<Drain>) {
        let state = self.lock();
        (state.entries.len(), state.drain)
    }

    /// A tick after the last one was due, not after it came: late timers must not slow the clock. After a pause that
    /// was too long the count begins anew.
    fn next_tick(&self, last: Instant) -> Instant {
        let (tick, now) = (tick_duration(self.clock.tick()), Instant::now());
        if last + tick < now {
            now + tick
        } else {
            last + tick
        }
    }

    /// One tick: the time moves on, what is due is told so, and the shortest limit in use sets the pace.
    fn beat(&self) {
        self.work.beat();
        self.clock.advance();
        let now = self.clock.now();
        let mut tick = resolution(0);
        let state = self.lock();
        for (_, entry) in state.entries.iter() {
            if entry.due() <= now {
                entry.put_off();
                entry.signal(Signals::DUE);
            }
            tick = tick.min(resolution(entry.shortest_limit()));
        }
        drop(state);
        self.clock.set_tick(tick);
        self.enforce(std::time::Instant::now());
    }
}
