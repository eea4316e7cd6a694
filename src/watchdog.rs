//! Sees from a thread of its own which arbiters are blocked, and by whom.
//!
//! ```text
//! connection ── each callback ──▶ Registry ◀── a look every quarter of the limit ── watchdog ──▶ count, log line
//!       tick ── each beat ──────────┘ ▲                                              │
//!                                     └── asks for a beat, where nobody is at work ──┘
//! ```

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::registry::{ActivitySnapshot, Registries, Registry, RegistryShared};
use crate::telemetry::ConnectionId;
use crate::telemetry::{LogThrottle, PoolEvent};

/// The shortest time between two looks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// An arbiter without turns and ticks for so long is asked for a tick: one comes every 100 ms at the slowest.
const ASK_AFTER: Duration = Duration::from_millis(125);

/// The watchdog of a pool: dropping it ends its thread.
pub(crate) struct Watchdog {
    shared: Arc<RegistryShared>,
}

impl Watchdog {
    /// Watches these tables; `one_thread`: they belong to one arbiter.
    pub(crate) fn start(
        limit: Duration,
        listener: Arc<str>,
        registries: Arc<Registries>,
        one_thread: bool,
    ) -> io::Result<Self> {
        let shared = registries.shared().clone();
        let round =
            Watch { limit, listener, registries, one_thread, arbiters: Vec::new(), throttle: LogThrottle::new() };
        thread::Builder::new().name("pool-watchdog".into()).spawn(|| round.run())?;
        Ok(Watchdog { shared })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.watchdog.end();
    }
}

/// What the thread goes about.
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
        let pause = (self.limit / 4).max(SHORTEST_PAUSE);
        let shared = self.registries.shared().clone();
        while shared.watchdog.park(pause, || self.registries.live() == 0) {
            self.add_new_registries();
            for arbiter in &mut self.arbiters {
                // A watchdog that was kept from looking does not hold the time against others: they were kept, too.
                if let Some(block) = arbiter.look(self.limit, pause * 2) {
                    shared.count_blocked();
                    shared.observers.emit(|| block.as_event());
                    self.throttle.log(|left_out| block.log(&self.listener, left_out));
                }
            }
        }
    }
}

impl Watch {
    /// Places may have been added.
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

/// One arbiter, and what it was last seen to do.
struct ArbiterState {
    /// Each with its acceptor's place; several where they share a thread.
    registries: Vec<(usize, Arc<Registry>)>,
    /// The counts of the tables' pulses, added up.
    count: u64,
    /// When that was seen.
    seen: Instant,
    /// For how long it has done nothing else: never more than it was.
    unchanged_for: Duration,
    /// How long it had been still when it was asked for a beat.
    asked: Option<Duration>,
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
        let (seen, unchanged_for) = (Instant::now(), Duration::ZERO);
        ArbiterState { registries, count: 0, seen, unchanged_for, asked: None, reported: false }
    }

    fn is_empty(&self) -> bool {
        self.registries.iter().all(|(_, registry)| registry.live() == 0)
    }

    /// One look; answers once for each time that the arbiter is blocked.
    fn look(&mut self, limit: Duration, most: Duration) -> Option<BlockedArbiter> {
        // The clock is read before the look that ends a time, and after the one that begins it: never early.
        let passed = self.seen.elapsed().min(most);
        let pulses: Vec<ActivitySnapshot> =
            self.registries.iter().map(|(_, registry)| registry.activity_snapshot()).collect();
        let count = pulses.iter().map(|pulse| pulse.count).sum();
        if count != self.count || self.is_empty() {
            *self = ArbiterState { count, ..ArbiterState::new(std::mem::take(&mut self.registries)) };
            return None;
        }
        self.seen = Instant::now();
        self.unchanged_for += passed;
        if self.reported {
            return None;
        }
        let registries = self.registries.iter().zip(&pulses);
        let at_work = registries
            .filter_map(|((slot, registry), pulse)| Some((*slot, registry.clone(), pulse.connection?)))
            .next();
        let since = if at_work.is_some() { Some(Duration::ZERO) } else { self.request_tick() };
        if since.is_none_or(|since| self.unchanged_for < since + limit) {
            return None;
        }
        let alone = (self.registries.len() == 1).then_some(self.registries[0].0);
        let acceptor = at_work.as_ref().map(|(slot, ..)| *slot).or(alone);
        let connection = at_work.map(|(_, registry, id)| (id, registry.find(id).map(|entry| entry.peer().to_string())));
        self.reported = true;
        Some(BlockedArbiter { acceptor, connection, so_far: self.unchanged_for })
    }

    /// Whoever is at work, no connection's turn is known: does the arbiter come round? Since when it has been asked.
    fn request_tick(&mut self) -> Option<Duration> {
        if self.asked.is_none() && self.unchanged_for >= ASK_AFTER {
            self.asked = Some(self.unchanged_for);
            self.registries.iter().for_each(|(_, registry)| registry.wake_tick());
            self.seen = Instant::now();
        }
        self.asked
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
                warn!(%id, peer, listener, acceptor, ?so_far, left_out, "a callback blocks its arbiter");
            }
            None => warn!(listener, acceptor, ?so_far, left_out, "an arbiter is blocked, by no callback that is known"),
        }
    }
}
