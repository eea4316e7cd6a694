//! Alarms on the number of connections.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{LiveList, Observers, PoolEvent};
use crate::error::InvalidSetting;
use crate::panic::{catch_panic, Guarded};

/// An alarm on the number of connections, with hysteresis, as in ranch.
///
/// The alarm is raised when there are `high` connections or more, and cleared when there are `low` or fewer. It is not raised
/// again until the cool-down has passed since it was last raised.
///
/// ```
/// use actix_acceptor::{telemetry::Alarm, AcceptorPool, Socket};
/// use std::time::Duration;
///
/// let alarm = Alarm::new("busy", 900).low(700).cool_down(Duration::from_secs(60)).call(|alarm| {
///     eprintln!("{}: {}, {} connections", alarm.name, if alarm.raised { "raised" } else { "cleared" }, alarm.connections);
/// });
/// let builder = AcceptorPool::with_fn(|_: Socket| async {}).alarm(alarm);
/// ```
#[must_use]
pub struct Alarm {
    name: String,
    high: usize,
    low: usize,
    cool_down: Duration,
    call: Option<Guarded<Call>>,
    state: Mutex<State>,
}

type Call = Box<dyn Fn(&AlarmEvent<'_>) + Send + Sync>;

/// An alarm was raised or cleared.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AlarmEvent<'a> {
    /// The name of the alarm.
    pub name: &'a str,
    /// True if the alarm was raised, false if it was cleared.
    pub raised: bool,
    /// The number of connections at that moment.
    pub connections: usize,
}

#[derive(Default)]
struct State {
    raised: bool,
    last: Option<Instant>,
}

impl Alarm {
    /// Creates an alarm that is raised at `high` connections.
    pub fn new(name: impl Into<String>, high: usize) -> Self {
        let (name, low, cool_down) = (name.into(), high.saturating_sub(1), Duration::from_secs(5));
        Alarm { name, high, low, cool_down, call: None, state: Mutex::default() }
    }

    /// Sets the number of connections at which the alarm is cleared. Must be less than `high`.
    ///
    /// Default: `high - 1`, which reports every crossing that the cool-down permits. About 80 % of `high` gives fewer
    /// reports.
    pub fn low(mut self, low: usize) -> Self {
        self.low = low;
        self
    }

    /// Sets the shortest time between two raises of the alarm.
    ///
    /// Default: 5 seconds, as in ranch.
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.cool_down = cool_down;
        self
    }

    /// Sets a callback for when the alarm is raised or cleared.
    ///
    /// It runs on the arbiter of the connection that started or ended, and must not block. A panic in it is logged. With or
    /// without a callback, the alarm is logged and observers receive [`PoolEvent::Alarm`].
    pub fn call(mut self, call: impl Fn(&AlarmEvent<'_>) + Send + Sync + 'static) -> Self {
        self.call = Some(Guarded::new(Box::new(call)));
        self
    }

    /// The error, if the alarm is invalid.
    pub(crate) fn invalid(&self) -> Option<InvalidSetting> {
        let why = || format!("the low mark must be below the high mark (got {self:?})");
        (self.low >= self.high).then(|| InvalidSetting::new("alarm", why()))
    }

    /// Raises or clears the alarm as needed. `connections` may be slightly out of date; `alive` returns the current number.
    fn check(&self, connections: usize, alive: impl Fn() -> usize, observers: &Observers) {
        let is_between = |connections| connections > self.low && connections < self.high;
        if is_between(connections) {
            return;
        }
        let mut state = self.state.lock();
        // Counted again under the lock: of two concurrent callers, the one with the older count may come last.
        let connections = alive();
        if is_between(connections) {
            return;
        }
        let raised = connections >= self.high;
        let cooled_down = || state.last.is_none_or(|last| last.elapsed() >= self.cool_down);
        if raised == state.raised || raised && !cooled_down() {
            return;
        }
        state.raised = raised;
        if raised {
            state.last = Some(Instant::now());
        }
        drop(state);
        self.emit(&AlarmEvent { name: &self.name, raised, connections }, observers);
    }

    #[cold]
    fn emit(&self, alarm: &AlarmEvent<'_>, observers: &Observers) {
        let AlarmEvent { name, raised, connections } = *alarm;
        if raised {
            warn!(name, connections, "alarm raised");
        } else {
            info!(name, connections, "alarm cleared");
        }
        observers.emit(|| PoolEvent::Alarm { name, raised, connections });
        if let Some(Err(panic)) = self.call.as_ref().map(|call| catch_panic(|| call(alarm))) {
            error!(name, panic, "the alarm's callback panicked");
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("name", &self.name).field("high", &self.high).finish_non_exhaustive()
    }
}

/// Identifies an alarm of a running pool: see [`Pool::add_alarm`](crate::Pool::add_alarm).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlarmKey(u64);

/// The alarms of a pool.
pub(crate) struct Alarms(LiveList<Alarm>);

impl Alarms {
    pub(crate) fn new(alarms: Vec<Alarm>) -> Self {
        Alarms(LiveList::new(alarms))
    }

    pub(crate) fn add(&self, alarm: Alarm) -> AlarmKey {
        AlarmKey(self.0.add(alarm))
    }

    pub(crate) fn remove(&self, key: AlarmKey) -> bool {
        self.0.remove(key.0)
    }

    /// Raises or clears each alarm as needed: see [`Alarm::check`].
    #[inline]
    pub(crate) fn check(&self, connections: usize, alive: impl Fn() -> usize, observers: &Observers) {
        if !self.0.is_empty() {
            self.0.load().iter().for_each(|(_, alarm)| alarm.check(connections, &alive, observers));
        }
    }
}
