//! One task per arbiter that stamps the time, wakes the connections whose time has come, and sees a drain to its end.

use std::sync::Arc;
use std::time::Instant;

use super::clock::{grain, pause};
use super::{Drain, Orders, Table};

/// Ticks for one table until its drain is over.
///
/// Returns when the table has been told to drain and its last connection is gone. While there are no connections it
/// sleeps without a timer.
pub(crate) async fn run(table: Arc<Table>) {
    loop {
        let (live, drain) = table.standing();
        match (live, drain) {
            (0, Some(_)) => return,
            (0, None) => table.bell.notified().await,
            (_, drain) => {
                // A bell cuts the pause short: what rang it may want a shorter one.
                let _ = tokio::time::timeout(table.pause(drain), table.bell.notified()).await;
                table.beat();
            }
        }
    }
}

impl Table {
    fn standing(&self) -> (usize, Option<Drain>) {
        let state = self.lock();
        (state.entries.len(), state.drain)
    }

    fn pause(&self, drain: Option<Drain>) -> std::time::Duration {
        let tick = pause(self.clock.tick());
        match drain.and_then(|drain| drain.deadline) {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()).min(tick),
            None => tick,
        }
    }

    /// One tick: the time moves on, what is due is told so, and the shortest limit in use sets the pace.
    fn beat(&self) {
        self.clock.advance();
        let now = self.clock.now();
        let mut tick = grain(0);
        let state = self.lock();
        for (_, entry) in state.entries.iter() {
            if entry.due() <= now {
                entry.put_off();
                entry.order(Orders::DUE);
            }
            tick = tick.min(grain(entry.shortest_limit()));
        }
        drop(state);
        self.clock.set_tick(tick);
        self.enforce(Instant::now());
    }
}
