//! The supervisor: owns the listening sockets, starts and replaces acceptors, ends in order.
//!
//! ```text
//! start:    arbiters ─▶ acceptors ─▶ all ready ─▶ the builder's caller has its handle
//! restart:  an acceptor always, however it ended; past the budget the pool ends
//! suspend:  ports held or closed, and back; connections go on
//! change:   settings checked as a whole, then all of them at once
//! drain:    readiness off ─▶ last call ─▶ every connection is told ─▶ ... deadline ─▶ flush ─▶ abort ─▶ report
//! ```

mod change;
mod directory;
mod drain;
mod handle;
mod listener;
mod listener_options;
mod ports;
mod report;
mod restarts;
mod shared;
mod signals;
mod staff;
mod suspend;
mod typed;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::acceptor::{AcceptorContext, AddListeners, BacklogPolicy, Exited, Ready, Retire};
use crate::error::{Exit, PoolError, StartError};
use crate::protocol::Regulated;
use crate::telemetry::PoolEvent;
use crate::watchdog::Watchdog;

pub use drain::Drain;
pub(crate) use drain::Stop;
pub use handle::{PoolHandle, WaitError};
pub(crate) use listener::open_listeners;
pub use listener::Listener;
pub(crate) use ports::{open_first, resolve};
pub use report::{AcceptorInfo, DrainReport, ListenerInfo, PoolInfo, Status};
pub(crate) use restarts::Restarts;
pub(crate) use shared::Shared;
pub(crate) use staff::{Housing, Staff};
pub use suspend::{SuspendError, SuspendMode};
pub use typed::{BroadcastReport, Pool};

use drain::Draining;

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
    shared: Arc<Shared>,
    /// Gone once the ports are closed.
    acceptors: Option<Arc<AcceptorContext>>,
    staff: Staff,
    restarts: Restarts,
    regulated: Arc<dyn Regulated>,
    start_timeout: Duration,
    starting: Option<oneshot::Sender<Result<(), StartError>>>,
    /// Why the start failed: told once nothing is left running.
    failed: Option<StartError>,
    draining: Option<Draining>,
    ended: bool,
    /// Goes when the pool goes.
    _watchdog: Option<Watchdog>,
}

/// What the builder makes a pool of.
pub(crate) struct Plan {
    pub(crate) shared: Arc<Shared>,
    pub(crate) acceptors: Arc<AcceptorContext>,
    pub(crate) staff: Staff,
    pub(crate) restarts: Restarts,
    pub(crate) regulated: Arc<dyn Regulated>,
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
            staff: plan.staff,
            restarts: plan.restarts,
            regulated: plan.regulated,
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
    fn hire(&mut self, place: usize, ctx: &mut Context<Self>) {
        let Some(acceptors) = self.acceptors.clone() else { return };
        let pool = (ctx.address().recipient(), ctx.address().recipient());
        if let Err(source) = self.staff.hire(place, acceptors, pool) {
            if self.starting.is_some() {
                let what = format!("an arbiter for acceptor {place}");
                self.start_failed(StartError::SystemError { what, source }, ctx);
            } else {
                let source = Arc::new(source);
                self.give_up(PoolError::NoArbiter { acceptor: place, source }, ctx);
            }
        }
    }

    fn start_failed(&mut self, error: StartError, ctx: &mut Context<Self>) {
        self.failed.get_or_insert(error);
        self.begin_to_drain(Drain::immediate(), Ok(()), ctx);
    }

    fn give_up(&mut self, why: PoolError, ctx: &mut Context<Self>) {
        error!(pool = self.shared.name(), "{why}");
        self.begin_to_drain(Drain::grace(self.shared.settings().grace), Err(why), ctx);
    }
}

impl Actor for AcceptorPool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.shared.set_pool(ctx.address());
        let states = self.acceptors.as_ref().map(|acceptors| acceptors.states()).unwrap_or_default();
        states.iter().for_each(|state| self.shared.emit_opened(state));
        self.shared.set_listener_states(states);
        for place in 0..self.staff.places() {
            self.hire(place, ctx);
        }
        let limit = self.start_timeout;
        ctx.run_later(limit, move |pool, ctx| {
            if let Some(acceptor) = pool.staff.first_unready().filter(|_| pool.starting.is_some()) {
                pool.start_failed(StartError::AcceptorTimeout { acceptor, limit }, ctx);
            }
        });
    }
}

impl Handler<Ready> for AcceptorPool {
    type Result = ();

    fn handle(&mut self, ready: Ready, ctx: &mut Context<Self>) {
        let unwanted = self.has_called_last() || ready.place >= self.shared.registries().staffed();
        if unwanted {
            self.staff.retire(ready.place);
            return ready.address.do_send(Retire);
        }
        if !self.staff.ready(ready.place, ready.generation) {
            return;
        }
        if let Some(acceptors) = &self.acceptors {
            // The listeners may be others since it began.
            ready.address.do_send(AddListeners(acceptors.states()));
        }
        self.shared.set_acceptor(ready.place, ready.address);
        self.shared.emit(|| PoolEvent::AcceptorStarted { acceptor: ready.place });
        if self.staff.first_unready().is_none() {
            // Whoever started the pool may be gone by now: then nobody wants it.
            if self.starting.take().is_some_and(|starting| starting.send(Ok(())).is_err()) {
                self.begin_to_drain(Drain::immediate(), Ok(()), ctx);
            }
        }
    }
}

impl Handler<Exited> for AcceptorPool {
    type Result = ();

    fn handle(&mut self, exited: Exited, ctx: &mut Context<Self>) {
        let Exited { place, generation, exit } = exited;
        if !self.staff.left(place, generation) {
            return;
        }
        if self.shared.acceptor_left(place) {
            let exit = exit.as_ref().unwrap_or(&Exit::Stopped);
            self.shared.emit(|| PoolEvent::AcceptorStopped { acceptor: place, exit });
        }
        if self.has_called_last() {
            return self.close_ports_when_idle(ctx);
        }
        if self.starting.is_some() {
            let error = match exit {
                Some(Exit::Failed(source)) => StartError::AcceptorFailed { acceptor: place, source },
                _ => StartError::AcceptorCrashed { acceptor: place },
            };
            return self.start_failed(error, ctx);
        }
        if place >= self.shared.registries().staffed() {
            // Its place was given up.
            return;
        }
        // One that never ran died with its predecessor's arbiter: that death was counted already. One that was told to go
        // has not died; its place is wanted again.
        if !self.staff.was_retired(place) && (exit.is_some() || self.staff.is_fresh(place)) {
            let last = exit.unwrap_or(Exit::Stopped);
            if !self.restarts.allow(Instant::now()) {
                let (limit, within) = self.restarts.budget();
                return self.give_up(PoolError::TooManyRestarts { limit, within, last }, ctx);
            }
            warn!(pool = self.shared.name(), acceptor = place, how = %last, "acceptor is replaced");
            self.shared.count_restart(place);
        }
        self.hire(place, ctx);
    }
}

impl Drop for AcceptorPool {
    /// The pool's own arbiter stopped: its connections, on other arbiters, are treated as by a stop with the default grace.
    fn drop(&mut self) {
        if !self.ended {
            self.shared.begin_to_drain();
            if let Some(acceptors) = self.acceptors.take() {
                acceptors.leave(BacklogPolicy::Drop);
            }
            for place in (0..self.staff.places()).filter(|place| self.shared.acceptor_left(*place)) {
                // Nobody is left to hear how it ends.
                self.shared.emit(|| PoolEvent::AcceptorStopped { acceptor: place, exit: &Exit::Stopped });
            }
            let grace = self.shared.settings().grace;
            self.shared.drain(grace);
            let outcome = self.draining.take().map_or(Err(PoolError::Orphaned), |draining| draining.outcome);
            self.shared.set_ended(outcome);
        }
    }
}
