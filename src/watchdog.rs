//! The watchdog: a thread that detects blocked arbiters and reports which connection blocks them.
//!
//! ```text
//! connection ── marks each callback ──▶ Registry ◀── checked every limit/4 ── watchdog ──▶ count, event, log line
//!       tick ── counts each tick ─────────┘ ▲                                   │
//!                                           └── requests a tick if no callback runs
//! ```
//!
//! It is the only user of std's clock: its thread has no runtime, and it measures how long other threads are really blocked.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::panic::catch_panic;
use crate::registry::{ActivitySnapshot, Registries, Registry, RegistryShared};
use crate::telemetry::{ConnectionId, LogThrottle, PoolEvent};
use crate::thread_name::thread_name;

/// The shortest time between two checks.
const MIN_INTERVAL: Duration = Duration::from_millis(1);
/// A tick is requested from an arbiter without a turn or a tick for this time. Ticks are at most 100 ms apart.
const REQUEST_TICK_AFTER: Duration = Duration::from_millis(125);

/// The watchdog of a pool. Dropping it ends its thread.
pub(crate) struct Watchdog {
    shared: Arc<RegistryShared>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts the thread. `one_thread`: all registries belong to the same arbiter.
    pub(crate) fn start(
        limit: Duration,
        listener: Arc<str>,
        registries: Arc<Registries>,
        one_thread: bool,
    ) -> io::Result<Self> {
        let name = thread_name(&listener, "watch");
        let shared = registries.shared().clone();
        let watch = move || {
            // Created on the thread, which has no runtime: a throttle belongs to the clock of its thread.
            let throttle = LogThrottle::new();
            Watch { limit, listener, registries, one_thread, arbiters: Vec::new(), throttle }.run();
        };
        let thread = thread::Builder::new().name(name).spawn(watch)?;
        Ok(Watchdog { shared, thread: Some(thread) })
    }

    /// Ends the thread. An observer that it calls may delay this.
    pub(crate) fn end(&self) {
        self.shared.watchdog.end();
    }

    /// Whether the thread has ended, so that [`join`](Self::join) does not block.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end of the thread.
    pub(crate) fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = catch_panic(|| drop(thread.join()));
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.end();
    }
}

/// The state of the watchdog's thread.
struct Watch {
    limit: Duration,
    listener: Arc<str>,
    registries: Arc<Registries>,
    one_thread: bool,
    arbiters: Vec<ArbiterState>,
    throttle: LogThrottle,
}

impl Watch {
    fn run(mut self) {
        let interval = (self.limit / 4).max(MIN_INTERVAL);
        let shared = self.registries.shared().clone();
        while shared.watchdog.park(interval, || self.registries.live() == 0) {
            self.add_new_registries();
            for arbiter in &mut self.arbiters {
                // If this thread was not scheduled, the arbiters may not have been scheduled either.
                if let Some(blocked) = arbiter.check(self.limit, interval * 2) {
                    shared.count_blocked();
                    shared.observers.emit(|| blocked.as_event());
                    self.throttle.log(|left_out| blocked.log(&self.listener, left_out));
                }
            }
        }
    }

    /// Adds the registries of acceptors that were added since the last check.
    fn add_new_registries(&mut self) {
        let known = self.arbiters.iter().map(|arbiter| arbiter.registries.len()).sum();
        if known == self.registries.slots() {
            return;
        }
        for new in self.registries.all().into_iter().enumerate().skip(known) {
            match self.arbiters.first_mut().filter(|_| self.one_thread) {
                Some(arbiter) => arbiter.registries.push(new),
                None => self.arbiters.push(ArbiterState::new(vec![new])),
            }
        }
    }
}

/// An arbiter, and its activity as of the last check.
struct ArbiterState {
    /// Each registry with the index of its acceptor. More than one if acceptors share the arbiter.
    registries: Vec<(usize, Arc<Registry>)>,
    /// The sum of the registries' activity counts.
    count: u64,
    /// When the count was last read.
    checked: Instant,
    /// How long the count has not changed. A lower bound.
    unchanged_for: Duration,
    /// The value of `unchanged_for` when a tick was requested.
    tick_requested: Option<Duration>,
    reported: bool,
}

/// An arbiter that is blocked.
struct BlockedArbiter {
    acceptor: Option<usize>,
    connection: Option<(ConnectionId, Option<String>)>,
    so_far: Duration,
}

impl ArbiterState {
    fn new(registries: Vec<(usize, Arc<Registry>)>) -> Self {
        let (checked, unchanged_for) = (Instant::now(), Duration::ZERO);
        ArbiterState { registries, count: 0, checked, unchanged_for, tick_requested: None, reported: false }
    }

    fn is_empty(&self) -> bool {
        self.registries.iter().all(|(_, registry)| registry.live() == 0)
    }

    /// Checks the arbiter. Returns a report once for each time that it is blocked.
    ///
    /// At most `max_step` is added to the measured time.
    fn check(&mut self, limit: Duration, max_step: Duration) -> Option<BlockedArbiter> {
        // Reading the clock before the counts here, and after them below, makes the measured time a lower bound.
        let passed = self.checked.elapsed().min(max_step);
        let activity: Vec<ActivitySnapshot> =
            self.registries.iter().map(|(_, registry)| registry.activity_snapshot()).collect();
        let count = activity.iter().map(|snapshot| snapshot.count).sum();
        if count != self.count || self.is_empty() {
            *self = ArbiterState { count, ..ArbiterState::new(std::mem::take(&mut self.registries)) };
            return None;
        }
        self.checked = Instant::now();
        self.unchanged_for += passed;
        if self.reported {
            return None;
        }
        let registries = self.registries.iter().zip(&activity);
        let active = registries
            .filter_map(|((slot, registry), snapshot)| Some((*slot, registry.clone(), snapshot.connection?)))
            .next();
        let since = if active.is_some() { Some(Duration::ZERO) } else { self.request_tick() };
        if since.is_none_or(|since| self.unchanged_for < since + limit) {
            return None;
        }
        let only_slot = (self.registries.len() == 1).then_some(self.registries[0].0);
        let acceptor = active.as_ref().map(|(slot, ..)| *slot).or(only_slot);
        let connection = active.map(|(_, registry, id)| (id, registry.find(id).map(|entry| entry.peer().to_string())));
        self.reported = true;
        Some(BlockedArbiter { acceptor, connection, so_far: self.unchanged_for })
    }

    /// Requests a tick from an arbiter on which no connection's turn is in progress, to see whether it still runs tasks.
    /// Returns the value of `unchanged_for` at the request.
    fn request_tick(&mut self) -> Option<Duration> {
        if self.tick_requested.is_none() && self.unchanged_for >= REQUEST_TICK_AFTER {
            self.tick_requested = Some(self.unchanged_for);
            self.registries.iter().for_each(|(_, registry)| registry.wake_tick());
            self.checked = Instant::now();
        }
        self.tick_requested
    }
}

impl BlockedArbiter {
    fn as_event(&self) -> PoolEvent<'static> {
        let id = self.connection.as_ref().map(|(id, _)| *id);
        PoolEvent::Blocked { acceptor: self.acceptor, id, so_far: self.so_far }
    }

    fn log(self, listener: &str, left_out: u64) {
        let BlockedArbiter { acceptor, connection, so_far } = self;
        match connection {
            Some((id, peer)) => {
                warn!(%id, peer, listener, acceptor, ?so_far, left_out, "arbiter blocked by a connection callback");
            }
            None => warn!(listener, acceptor, ?so_far, left_out, "arbiter blocked outside any connection callback"),
        }
    }
}
