//! What everybody may know of a pool without asking its actor.

use std::any::{Any, TypeId};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::watch;

use super::{names, AcceptorInfo, AcceptorPool, DrainReport, ListenerInfo, PoolInfo, Status};
use crate::acceptor::Acceptor;
use crate::config::Settings;
use crate::error::PoolError;
use crate::limits::Limits;
use crate::listener::ListenerState;
use crate::net::Address;
use crate::registry::{Registries, Totals, FINAL_FLUSH};
use crate::telemetry::{CloseReason, Counts, PoolEvent};

pub(crate) struct PoolState {
    name: Arc<str>,
    system: usize,
    limits: Arc<Limits>,
    registries: Arc<Registries>,
    states: Mutex<Vec<Arc<ListenerState>>>,
    addrs: Mutex<Vec<Address>>,
    acceptors: Mutex<Vec<SlotInfo>>,
    status: watch::Sender<Status>,
    drained: Mutex<DrainStats>,
    ended: watch::Sender<Option<Result<(), PoolError>>>,
    pool: OnceLock<Addr<AcceptorPool>>,
    /// The type of actor behind a connection.
    pub(super) actor: TypeId,
    /// What the door left for the typed handle; gone with the pool, for it keeps what the user's closures captured.
    handler: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
}

#[derive(Default)]
struct SlotInfo {
    address: Option<Addr<Acceptor>>,
    restarts: u64,
}

/// How a drain stands, beside what the tables know of it.
#[derive(Default)]
struct DrainStats {
    began: Option<(Instant, Counts<CloseReason>)>,
    unserved: usize,
    took: Option<Duration>,
}

impl PoolState {
    pub(crate) fn new(
        name: Arc<str>,
        limits: Arc<Limits>,
        registries: Arc<Registries>,
        actor: TypeId,
        handler: Arc<dyn Any + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(PoolState {
            name,
            system: System::current().id(),
            limits,
            acceptors: Mutex::new((0..registries.slots_in_use()).map(|_| SlotInfo::default()).collect()),
            registries,
            states: Mutex::default(),
            addrs: Mutex::default(),
            status: watch::Sender::new(Status::Running),
            drained: Mutex::default(),
            ended: watch::Sender::new(None),
            pool: OnceLock::new(),
            actor,
            handler: Mutex::new(Some(handler)),
        })
    }

    pub(crate) fn enter_name(self: &Arc<Self>) -> bool {
        names::enter(self.system, self)
    }

    pub(crate) fn leave_name(&self) {
        names::leave(self.system, self);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn listener(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn handler<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        lock(&self.handler).clone()?.downcast().ok()
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

    /// What is listened on; once the ports are closed the addresses alone.
    pub(super) fn set_listener_states(&self, states: Vec<Arc<ListenerState>>) {
        *lock(&self.addrs) = states.iter().map(|state| state.transport.local_addr()).collect();
        // Those that go tell observers of it, who may look at the listeners.
        let gone = std::mem::replace(&mut *lock(&self.states), states);
        drop(gone);
    }

    pub(super) fn addrs(&self) -> Vec<Address> {
        lock(&self.addrs).clone()
    }

    pub(super) fn listeners(&self) -> Vec<ListenerInfo> {
        let info = |state: &Arc<ListenerState>| {
            let steps = state.steps.iter().map(|step| step.info());
            let expires = steps.clone().filter_map(|step| step.certificate_expires);
            ListenerInfo {
                name: state.limits.name().clone(),
                address: state.transport.local_addr(),
                connections: state.limits.connections(),
                max_connections: state.limits.max(),
                tls: steps.clone().any(|step| step.tls),
                certificate_expires: expires.min(),
            }
        };
        lock(&self.states).iter().map(info).collect()
    }

    pub(super) fn status(&self) -> Status {
        *self.status.borrow()
    }

    pub(super) fn set_status(&self, status: Status) {
        self.status.send_replace(status);
    }

    pub(super) fn pool(&self) -> Option<&Addr<AcceptorPool>> {
        self.pool.get()
    }

    pub(super) fn set_pool(&self, pool: Addr<AcceptorPool>) {
        let _ = self.pool.set(pool);
    }

    pub(super) fn set_acceptor(&self, slot: usize, address: Addr<Acceptor>) {
        self.slot_infos()[slot].address = Some(address);
    }

    /// True if it had come.
    pub(super) fn remove_acceptor(&self, slot: usize) -> bool {
        self.slot_infos()[slot].address.take().is_some()
    }

    /// Tells the observers.
    pub(super) fn emit<'a>(&self, event: impl FnOnce() -> PoolEvent<'a>) {
        self.registries.shared().observers.emit(event);
    }

    pub(super) fn emit_opened(&self, state: &ListenerState) {
        state.emit_opened(self.registries.shared());
    }

    pub(super) fn count_restart(&self, slot: usize) {
        self.slot_infos()[slot].restarts += 1;
    }

    pub(super) fn acceptor_addresses(&self) -> Vec<Addr<Acceptor>> {
        self.slot_infos().iter().filter_map(|info| info.address.clone()).collect()
    }

    pub(super) fn acceptor(&self, slot: usize) -> Option<Addr<Acceptor>> {
        self.slot_infos().get(slot).and_then(|info| info.address.clone())
    }

    /// So many places have an acceptor from now on.
    pub(super) fn slots(&self, slots: usize) {
        self.registries.set_slots_in_use(slots);
        let mut slot_infos = self.slot_infos();
        while slot_infos.len() < slots {
            slot_infos.push(SlotInfo::default());
        }
    }

    /// From here on the pool is not ready, and the report counts.
    pub(super) fn start_drain(&self) {
        self.set_status(Status::Draining);
        let closed = self.info().closed;
        lock(&self.drained).began.get_or_insert((Instant::now(), closed));
    }

    pub(super) fn count_unserved(&self, peers: usize) {
        lock(&self.drained).unserved += peers;
    }

    /// Everybody is told, and has so long.
    pub(super) fn drain(&self, grace: Option<Duration>) {
        let gone = std::mem::take(&mut *lock(&self.states));
        drop(gone);
        let deadline = grace.and_then(|grace| Instant::now().checked_add(grace));
        for registry in self.registries.all() {
            registry.drain(deadline);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.registries.all().iter().filter_map(|registry| registry.drain_progress()?.deadline).min()
    }

    /// Waits until no connection is left; a while after the deadline it gives up.
    pub(super) async fn emptied(&self, give_up: Duration) {
        loop {
            let mut changed = pin!(self.registries.shared().changed.notified());
            changed.as_mut().enable();
            if self.registries.shared().unsettled() == 0 {
                return;
            }
            let now = Instant::now();
            // A second stop may have brought the deadline nearer: look again now and then.
            let Some(deadline) = self.deadline() else {
                changed.await;
                continue;
            };
            if deadline <= now {
                self.registries.all().iter().for_each(|registry| registry.enforce_deadline(now));
            }
            let steps = [deadline, deadline + FINAL_FLUSH, deadline + FINAL_FLUSH + give_up];
            match steps.into_iter().find(|step| *step > now) {
                Some(next) => drop(tokio::time::timeout_at(next.into(), changed).await),
                None => return,
            }
        }
    }

    pub(super) fn report(&self) -> DrainReport {
        let mut report = DrainReport::default();
        for drain in self.registries.all().iter().filter_map(|registry| registry.drain_progress()) {
            report.asked += drain.asked;
            report.forced += drain.forced;
        }
        report.finished = report.asked.saturating_sub(report.forced);
        let drained = lock(&self.drained);
        report.unserved = drained.unserved;
        if let Some((began, closed)) = &drained.began {
            report.took = drained.took.unwrap_or_else(|| began.elapsed());
            report.closed = self.info().closed.since(closed);
        }
        report
    }

    pub(super) fn set_ended(&self, outcome: Result<(), PoolError>) {
        self.leave_name();
        let mut drained = lock(&self.drained);
        drained.took = drained.began.as_ref().map(|(began, _)| began.elapsed());
        drop(drained);
        self.set_status(Status::Ended);
        let handler = lock(&self.handler).take();
        drop(handler);
        self.ended.send_replace(Some(outcome));
    }

    /// How the pool ended, once it has.
    pub(super) async fn ended(&self) -> Result<(), PoolError> {
        let mut ended = self.ended.subscribe();
        let outcome = match ended.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        outcome.unwrap_or(Err(PoolError::Orphaned))
    }

    pub(super) fn info(&self) -> PoolInfo {
        let totals: Vec<Totals> = self.registries.all().iter().map(|registry| registry.totals()).collect();
        let (mut closed, mut refused) = (Counts::default(), Counts::default());
        for totals in &totals {
            closed += totals.closed;
            refused += totals.refused;
        }
        let sum = |of: fn(&Totals) -> u64| totals.iter().map(of).sum();
        let certificate_expires = self.listeners().into_iter().filter_map(|its| its.certificate_expires).min();
        let slot_infos = self.slot_infos();
        let staffed = totals.iter().zip(slot_infos.iter()).take(self.registries.slots_in_use());
        let acceptors = staffed.enumerate().map(|(id, (totals, info))| AcceptorInfo {
            id,
            connections: totals.live,
            restarts: info.restarts,
        });
        PoolInfo {
            status: self.status(),
            connections: sum(|totals| totals.live),
            max_connections: self.limits.max(),
            accepted: sum(|totals| totals.accepted),
            refused,
            closed,
            bytes_in: sum(|totals| totals.bytes_in),
            bytes_out: sum(|totals| totals.bytes_out),
            blocked: self.registries.shared().blocked(),
            certificate_expires,
            acceptors: acceptors.collect(),
        }
    }

    fn slot_infos(&self) -> MutexGuard<'_, Vec<SlotInfo>> {
        lock(&self.acceptors)
    }
}

/// What a poisoned lock guards is whole all the same: nothing in here panics half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
