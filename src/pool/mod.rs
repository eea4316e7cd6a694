//! The supervisor: owns the listening sockets, starts and replaces acceptors, ends in order.
//!
//! ```text
//! start:    arbiters ─▶ acceptors ─▶ all ready ─▶ the builder's caller has its handle
//! restart:  an acceptor always, however it ended; past the budget the pool ends
//! suspend:  ports held or closed, and back; connections go on
//! change:   settings checked as a whole, then all of them at once
//! drain:    readiness off ─▶ last call ─▶ every connection is told ─▶ ... deadline ─▶ flush ─▶ abort ─▶ report
//! ```

mod drain;
mod handle;
mod info;
mod names;
mod reconfigure;
mod restarts;
mod signals;
mod slots;
mod state;
mod suspend;
mod typed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::acceptor::{AcceptorContext, AddListeners, Exited, Ready, Retire};
use crate::error::{Exit, PoolError, StartError};
use crate::listener::BacklogPolicy;
use crate::telemetry::PoolEvent;
use crate::watchdog::Watchdog;

pub use drain::Drain;
pub(crate) use drain::Stop;
pub use handle::PoolHandle;
pub use info::{AcceptorInfo, DrainReport, ListenerInfo, PoolInfo, Status};
pub(crate) use restarts::Restarts;
pub(crate) use slots::{AcceptorSlots, Placement};
pub(crate) use state::PoolState;
pub use suspend::SuspendMode;
pub use typed::{BroadcastReport, Pool};

use drain::DrainState;

/// The supervisor of acceptors, and the place where every pool begins.
///
/// Choose a door: [`protocol`](AcceptorPool::with_protocol), [`events`](AcceptorPool::with_events), [`serve`](AcceptorPool::with_fn)
/// or [`start`](AcceptorPool::with_actor). Each makes a [`Builder`](crate::Builder); its [`bind`](crate::Builder::bind) opens
/// the port and starts the pool, an actor on the caller's arbiter.
///
/// It replaces an acceptor however that ended: stopped, failed, panicked, or its whole arbiter gone. Meanwhile peers wait
/// in the kernel's queue and connections go on. Past the budget ([`Builder::max_restarts`](crate::Builder::max_restarts)) the pool
/// ends with [`PoolError::TooManyRestarts`].
pub struct AcceptorPool {
    shared: Arc<PoolState>,
    /// Gone once the ports are closed.
    acceptors: Option<Arc<AcceptorContext>>,
    slots: AcceptorSlots,
    restarts: Restarts,
    start_timeout: Duration,
    starting: Option<oneshot::Sender<Result<(), StartError>>>,
    /// Why the start failed: told once nothing is left running.
    failed: Option<StartError>,
    draining: Option<DrainState>,
    ended: bool,
    /// Goes when the pool goes.
    _watchdog: Option<Watchdog>,
}

/// What the builder makes a pool of.
pub(crate) struct Plan {
    pub(crate) shared: Arc<PoolState>,
    pub(crate) acceptors: Arc<AcceptorContext>,
    pub(crate) slots: AcceptorSlots,
    pub(crate) restarts: Restarts,
    pub(crate) start_timeout: Duration,
    pub(crate) watchdog: Option<Watchdog>,
}

impl AcceptorPool {
    /// Starts the actor; resolves when every acceptor is ready, or when the start has failed.
    pub(crate) async fn launch(plan: Plan) -> Result<(), StartError> {
        let (starting, started) = oneshot::channel();
        let pool = AcceptorPool {
            shared: plan.shared,
            acceptors: Some(plan.acceptors),
            slots: plan.slots,
            restarts: plan.restarts,
            start_timeout: plan.start_timeout,
            starting: Some(starting),
            failed: None,
            draining: None,
            ended: false,
            _watchdog: plan.watchdog,
        };
        let address = pool.start();
        let outcome = started.await.unwrap_or(Err(StartError::ListenerClosed));
        drop(address);
        outcome
    }

    /// Puts an acceptor into a place, on the place's arbiter or a new one.
    fn start_acceptor(&mut self, slot: usize, ctx: &mut Context<Self>) {
        let Some(acceptors) = self.acceptors.clone() else { return };
        let pool = (ctx.address().recipient(), ctx.address().recipient());
        if let Err(source) = self.slots.start_acceptor(slot, acceptors, pool) {
            if self.starting.is_some() {
                let what = format!("an arbiter for acceptor {slot}");
                self.start_failed(StartError::SystemError { what, source }, ctx);
            } else {
                let source = Arc::new(source);
                self.fail(PoolError::NoArbiter { acceptor: slot, source }, ctx);
            }
        }
    }

    fn start_failed(&mut self, error: StartError, ctx: &mut Context<Self>) {
        self.failed.get_or_insert(error);
        self.start_drain(Drain::immediate(), Ok(()), ctx);
    }

    fn fail(&mut self, why: PoolError, ctx: &mut Context<Self>) {
        error!(pool = self.shared.name(), "{why}");
        self.start_drain(Drain::grace(self.shared.settings().grace), Err(why), ctx);
    }
}

impl Actor for AcceptorPool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.shared.set_pool(ctx.address());
        let states = self.acceptors.as_ref().map(|acceptors| acceptors.listeners()).unwrap_or_default();
        states.iter().for_each(|state| self.shared.emit_opened(state));
        self.shared.set_listener_states(states);
        for slot in 0..self.slots.slots() {
            self.start_acceptor(slot, ctx);
        }
        let limit = self.start_timeout;
        ctx.run_later(limit, move |pool, ctx| {
            if let Some(acceptor) = pool.slots.first_unready().filter(|_| pool.starting.is_some()) {
                pool.start_failed(StartError::AcceptorTimeout { acceptor, limit }, ctx);
            }
        });
    }
}

impl Handler<Ready> for AcceptorPool {
    type Result = ();

    fn handle(&mut self, ready: Ready, ctx: &mut Context<Self>) {
        let unwanted = self.is_closing_listeners() || ready.slot >= self.shared.registries().slots_in_use();
        if unwanted {
            self.slots.retire(ready.slot);
            return ready.address.do_send(Retire);
        }
        if !self.slots.ready(ready.slot, ready.generation) {
            return;
        }
        if let Some(acceptors) = &self.acceptors {
            // The listeners may be others since it began.
            ready.address.do_send(AddListeners(acceptors.listeners()));
        }
        self.shared.set_acceptor(ready.slot, ready.address);
        self.shared.emit(|| PoolEvent::AcceptorStarted { acceptor: ready.slot });
        if self.slots.first_unready().is_none() {
            // Whoever started the pool may be gone by now: then nobody wants it.
            if self.starting.take().is_some_and(|starting| starting.send(Ok(())).is_err()) {
                self.start_drain(Drain::immediate(), Ok(()), ctx);
            }
        }
    }
}

impl Handler<Exited> for AcceptorPool {
    type Result = ();

    fn handle(&mut self, exited: Exited, ctx: &mut Context<Self>) {
        let Exited { slot, generation, exit } = exited;
        if !self.slots.acceptor_stopped(slot, generation) {
            return;
        }
        if self.shared.remove_acceptor(slot) {
            let exit = exit.as_ref().unwrap_or(&Exit::Stopped);
            self.shared.emit(|| PoolEvent::AcceptorStopped { acceptor: slot, exit });
        }
        if self.is_closing_listeners() {
            return self.close_listeners_when_idle(ctx);
        }
        if self.starting.is_some() {
            let error = match exit {
                Some(Exit::Failed(source)) => StartError::AcceptorFailed { acceptor: slot, source },
                _ => StartError::AcceptorCrashed { acceptor: slot },
            };
            return self.start_failed(error, ctx);
        }
        if slot >= self.shared.registries().slots_in_use() {
            // Its place was given up.
            return;
        }
        // One that never ran died with its predecessor's arbiter: that death was counted already. One that was told to go
        // has not died; its place is wanted again.
        if !self.slots.is_retired(slot) && (exit.is_some() || self.slots.is_fresh(slot)) {
            let last = exit.unwrap_or(Exit::Stopped);
            if !self.restarts.allow(Instant::now()) {
                let (limit, within) = self.restarts.budget();
                return self.fail(PoolError::TooManyRestarts { limit, within, last }, ctx);
            }
            warn!(pool = self.shared.name(), acceptor = slot, how = %last, "acceptor is replaced");
            self.shared.count_restart(slot);
        }
        self.start_acceptor(slot, ctx);
    }
}

impl Drop for AcceptorPool {
    /// The pool's own arbiter stopped: its connections, on other arbiters, are treated as by a stop with the default grace.
    fn drop(&mut self) {
        if !self.ended {
            self.shared.start_drain();
            if let Some(acceptors) = self.acceptors.take() {
                acceptors.stop(BacklogPolicy::Drop);
            }
            for slot in (0..self.slots.slots()).filter(|slot| self.shared.remove_acceptor(*slot)) {
                // Nobody is left to hear how it ends.
                self.shared.emit(|| PoolEvent::AcceptorStopped { acceptor: slot, exit: &Exit::Stopped });
            }
            let grace = self.shared.settings().grace;
            self.shared.drain(grace);
            let outcome = self.draining.take().map_or(Err(PoolError::Orphaned), |draining| draining.outcome);
            self.shared.set_ended(outcome);
        }
    }
}
