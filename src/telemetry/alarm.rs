//! Alarms on the number of connections: raised at a high mark, cleared at a low one.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::{Observers, PoolEvent};
use crate::panic::catch_panic;

/// An alarm on the number of connections, as ranch's, with hysteresis: raised when there are as many as `high` or more,
/// cleared when there are as few as `low` or fewer, and then not raised again before the cool-down is over.
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
pub struct Alarm {
    name: String,
    high: usize,
    low: usize,
    cool_down: Duration,
    call: Option<Call>,
    state: Mutex<State>,
}

type Call = Box<dyn Fn(&AlarmEvent<'_>) + Send + Sync>;

/// An alarm that is raised or cleared.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AlarmEvent<'a> {
    /// The alarm's name.
    pub name: &'a str,
    /// Raised, else cleared.
    pub raised: bool,
    /// How many connections there were.
    pub connections: usize,
}

#[derive(Default)]
struct State {
    raised: bool,
    last: Option<Instant>,
}

impl Alarm {
    /// Raised at so many connections.
    pub fn new(name: impl Into<String>, high: usize) -> Self {
        let (name, low, cool_down) = (name.into(), high.saturating_sub(1), Duration::from_secs(5));
        Alarm { name, high, low, cool_down, call: None, state: Mutex::default() }
    }

    /// Cleared at so few. Default: one less than `high`, which tells every crossing that the cool-down lets through; four
    /// fifths of it are calmer.
    pub fn low(mut self, low: usize) -> Self {
        self.low = low;
        self
    }

    /// How long after it was raised it may be raised again. Default: 5 seconds, as in ranch.
    pub fn cool_down(mut self, cool_down: Duration) -> Self {
        self.cool_down = cool_down;
        self
    }

    /// Called when it is raised or cleared, on the arbiter of the connection that came or went: it must not block. A panic
    /// in it is logged. Either way there is a log line, and [`PoolEvent::Alarm`] for observers.
    pub fn call(mut self, call: impl Fn(&AlarmEvent<'_>) + Send + Sync + 'static) -> Self {
        self.call = Some(Box::new(call));
        self
    }

    /// Whether it can work: the low mark is below the high one.
    pub(crate) fn is_valid(&self) -> bool {
        self.low < self.high
    }

    /// There are so many connections now, or were a moment ago: `alive` answers with how many there are.
    pub(crate) fn check(&self, connections: usize, alive: impl Fn() -> usize, observers: &Observers) {
        let is_between = |connections| connections > self.low && connections < self.high;
        if is_between(connections) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted anew under the lock: of two who look, the later one decides, though its count may be the earlier.
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
