//! The live connections of one arbiter, as seen by the rest of the pool.
//!
//! ```text
//! handle, pool ── list, signal, drain ──▶ Registry ◀── register, remove ── connections of this arbiter
//!                                            │
//!                                          tick: one task per arbiter, advances the clock, signals expired deadlines
//! ```
//!
//! A registry outlives the acceptor that fills it; the acceptor's replacement uses the same one. It does not depend on the
//! protocol. Its lock is taken to register, remove and list connections, never in a connection's turn: a turn only uses the
//! atomics of its own [`ConnectionState`] and of the arbiter's [`Activity`].

mod acks;
mod activity;
mod awaits_end;
mod close_request;
mod deferred;
mod drain;
mod dropped;
mod end;
mod entries;
mod format;
mod group_events;
mod groups;
mod guard;
mod info;
mod mailbox;
mod messaging;
mod outbox;
mod record;
mod registries;
mod removal;
mod signals;
mod state;
mod tick;
mod totals;
mod wake;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits::{Limits, PeerPermit, Permit};
use crate::net::Address;
use crate::telemetry::{Alarm, Alarms, CloseLogThrottle, ConnectionId, Observers, PoolEvent};
use crate::time::{resolution, Clock, Timeouts};

pub(crate) use acks::Ack;
pub(crate) use activity::{Activity, ActivityGuard, ActivitySnapshot, WatchdogParker};
pub(crate) use close_request::{CloseRequest, LastReply};
use deferred::Deferred;
pub(crate) use deferred::DeferredReplies;
use drain::DrainProgress;
pub(crate) use drain::FINAL_FLUSH;
pub(crate) use entries::Entries;
pub(crate) use format::{FactoryId, Format, Formats};
pub(crate) use groups::{Group, GroupChange};
pub(crate) use guard::ConnectionGuard;
pub use info::{ConnectionInfo, ConnectionPhase, TlsSummary};
pub(crate) use messaging::OutboxLimit;
pub(crate) use outbox::{OutboxQueue, Payload, Pushed, Segment, MAX_COPIED};
pub(crate) use registries::Registries;
use signals::AtomicSignals;
pub(crate) use signals::Signals;
pub(crate) use state::ConnectionState;
pub(crate) use tick::run as run_tick;
use totals::Sum;
pub(crate) use totals::Totals;
pub(crate) use wake::Batch;

/// The live connections of one arbiter.
#[derive(Debug)]
pub(crate) struct Registry {
    /// The index of its acceptor slot.
    slot: usize,
    contents: Mutex<Contents>,
    /// Held by [`Registry::totals`], so that it runs once at a time.
    summing: Mutex<()>,
    live: AtomicUsize,
    clock: Clock,
    activity: Activity,
    /// Signals that were set without waking the connections. The tick's task does that.
    unwoken: AtomicSignals,
    /// Connections whose signals were set without waking them. [`run_wakes`] does that.
    unwoken_list: Mutex<wake::WakeList>,
    wake_list: Notify,
    deferred: Deferred,
    /// Wakes the tick: at the first connection, for a shorter timeout, for signals in `unwoken`, for a drain, and at the last
    /// connection of a drain.
    wake_tick: Notify,
    shared: Arc<RegistryShared>,
}

/// The state that the registries of one pool share.
pub(crate) struct RegistryShared {
    last_id: AtomicU64,
    pub(crate) observers: Observers,
    pub(crate) alarms: Alarms,
    pub(crate) close_log: CloseLogThrottle,
    /// The number of connections that are alive or whose end is still being reported.
    unsettled: AtomicUsize,
    /// Notified whenever a connection was registered or its end was fully reported.
    pub(crate) changed: Notify,
    /// Notified when the last of them was fully reported, and when the deadline of a drain has changed.
    pub(crate) settled: Notify,
    /// How many times an arbiter was blocked.
    blocked: AtomicU64,
    accept_errors: AtomicU64,
    pub(crate) watchdog: WatchdogParker,
    pub(crate) outbox_limit: OutboxLimit,
    pub(crate) formats: Formats,
    /// The state of the pool, for its connections. Removed when the pool has ended and its last connection is gone, since
    /// the pool's state owns the registries.
    pool: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
    has_ended: AtomicBool,
    /// The connections that wait for the end of the pool, each with the number of its waits.
    awaiting_end: Mutex<HashMap<ConnectionId, usize>>,
}

#[derive(Debug, Default)]
struct Contents {
    connections: Entries,
    totals: Totals,
    /// While [`Registry::totals`] runs.
    sum: Option<Sum>,
    drain: Option<DrainProgress>,
    close_requests: HashMap<ConnectionId, CloseRequest>,
}

/// How many entries are copied under one lock. Copying them takes about 2 us, so a walk over all entries does not hold up
/// accepts. Their buffer is small enough to be allocated without the allocator merging its free blocks.
const CHUNK: usize = 64;

impl RegistryShared {
    pub(crate) fn new(observers: Observers, alarms: Vec<Alarm>, outbox_limit: OutboxLimit) -> Arc<Self> {
        Arc::new(RegistryShared {
            last_id: AtomicU64::new(0),
            observers,
            alarms: Alarms::new(alarms),
            close_log: CloseLogThrottle::default(),
            unsettled: AtomicUsize::new(0),
            changed: Notify::new(),
            settled: Notify::new(),
            blocked: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            watchdog: WatchdogParker::default(),
            outbox_limit,
            formats: Formats::default(),
            pool: Mutex::default(),
            has_ended: AtomicBool::new(false),
            awaiting_end: Mutex::default(),
        })
    }

    /// Raises or clears alarms for this number of connections, which may be slightly out of date.
    pub(crate) fn check_alarms(&self, connections: usize, limits: &Limits) {
        self.alarms.check(connections, || limits.alive(), &self.observers);
    }

    /// The number of connections that are alive, whose end is still being reported, or that still hold a permit or a count.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.load(SeqCst)
    }

    /// Records that the end of a connection was reported, and its permit and counts were given back.
    fn settle(&self) {
        if self.unsettled.fetch_sub(1, SeqCst) == 1 {
            self.settled.notify_waiters();
            self.release_pool();
        }
        self.changed.notify_waiters();
    }

    /// The state of the pool, which [`set_pool`](Self::set_pool) has set.
    pub(crate) fn pool(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.pool.lock().clone()
    }

    pub(crate) fn set_pool(&self, pool: Arc<dyn Any + Send + Sync>) {
        *self.pool.lock() = Some(pool);
    }

    /// Records that the pool has ended.
    pub(crate) fn set_ended(&self) {
        self.has_ended.store(true, SeqCst);
        self.release_pool();
    }

    fn release_pool(&self) {
        if self.has_ended.load(SeqCst) && self.unsettled() == 0 {
            let pool = self.pool.lock().take();
            drop(pool);
        }
    }
}

impl fmt::Debug for RegistryShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryShared").finish_non_exhaustive()
    }
}

impl Registry {
    pub(crate) fn new(slot: usize, shared: Arc<RegistryShared>) -> Arc<Self> {
        Arc::new(Registry {
            slot,
            contents: Mutex::default(),
            summing: Mutex::default(),
            live: AtomicUsize::new(0),
            clock: Clock::new(),
            activity: Activity::default(),
            unwoken: AtomicSignals::default(),
            unwoken_list: Mutex::default(),
            wake_list: Notify::new(),
            deferred: Deferred::default(),
            wake_tick: Notify::new(),
            shared,
        })
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    #[inline]
    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(crate) fn shared(&self) -> &Arc<RegistryShared> {
        &self.shared
    }

    /// The number of live connections. Takes no lock.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Relaxed)
    }

    /// Registers an accepted connection. During a drain, it is notified of the shutdown at once.
    pub(crate) fn register(
        self: &Arc<Self>,
        peer: Address,
        permit: Permit,
        peer_permit: PeerPermit,
        timeouts: Timeouts,
    ) -> ConnectionGuard {
        self.shared.unsettled.fetch_add(1, AcqRel);
        let mut contents = self.contents.lock();
        // Under the lock, so that the ids of a registry ascend.
        let id = ConnectionId(self.shared.last_id.fetch_add(1, Relaxed) + 1);
        let is_first = contents.connections.is_empty();
        if is_first {
            self.clock.catch_up();
        }
        let shortest = timeouts.shortest();
        self.request_tick(shortest);
        let state = Arc::new(ConnectionState::new(id, peer, permit, peer_permit, shortest, &self.clock));
        contents.connections.insert(state.clone());
        contents.totals.accepted += 1;
        if let Some(drain) = &mut contents.drain {
            drain.asked += 1;
            state.signal(Signals::DRAIN);
        }
        self.live.store(contents.connections.len(), Relaxed);
        drop(contents);
        if is_first {
            self.wake_tick();
            self.shared.watchdog.unpark();
        }
        let guard = ConnectionGuard::new(self.clone(), state, timeouts);
        guard.open_span();
        let entered = guard.enter_span();
        let state = guard.state();
        self.shared.observers.emit(|| {
            let (peer, listener) = (state.peer(), &**state.listener_name());
            PoolEvent::ConnectionStarted { id, peer, listener }
        });
        drop(entered);
        let limits = state.listener().limits();
        self.shared.check_alarms(limits.add_connection(), limits);
        self.shared.changed.notify_waiters();
        guard
    }

    pub(crate) fn find(&self, id: ConnectionId) -> Option<Arc<ConnectionState>> {
        self.contents.lock().connections.get(id).cloned()
    }

    /// Calls `f` for all live connections, in the order of their ids. The lock is not held meanwhile, and only for [`CHUNK`]
    /// entries at a time.
    pub(crate) fn for_each(&self, f: impl FnMut(&Arc<ConnectionState>)) {
        self.for_each_chunk(|_, _| {}, f);
    }

    /// As [`for_each`](Self::for_each); calls `taken`, under the lock, with the id of the last connection of each chunk.
    fn for_each_chunk(&self, taken: impl Fn(&mut Contents, ConnectionId), mut f: impl FnMut(&Arc<ConnectionState>)) {
        let (mut chunk, mut last) = (Vec::with_capacity(CHUNK), ConnectionId(0));
        loop {
            let mut contents = self.contents.lock();
            chunk.extend(contents.connections.after(last).take(CHUNK).cloned());
            let Some(state) = chunk.last() else { return };
            last = state.id();
            taken(&mut contents, last);
            drop(contents);
            chunk.iter().for_each(&mut f);
            if chunk.len() < CHUNK {
                return;
            }
            chunk.clear();
        }
    }

    /// Makes the tick short enough for a timeout (in milliseconds, 0 for none), from now on and not only after the next tick.
    fn request_tick(&self, timeout: u32) {
        let tick = resolution(timeout);
        if tick < self.clock.tick() {
            self.clock.advance();
            self.clock.set_tick(tick);
            self.wake_tick();
        }
    }

    /// Makes the tick run early.
    pub(crate) fn wake_tick(&self) {
        self.wake_tick.notify_one();
    }
}
