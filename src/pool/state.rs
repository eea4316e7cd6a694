//! The state of a pool that its actor and all its handles share.
//!
//! The actor writes it; handles read it from any thread without a message to the actor. Locks are held only to copy a value:
//! user code (transports, handshakes, observers, captured values of a handler) never runs under a lock.

use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::draining::DrainStats;
use super::services::Services;
use super::{names, AcceptorPool, Status};
use crate::acceptor::Acceptor;
use crate::config::{DrainConfig, Settings};
use crate::error::{PoolError, WaitError};
use crate::limits::Limits;
use crate::listener::{BuilderServices, ListenerState};
use crate::names::Names;
use crate::net::Address;
use crate::registry::{Registries, Totals, FINAL_FLUSH};
use crate::telemetry::OpenSpan;
use crate::topics::Topics;

/// Shared by a pool's actor and all its handles.
pub(crate) struct PoolState {
    name: Arc<str>,
    system: usize,
    limits: Arc<Limits>,
    registries: Arc<Registries>,
    /// Empty once the listening sockets are closed permanently.
    pub(super) listeners: Mutex<Vec<Arc<ListenerState>>>,
    /// The addresses of the last listeners. Kept after the listeners are closed.
    addresses: Mutex<Vec<Address>>,
    pub(super) slots: Mutex<Vec<SlotInfo>>,
    status: watch::Sender<Status>,
    /// A stop was requested. Cuts short what the supervisor would finish first.
    pub(super) stopping: watch::Sender<bool>,
    pub(super) drain_stats: Mutex<DrainStats>,
    drain_config: Mutex<DrainConfig>,
    /// Whether the start of the pool was reported.
    pub(super) is_started: AtomicBool,
    ended: watch::Sender<Option<Result<(), PoolError>>>,
    /// Dropped when the pool ends: the mailbox keeps a waker, and with it the event loop of the pool's arbiter.
    supervisor: Mutex<Option<Addr<AcceptorPool>>>,
    services: Services,
    topics: Arc<Topics>,
    names: Arc<Names>,
    /// The number of calls of `adopt` that have chosen an acceptor.
    pub(super) adopted: AtomicUsize,
}

#[derive(Default)]
pub(super) struct SlotInfo {
    pub(super) address: Option<Addr<Acceptor>>,
    pub(super) span: Option<Arc<OpenSpan>>,
    pub(super) restarts: u64,
}

impl PoolState {
    pub(crate) fn new(
        name: Arc<str>,
        limits: Arc<Limits>,
        registries: Arc<Registries>,
        services: BuilderServices,
    ) -> Arc<Self> {
        Arc::new(PoolState {
            name,
            system: System::current().id(),
            limits,
            slots: Mutex::new((0..registries.slots_in_use()).map(|_| SlotInfo::default()).collect()),
            registries,
            listeners: Mutex::default(),
            addresses: Mutex::default(),
            status: watch::Sender::new(Status::Running),
            stopping: watch::Sender::new(false),
            drain_stats: Mutex::default(),
            drain_config: Mutex::default(),
            is_started: AtomicBool::new(false),
            ended: watch::Sender::new(None),
            supervisor: Mutex::default(),
            services: Services::new(services),
            topics: Arc::default(),
            names: Arc::default(),
            adopted: AtomicUsize::new(0),
        })
    }

    /// Registers the pool's name. Returns `false` if another live pool of this actix system has the name.
    pub(crate) fn register_name(self: &Arc<Self>) -> bool {
        names::register(self.system, self)
    }

    /// Adds the pool to those that [`AcceptorPool::all`] returns, until it has ended.
    pub(super) fn enumerate(self: &Arc<Self>) {
        names::add(self.system, self);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// The topics of its connections.
    pub(super) fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// The names of its connections.
    pub(super) fn names(&self) -> &Arc<Names> {
        &self.names
    }

    pub(super) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    pub(super) fn registries(&self) -> &Registries {
        &self.registries
    }

    pub(super) fn settings(&self) -> Settings {
        self.limits.config().load().settings.clone()
    }

    pub(super) fn set_settings(&self, settings: Settings) {
        self.limits.config().set(settings);
    }

    pub(super) fn set_listeners(&self, listeners: Vec<Arc<ListenerState>>) {
        self.services.set_listeners(&listeners);
        let addresses = listeners.iter().map(|listener| listener.address().clone()).collect();
        *self.addresses.lock() = addresses;
        let removed = std::mem::replace(&mut *self.listeners.lock(), listeners);
        // An observer may have been added since they were opened, before they were in the list.
        self.open_listener_spans();
        // Dropped outside the lock: dropping a listener calls observers, which may read the listeners.
        drop(removed);
    }

    pub(super) fn addresses(&self) -> Vec<Address> {
        self.addresses.lock().clone()
    }

    pub(super) fn status(&self) -> Status {
        *self.status.borrow()
    }

    #[cfg(all(unix, feature = "sd-notify"))]
    pub(super) fn status_changes(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    pub(super) fn set_status(&self, status: Status) {
        self.status.send_replace(status);
    }

    pub(super) fn supervisor(&self) -> Option<Addr<AcceptorPool>> {
        self.supervisor.lock().clone()
    }

    pub(super) fn set_supervisor(&self, address: Addr<AcceptorPool>) {
        *self.supervisor.lock() = Some(address);
    }

    pub(super) fn count_restart(&self, slot: usize) {
        self.slots.lock()[slot].restarts += 1;
    }

    pub(super) fn acceptor_addresses(&self) -> Vec<Addr<Acceptor>> {
        self.slots.lock().iter().filter_map(|info| info.address.clone()).collect()
    }

    pub(super) fn acceptor(&self, slot: usize) -> Option<Addr<Acceptor>> {
        self.slots.lock().get(slot).and_then(|info| info.address.clone())
    }

    /// Sets how many slots are in use. Entries of slots that are no longer in use are kept.
    pub(super) fn set_slots(&self, count: usize) {
        self.registries.set_slots_in_use(count);
        let mut slots = self.slots.lock();
        while slots.len() < count {
            slots.push(SlotInfo::default());
        }
    }

    /// What [`Drain::configured`](super::Drain::configured) stands for.
    pub(super) fn drain_config(&self) -> DrainConfig {
        *self.drain_config.lock()
    }

    pub(crate) fn set_drain_config(&self, drain: DrainConfig) {
        *self.drain_config.lock() = drain;
    }

    /// Notifies every connection that the pool shuts down. Those that are left after `grace` are ended.
    pub(super) fn drain_connections(&self, grace: Option<Duration>) {
        let removed = std::mem::take(&mut *self.listeners.lock());
        drop(removed);
        let deadline = grace.and_then(|grace| Instant::now().checked_add(grace));
        for registry in self.registries.all() {
            registry.drain(deadline);
        }
        // The deadline may be nearer than that of an earlier call: who waits for the last connection looks at it again.
        self.registries.shared().settled.notify_waiters();
        // Connections may wait for the end of their pool. From now on the pool may end without them.
        self.registries.shared().changed.notify_waiters();
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.registries.all().iter().filter_map(|registry| registry.drain_deadline()).min()
    }

    /// Waits until no connection is left. Returns `give_up` after the last flush at the deadline at the latest.
    pub(super) async fn wait_until_empty(&self, give_up: Duration) {
        loop {
            let mut changed = pin!(self.registries.shared().settled.notified());
            changed.as_mut().enable();
            if self.registries.shared().unsettled() == 0 {
                return;
            }
            let now = Instant::now();
            // Read in each round: a second stop may have made the deadline earlier.
            let Some(deadline) = self.deadline() else {
                changed.await;
                continue;
            };
            if deadline <= now {
                self.registries.all().iter().for_each(|registry| registry.enforce_deadline(now));
            }
            let steps = [deadline, deadline + FINAL_FLUSH, deadline + FINAL_FLUSH + give_up];
            match steps.into_iter().find(|step| *step > now) {
                Some(next) => drop(tokio::time::timeout_at(next, changed).await),
                None => return,
            }
        }
    }

    pub(super) fn set_ended(&self, outcome: Result<(), PoolError>) {
        names::unregister(self.system, self);
        let mut stats = self.drain_stats.lock();
        stats.took = stats.started.as_ref().map(|(started, _)| started.elapsed());
        drop(stats);
        self.set_status(Status::Ended);
        self.services.clear();
        let supervisor = self.supervisor.lock().take();
        drop(supervisor);
        self.registries.shared().set_ended();
        self.emit_ended(&outcome);
        self.log_ended(&outcome);
        self.sample();
        self.ended.send_replace(Some(outcome));
        // Wakes calls of `wait_for` whose condition can no longer be met.
        self.registries.shared().changed.notify_waiters();
    }

    /// Waits until the number of connections satisfies a condition, or can no longer change.
    pub(super) async fn wait_for(&self, condition: impl Fn(usize) -> bool) -> Result<usize, WaitError> {
        let shared = self.registries.shared();
        loop {
            let mut changed = pin!(shared.changed.notified());
            changed.as_mut().enable();
            // Read before the count: a pool that has ended gets no more connections.
            let ended = self.status() == Status::Ended;
            match shared.unsettled() {
                connections if condition(connections) => return Ok(connections),
                0 if ended => return Err(WaitError { connections: 0, ended }),
                _ => changed.await,
            }
        }
    }

    /// Waits until a drain is over: the pool has ended.
    ///
    /// The drain waits for connections, so a connection of the pool that called this would wait for itself. There, the drain
    /// is over once all remaining connections wait for it.
    pub(super) async fn wait_drained(&self) {
        let Some(id) = self.registries.current_connection() else { return drop(self.wait_ended().await) };
        let shared = self.registries.shared();
        let _awaits_end = shared.await_end(id);
        loop {
            let mut changed = pin!(shared.changed.notified());
            changed.as_mut().enable();
            let is_notified = || self.registries.all().iter().any(|registry| registry.is_draining());
            if self.status() == Status::Ended || shared.all_await_end() && is_notified() {
                return;
            }
            changed.await;
        }
    }

    /// Waits until the pool has ended, and returns how.
    pub(super) async fn wait_ended(&self) -> Result<(), PoolError> {
        let mut ended = self.ended.subscribe();
        let outcome = match ended.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        outcome.unwrap_or(Err(PoolError::Orphaned))
    }

    pub(super) fn totals(&self) -> Vec<Totals> {
        self.registries.all().iter().map(|registry| registry.totals()).collect()
    }
}
