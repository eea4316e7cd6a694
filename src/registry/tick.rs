//! The tick: one task per arbiter that advances the clock, signals expired deadlines to connections, and enforces the
//! deadline of a drain.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::select;
use tokio::time::{timeout_at, Instant};

use super::state::NEVER;
use super::wake::run_wakes;
use super::{ConnectionState, DrainProgress, Registry, Signals, FINAL_FLUSH};
use crate::time::{resolution, tick_duration, MIN_TICK};

/// Ticks for one registry until its drain is over, and wakes connections.
///
/// Returns when the registry is draining and its last connection is gone. While there are no connections it sleeps without a
/// timer. While tokio's clock is paused it sleeps until the next deadline.
pub(crate) async fn run(registry: Arc<Registry>) {
    registry.activity.set_thread();
    select(pin!(tick(registry.clone())), pin!(run_wakes(registry))).await;
}

async fn tick(registry: Arc<Registry>) {
    let mut last = Instant::now();
    loop {
        registry.wake_connections();
        match registry.occupancy() {
            (0, Some(_)) => return,
            (0, None) => {
                registry.wake_tick.notified().await;
                last = Instant::now();
            }
            (_, drain) if registry.clock.is_frozen() => {
                let woken = registry.wake_tick.notified();
                match registry.next_deadline(drain) {
                    // At least a tick after the last one, so that a deadline in the past does not cause a busy loop.
                    Some(next) => drop(timeout_at(next.max(last + tick_duration(MIN_TICK)), woken).await),
                    None => woken.await,
                }
                if last.elapsed() >= tick_duration(MIN_TICK) {
                    last = Instant::now();
                    registry.tick();
                } else {
                    registry.activity.count_tick();
                }
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

    /// When the next deadline of a connection, or the next step of a drain, is due.
    fn next_deadline(&self, drain: Option<DrainProgress>) -> Option<Instant> {
        let contents = self.contents.lock();
        let connections = contents.connections.iter();
        let earliest = connections.map(|state| state.deadline()).filter(|deadline| *deadline != NEVER).min();
        drop(contents);
        let (now, time) = (Instant::now(), self.clock.now());
        let earliest = earliest.map(|deadline| now + Duration::from_millis(deadline.saturating_sub(time)));
        let drain = drain.and_then(|drain| drain.deadline).into_iter();
        let steps = drain.flat_map(|deadline| [deadline, deadline + FINAL_FLUSH]).filter(|step| *step > now);
        steps.chain(earliest).min()
    }

    /// Sets when the tick signals [`Signals::DEADLINE`] to a connection; `None` for never.
    pub(crate) fn set_deadline(&self, state: &ConnectionState, deadline: Option<u64>) {
        state.set_deadline(deadline);
        if self.clock.is_frozen() {
            self.wake_tick();
        }
    }

    /// Advances the clock, signals due deadlines, and sets the pace by the shortest timeout in use.
    fn tick(&self) {
        self.activity.count_tick();
        self.clock.advance();
        let now = self.clock.now();
        let mut tick = resolution(0);
        let mut due = Vec::new();
        let contents = self.contents.lock();
        for state in contents.connections.iter() {
            if state.deadline() <= now {
                state.set_deadline(None);
                due.push(state.clone());
            }
            tick = tick.min(resolution(state.shortest_timeout()));
        }
        drop(contents);
        // Not under the lock: a waker may be the user's.
        for state in &due {
            state.signal(Signals::DEADLINE);
        }
        self.clock.set_tick(tick);
        self.enforce_deadline(Instant::now());
    }
}
