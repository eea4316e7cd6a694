//! The live connections of one arbiter, as everybody else sees them.
//!
//! ```text
//! handle, pool ── list, order, drain ──▶ Registry ◀── open, close ── connections of this arbiter
//!                                          │
//!                                        tick: one task per arbiter, stamps the time and wakes what is due
//! ```
//!
//! A table outlives the acceptor that fills it: the successor goes on with the same one. It knows no protocol. It is
//! locked only to open, close and list, never by a connection at work; what a connection at work touches are the atomics of
//! its own [`ConnectionState`], and the mark that it is at work.

mod activity;
mod entry;
mod info;
mod registries;
mod tick;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::Notify;

use crate::limits::Limits;
use crate::telemetry::{
    Alarm, CloseLogThrottle, CloseReason, ConnectionId, Counts, Observers, PoolEvent, RefusalReason,
};

use crate::time::{resolution, Clock};
use activity::Activity;
pub(crate) use activity::{ActivityGuard, ActivitySnapshot, WatchdogParker};
pub(crate) use entry::{Arrival, ConnectionGuard, ConnectionState, Signals};
pub use info::ConnectionInfo;
pub(crate) use registries::Registries;
pub(crate) use tick::run as run_tick;

/// The live connections of one arbiter.
#[derive(Debug)]
pub(crate) struct Registry {
    state: Mutex<State>,
    live: AtomicUsize,
    clock: Clock,
    work: Activity,
    /// Rung when the tick has to look up: the first entry, a shorter limit, a drain, the last entry gone while draining.
    bell: Notify,
    shared: Arc<RegistryShared>,
}

/// What the tables of one pool share.
#[derive(Debug)]
pub(crate) struct RegistryShared {
    ids: AtomicU64,
    pub(crate) observers: Observers,
    alarms: Vec<Alarm>,
    pub(crate) endings: CloseLogThrottle,
    /// Connections that live, or whose end is still being told.
    unsettled: AtomicUsize,
    /// Told of every connection that opened or closed.
    pub(crate) changed: Notify,
    /// How often an arbiter was blocked.
    blocked: AtomicU64,
    pub(crate) parker: WatchdogParker,
}

#[derive(Debug, Default)]
struct State {
    entries: Slab<Arc<ConnectionState>>,
    totals: Totals,
    drain: Option<Drain>,
}

impl RegistryShared {
    pub(crate) fn new(observers: Observers, alarms: Vec<Alarm>) -> Arc<Self> {
        Arc::new(RegistryShared {
            ids: AtomicU64::new(0),
            observers,
            alarms,
            endings: CloseLogThrottle::default(),
            unsettled: AtomicUsize::new(0),
            changed: Notify::new(),
            blocked: AtomicU64::new(0),
            parker: WatchdogParker::default(),
        })
    }

    /// There are so many connections now.
    fn changed(&self, connections: usize, limits: &Limits) {
        self.alarms.iter().for_each(|alarm| alarm.check(connections, || limits.alive(), &self.observers));
    }

    /// Connections that are alive, or whose end has not been told, or which still hold something of the limits.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.load(Acquire)
    }

    /// The end of a connection was told, to observers and alarms, and all that it held is free.
    fn settle(&self) {
        self.unsettled.fetch_sub(1, AcqRel);
        self.changed.notify_waiters();
    }

    pub(crate) fn blocked(&self) -> u64 {
        self.blocked.load(Relaxed)
    }

    pub(crate) fn count_blocked(&self) {
        self.blocked.fetch_add(1, Relaxed);
    }
}

/// What a table has seen so far. It adds up: accepted = refused + live + closed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) live: u64,
    pub(crate) refused: Counts<RefusalReason>,
    pub(crate) closed: Counts<CloseReason>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

/// How long what is queued may take to leave once a drain's deadline has come.
pub(crate) const LAST_FLUSH: Duration = Duration::from_millis(500);

/// A drain under way, and how it went so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    /// When what is left is ended; `None`: never.
    pub(crate) deadline: Option<Instant>,
    /// There was no time to give: nobody is asked, and nothing is sent any more.
    at_once: bool,
    pub(crate) asked: usize,
    pub(crate) forced: usize,
}

impl Registry {
    pub(crate) fn new(shared: Arc<RegistryShared>) -> Arc<Self> {
        Arc::new(Registry {
            state: Mutex::default(),
            live: AtomicUsize::new(0),
            clock: Clock::new(),
            work: Activity::default(),
            bell: Notify::new(),
            shared,
        })
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How many connections live here, without a lock.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Relaxed)
    }

    /// Takes a connection into the table. One that comes during a drain is told at once.
    pub(crate) fn open(self: &Arc<Self>, arrival: Arrival) -> ConnectionGuard {
        let id = ConnectionId(self.shared.ids.fetch_add(1, Relaxed) + 1);
        self.shared.unsettled.fetch_add(1, AcqRel);
        let mut state = self.lock();
        let first = state.entries.is_empty();
        if first {
            self.clock.catch_up();
        }
        self.request_tick(arrival.shortest_limit);
        let slot = state.entries.vacant_entry();
        let entry = Arc::new(ConnectionState::new(id, slot.key(), arrival, self.clock.now()));
        slot.insert(entry.clone());
        state.totals.accepted += 1;
        if let Some(drain) = &mut state.drain {
            drain.asked += 1;
            entry.signal(Signals::DRAIN);
        }
        self.live.store(state.entries.len(), Relaxed);
        drop(state);
        if first {
            self.bell.notify_one();
            self.shared.parker.wake();
        }
        self.shared.observers.emit(|| {
            let (peer, listener) = (entry.peer(), &**entry.port().name());
            PoolEvent::ConnectionStarted { id, peer, listener }
        });
        let limits = entry.port().limits();
        self.shared.changed(limits.add_connection(), limits);
        self.shared.changed.notify_waiters();
        ConnectionGuard::new(self.clone(), entry)
    }

    /// Counts a peer that was accepted and turned away.
    pub(crate) fn refuse(&self, refusal: RefusalReason) {
        let mut state = self.lock();
        state.totals.accepted += 1;
        state.totals.refused.add(refusal);
    }

    /// Takes a connection out, and counts how it ended.
    fn close(&self, entry: &ConnectionState, reason: CloseReason) {
        self.take_out(entry, |state| {
            state.totals.closed.add(reason);
            if let Some(drain) = state.drain.as_mut().filter(|_| reason == CloseReason::Killed) {
                drain.forced += usize::from(entry.signals() & Signals::FORCED != 0);
            }
        });
        self.shared.observers.emit(|| self.stopped(entry, reason));
    }

    /// Takes a connection out that was refused after all.
    fn close_refused(&self, entry: &ConnectionState, refusal: RefusalReason) {
        self.take_out(entry, |state| state.totals.refused.add(refusal));
        self.shared.observers.emit(|| {
            let (peer, listener) = (entry.peer(), &**entry.port().name());
            PoolEvent::Refused { id: Some(entry.id()), peer, listener, reason: refusal }
        });
    }

    fn take_out(&self, entry: &ConnectionState, count: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        state.entries.try_remove(entry.key());
        count(&mut state);
        state.totals.bytes_in += entry.bytes_in();
        state.totals.bytes_out += entry.bytes_out();
        self.live.store(state.entries.len(), Relaxed);
        let drained = state.drain.is_some() && state.entries.is_empty();
        drop(state);
        if drained {
            self.bell.notify_one();
        }
    }

    fn stopped<'a>(&self, entry: &'a ConnectionState, reason: CloseReason) -> PoolEvent<'a> {
        PoolEvent::ConnectionStopped {
            id: entry.id(),
            peer: entry.peer(),
            listener: entry.port().name(),
            reason,
            duration: entry.age(),
            bytes_in: entry.bytes_in(),
            bytes_out: entry.bytes_out(),
            packets: entry.packets(),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<RegistryShared> {
        &self.shared
    }

    /// Tells every connection to shut down, and ends at the deadline those that are left.
    ///
    /// A second call can only bring the deadline nearer.
    pub(crate) fn drain(&self, deadline: Option<Instant>) {
        let mut state = self.lock();
        let State { entries, drain, .. } = &mut *state;
        let now = Instant::now();
        let at_once = deadline.is_some_and(|deadline| deadline <= now);
        match drain {
            Some(drain) => {
                drain.deadline = drain.deadline.into_iter().chain(deadline).min();
                drain.at_once |= at_once;
            }
            None => {
                *drain = Some(Drain { deadline, at_once, asked: entries.len(), forced: 0 });
                if !at_once {
                    for (_, entry) in entries.iter() {
                        entry.signal(Signals::DRAIN);
                    }
                }
            }
        }
        drop(state);
        self.enforce(now);
        self.bell.notify_one();
    }

    /// Ends what a drain has left over, once its deadline has come: with what is queued sent first, and a little later
    /// without.
    pub(crate) fn enforce(&self, now: Instant) {
        let state = self.lock();
        let State { entries, drain: Some(drain), .. } = &*state else { return };
        let Some(deadline) = drain.deadline.filter(|deadline| *deadline <= now) else { return };
        let abort = drain.at_once || deadline + LAST_FLUSH <= now;
        for (_, entry) in entries.iter() {
            entry.signal(Signals::FORCED | if abort { Signals::KILL } else { Signals::STOP });
        }
    }

    /// How the drain stands. Who was ended at the deadline and is still there counts as ended by it; who was ending by
    /// itself just then does not.
    pub(crate) fn drain_progress(&self) -> Option<Drain> {
        let state = self.lock();
        let forced = || state.entries.iter().filter(|(_, entry)| entry.signals() & Signals::FORCED != 0).count();
        state.drain.map(|drain| Drain { forced: drain.forced + forced(), ..drain })
    }

    /// One connection.
    pub(crate) fn find(&self, id: ConnectionId) -> Option<Arc<ConnectionState>> {
        self.lock().entries.iter().find(|(_, entry)| entry.id() == id).map(|(_, entry)| entry.clone())
    }

    /// All of them, in no particular order.
    pub(crate) fn connections(&self) -> Vec<Arc<ConnectionState>> {
        self.lock().entries.iter().map(|(_, entry)| entry.clone()).collect()
    }

    /// The numbers, consistent with each other.
    pub(crate) fn totals(&self) -> Totals {
        let state = self.lock();
        let mut totals = state.totals;
        totals.live = state.entries.len() as u64;
        for (_, entry) in state.entries.iter() {
            totals.bytes_in += entry.bytes_in();
            totals.bytes_out += entry.bytes_out();
        }
        totals
    }

    /// A connection of this table may have a shorter limit than the tick was made for: stamps are exact enough for it
    /// from here on, not only from the next tick.
    fn request_tick(&self, limit: u32) {
        let tick = resolution(limit);
        if tick < self.clock.tick() {
            self.clock.advance();
            self.clock.set_tick(tick);
            self.bell.notify_one();
        }
    }

    /// What a poisoned lock guards is whole all the same: nothing in here panics half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
