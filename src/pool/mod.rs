//! The pool: its supervisor actor, and the handles for the rest of the program.
//!
//! The builder creates the shared [`PoolState`] and starts [`AcceptorPool`]. [`Pool`] handles read the state and send
//! messages to the actor.
//!
//! ```text
//! start:    arbiters ─▶ acceptors ─▶ all ready ─▶ the builder's caller gets its handle
//! restart:  an acceptor always, however it ended; past the budget the pool ends
//! suspend:  listeners paused or closed, and opened again; connections stay open
//! change:   settings validated as a whole, then applied at once
//! drain:    not ready ─▶ backlog ─▶ every connection notified ─▶ deadline ─▶ flush ─▶ abort ─▶ report
//! ```

mod adopt;
mod arbiter;
mod broadcast;
mod connection_ref;
mod drain;
mod draining;
mod encoding;
mod hand_over;
mod handle;
mod info;
mod listeners;
mod log;
mod names;
mod observers;
mod reconfigure;
mod reload;
mod reports;
mod restarts;
mod samples;
mod services;
mod slots;
mod socket;
mod state;
mod suspend;
mod threads;
mod topic;
mod typed;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{error, warn};

use crate::acceptor::{is_out_of_resources, AcceptorContext, AddListeners, Exited, Ready, Retire};
use crate::config::BacklogPolicy;
use crate::error::{with_sources, Exit, PoolError, StartError};
use crate::panic::{catch_panic, text_of};
use crate::telemetry::LogThrottle;
use crate::watchdog::Watchdog;

pub use adopt::AdoptError;
pub use broadcast::BroadcastReport;
pub use connection_ref::ConnectionRef;
pub use drain::Drain;
pub(crate) use drain::Stop;
pub use handle::{Pool, PoolHandle, Untyped};
pub use info::{AcceptorInfo, DrainReport, Draining, ListenerInfo, ListenersChanged, PoolInfo, Status};
pub use reload::Reloaded;
pub(crate) use reload::{Refused, Reload};
pub(crate) use slots::Placement;
pub(crate) use state::PoolState;
pub use topic::{Published, Topic};

use drain::DrainState;
pub(crate) use restarts::Restarts;
use samples::StartSamples;
use slots::AcceptorSlots;

/// The pause before another attempt to start the arbiter of an acceptor.
const ARBITER_PAUSE: Duration = Duration::from_millis(500);

/// The supervisor of acceptors. Its constructors are the entry points of this crate.
///
/// Choose how connections are served: [`with_protocol`](AcceptorPool::with_protocol),
/// [`with_events`](AcceptorPool::with_events), [`with_fn`](AcceptorPool::with_fn) or
/// [`with_actor`](AcceptorPool::with_actor). Each returns a [`Builder`](crate::Builder), whose
/// [`bind`](crate::Builder::bind) opens the port and starts the pool as an actor on the caller's arbiter.
///
/// The pool restarts an acceptor that stopped, failed, panicked, or lost its arbiter. Meanwhile peers wait in the kernel's
/// queue and connections stay open. If a resource is exhausted, such as file descriptors, it tries again after a pause. When
/// the restart budget
/// ([`Builder::max_restarts`](crate::Builder::max_restarts)) is spent, the pool ends with [`PoolError::TooManyRestarts`].
pub struct AcceptorPool {
    shared: Arc<PoolState>,
    /// `None` once the listening sockets are closed permanently.
    acceptors: Option<Arc<AcceptorContext>>,
    slots: AcceptorSlots,
    restarts: Restarts,
    start_timeout: Duration,
    /// Receives the result of the start. `None` once it is sent.
    starting: Option<oneshot::Sender<Result<(), StartError>>>,
    /// Why the start failed. Sent once everything that was started has stopped.
    failed: Option<StartError>,
    draining: Option<DrainState>,
    ended: bool,
    /// Whether observers receive samples.
    samples: bool,
    arbiter_log: LogThrottle,
    /// Stops with the pool.
    watchdog: Option<Watchdog>,
}

impl AcceptorPool {
    /// Whether an actor can be started on this thread: its actix system, or that of its arbiter, is running.
    pub(crate) fn is_system_running() -> bool {
        // A system that has ended is still known on its thread, but its arbiter takes no more work.
        let is_alive = System::try_current().is_some_and(|system| system.arbiter().spawn_fn(|| {}));
        // Elsewhere on the thread of a system, such as in another runtime, spawning panics.
        is_alive && catch_panic(|| drop(actix_rt::spawn(async {}))).is_ok()
    }

    /// Starts the actor. Returns when every acceptor is ready, or when the start has failed.
    pub(crate) async fn launch(
        shared: Arc<PoolState>,
        acceptors: Arc<AcceptorContext>,
        placement: Placement,
        watchdog: Option<Watchdog>,
        start_timeout: Duration,
    ) -> Result<(), StartError> {
        shared.enumerate();
        let settings = shared.settings();
        let (starting, started) = oneshot::channel();
        let pool = AcceptorPool {
            acceptors: Some(acceptors),
            slots: AcceptorSlots::new(placement, shared.registries().slots_in_use()),
            restarts: Restarts::new(settings.max_restarts, settings.restart_window),
            start_timeout,
            starting: Some(starting),
            failed: None,
            draining: None,
            ended: false,
            samples: false,
            arbiter_log: LogThrottle::new(),
            watchdog,
            shared,
        };
        let address = pool.start();
        let result = started.await.unwrap_or(Err(StartError::ListenerClosed));
        drop(address);
        result
    }

    /// Starts an acceptor in a slot, on the slot's arbiter or a new one.
    fn start_acceptor(&mut self, slot: usize, ctx: &mut Context<Self>) {
        let Some(acceptors) = self.acceptors.clone() else { return };
        let pool = (ctx.address().recipient(), ctx.address().recipient());
        if let Err(source) = self.slots.start_acceptor(slot, acceptors, pool) {
            if self.starting.is_some() {
                let what = format!("the arbiter of acceptor {slot}");
                self.start_failed(StartError::SystemError { what, source }, ctx);
            } else if is_out_of_resources(&source) {
                self.arbiter_log.log(|left_out| {
                    let pool = self.shared.name();
                    warn!(pool, acceptor = slot, error = %source, left_out, pause = ?ARBITER_PAUSE,
                        "starting an arbiter failed; retrying after a pause");
                });
                ctx.run_later(ARBITER_PAUSE, move |pool, ctx| {
                    let is_in_use = slot < pool.shared.registries().slots_in_use();
                    if is_in_use && pool.slots.is_vacant(slot) && !pool.is_closing_listeners() {
                        pool.start_acceptor(slot, ctx);
                    }
                });
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

    fn fail(&mut self, error: PoolError, ctx: &mut Context<Self>) {
        error!(pool = self.shared.name(), error = with_sources(&error), "pool failed");
        self.start_drain(Drain::grace(self.shared.settings().grace), Err(error), ctx);
    }
}

impl Actor for AcceptorPool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.shared.set_supervisor(ctx.address());
        let listeners = self.acceptors.as_ref().map(|acceptors| acceptors.listeners()).unwrap_or_default();
        self.shared.registries().shared().observers.open_pool_span();
        listeners.iter().for_each(|listener| self.shared.emit_opened(listener));
        self.shared.set_listeners(listeners);
        self.handle(StartSamples, ctx);
        for slot in 0..self.slots.len() {
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
        let is_obsolete = self.is_closing_listeners() || ready.slot >= self.shared.registries().slots_in_use();
        if is_obsolete {
            self.slots.retire(ready.slot);
            return ready.address.do_send(Retire);
        }
        if !self.slots.set_ready(ready.slot, ready.generation) {
            return;
        }
        if let Some(acceptors) = &self.acceptors {
            // The listeners may have been replaced since the acceptor started.
            ready.address.do_send(AddListeners(acceptors.listeners()));
        }
        self.shared.acceptor_started(ready.slot, ready.address);
        if self.slots.first_unready().is_none() {
            if let Some(acceptors) = &self.acceptors {
                acceptors.set_started();
            }
            if let Some(starting) = self.starting.take() {
                self.shared.emit_started();
                self.shared.log_ready();
                // If the future that started the pool was dropped, there is no handle.
                if starting.send(Ok(())).is_err() {
                    self.start_drain(Drain::immediate(), Ok(()), ctx);
                }
            }
        }
    }
}

impl Handler<Exited> for AcceptorPool {
    type Result = ();

    fn handle(&mut self, exited: Exited, ctx: &mut Context<Self>) {
        let Exited { slot, generation, exit } = exited;
        if !self.slots.set_vacant(slot, generation) {
            return;
        }
        self.shared.acceptor_stopped(slot, exit.as_ref().unwrap_or(&Exit::Stopped));
        if self.is_closing_listeners() {
            return self.close_listeners_when_idle(ctx);
        }
        if self.starting.is_some() {
            let error = match exit {
                Some(Exit::Failed(source)) => StartError::AcceptorFailed { acceptor: slot, source },
                Some(Exit::Panicked(panic)) => StartError::AcceptorCrashed { acceptor: slot, panic: Some(panic) },
                _ => StartError::AcceptorCrashed { acceptor: slot, panic: None },
            };
            return self.start_failed(error, ctx);
        }
        if slot >= self.shared.registries().slots_in_use() {
            return;
        }
        // An acceptor that never ran ended with the arbiter of its predecessor, which has been counted. A retired one has
        // not failed; its slot is in use again.
        if !self.slots.is_retired(slot) && (exit.is_some() || self.slots.has_new_arbiter(slot)) {
            let last = exit.unwrap_or(Exit::Stopped);
            if !self.restarts.try_acquire(Instant::now()) {
                let (limit, within) = self.restarts.budget();
                return self.fail(PoolError::TooManyRestarts { limit, within, last }, ctx);
            }
            warn!(pool = self.shared.name(), acceptor = slot, exit = text_of(&last), "acceptor restarted");
            self.shared.count_restart(slot);
        }
        self.start_acceptor(slot, ctx);
    }
}

impl Drop for AcceptorPool {
    // Runs when the pool's own arbiter stopped. Connections on other arbiters are drained with `Settings::grace`.
    fn drop(&mut self) {
        if !self.ended {
            let grace = self.shared.settings().grace;
            self.shared.start_drain(Duration::ZERO, grace);
            if let Some(acceptors) = self.acceptors.take() {
                acceptors.stop(BacklogPolicy::Drop);
            }
            for slot in 0..self.slots.len() {
                // How the acceptor ends can no longer be received.
                self.shared.acceptor_stopped(slot, &Exit::Stopped);
            }
            self.shared.drain_connections(grace);
            let outcome = self.draining.take().map_or(Err(PoolError::Orphaned), |draining| draining.outcome);
            self.shared.set_ended(outcome);
        }
    }
}

impl fmt::Debug for AcceptorPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, status) = (self.shared.name(), self.shared.status());
        f.debug_struct("AcceptorPool").field("name", &name).field("status", &status).finish_non_exhaustive()
    }
}
