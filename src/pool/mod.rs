//! The supervisor: owns the listening sockets, starts and replaces acceptors, ends in order.
//!
//! ```text
//! start:    arbiters ─▶ acceptors ─▶ all ready ─▶ the builder's caller has its handle
//! restart:  an acceptor always, however it ended; past the budget the pool ends
//! stop:     acceptors go ─▶ the port closes ─▶ every connection is told ─▶ ... deadline ─▶ what is left is ended
//! ```

mod directory;
mod handle;
mod restarts;
mod shared;
mod staff;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::acceptor::{Crew, Exited, Ready, Retire};
use crate::error::{Exit, PoolError, StartError};

pub use handle::{Delivered, Pool, PoolHandle};
pub(crate) use restarts::Restarts;
pub(crate) use shared::Shared;
pub use shared::{AcceptorInfo, PoolInfo, StopReport};
pub(crate) use staff::{Housing, Staff};

/// How long acceptors may take to go before the connections are told all the same: one whose arbiter is blocked.
const RETIRE: Duration = Duration::from_secs(1);
/// How long connections may take to go once they were ended, before the pool gives up waiting for a blocked arbiter.
const GIVE_UP: Duration = Duration::from_secs(1);

/// The supervisor of acceptors, and the place where every pool begins.
///
/// Choose a door: [`protocol`](AcceptorPool::protocol), [`events`](AcceptorPool::events), [`serve`](AcceptorPool::serve)
/// or [`start`](AcceptorPool::start). Each makes a [`Builder`](crate::Builder); its [`bind`](crate::Builder::bind) opens
/// the port and starts the pool, an actor on the caller's arbiter.
///
/// It replaces an acceptor however that ended: stopped, failed, panicked, or its whole arbiter gone. Meanwhile peers wait
/// in the kernel's queue and connections go on. Past the budget ([`Builder::restarts`](crate::Builder::restarts)) the pool
/// ends with [`PoolError::TooManyRestarts`].
pub struct AcceptorPool {
    shared: Arc<Shared>,
    /// Gone once the port is closed.
    crew: Option<Arc<Crew>>,
    staff: Staff,
    restarts: Restarts,
    grace: Option<Duration>,
    start_timeout: Duration,
    starting: Option<oneshot::Sender<Result<(), StartError>>>,
    /// Why the start failed: told once nothing is left running.
    failed: Option<StartError>,
    stopping: Option<Stopping>,
    ended: bool,
}

/// A stop under way.
struct Stopping {
    deadline: Option<Instant>,
    outcome: Result<(), PoolError>,
    told: bool,
}

/// What the builder makes a pool of.
pub(crate) struct Plan {
    pub(crate) shared: Arc<Shared>,
    pub(crate) crew: Arc<Crew>,
    pub(crate) staff: Staff,
    pub(crate) restarts: Restarts,
    pub(crate) grace: Option<Duration>,
    pub(crate) start_timeout: Duration,
}

impl AcceptorPool {
    /// Starts the actor; resolves when every acceptor is ready, or when the start has failed.
    pub(crate) async fn launch(plan: Plan) -> Result<(), StartError> {
        let (starting, started) = oneshot::channel();
        let pool = AcceptorPool {
            shared: plan.shared,
            crew: Some(plan.crew),
            staff: plan.staff,
            restarts: plan.restarts,
            grace: plan.grace,
            start_timeout: plan.start_timeout,
            starting: Some(starting),
            failed: None,
            stopping: None,
            ended: false,
        };
        let address = pool.start();
        let outcome = started.await.unwrap_or(Err(StartError::ListenerClosed));
        drop(address);
        outcome
    }

    /// Puts an acceptor into a place, on the place's arbiter or a new one.
    fn hire(&mut self, place: usize, ctx: &mut Context<Self>) {
        let Some(crew) = self.crew.clone() else { return };
        let pool = (ctx.address().recipient(), ctx.address().recipient());
        if let Err(source) = self.staff.hire(place, crew, pool) {
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
        self.begin_to_stop(Some(Duration::ZERO), Ok(()), ctx);
    }

    fn give_up(&mut self, why: PoolError, ctx: &mut Context<Self>) {
        error!(pool = self.shared.name(), "{why}");
        self.begin_to_stop(self.grace, Err(why), ctx);
    }

    /// First step of a stop: the acceptors are told to go. A second stop can only bring the deadline nearer.
    fn begin_to_stop(&mut self, grace: Option<Duration>, outcome: Result<(), PoolError>, ctx: &mut Context<Self>) {
        let deadline = grace.and_then(|grace| Instant::now().checked_add(grace));
        if let Some(stopping) = &mut self.stopping {
            stopping.deadline = match (stopping.deadline, deadline) {
                (Some(old), Some(new)) => Some(old.min(new)),
                (old, new) => old.or(new),
            };
            if stopping.told {
                self.shared.drain(deadline);
            }
            return;
        }
        info!(pool = self.shared.name(), ?grace, "pool stops");
        self.shared.set_stopping();
        self.stopping = Some(Stopping { deadline, outcome, told: false });
        for acceptor in self.shared.acceptor_addresses() {
            acceptor.do_send(Retire);
        }
        ctx.run_later(RETIRE, |pool, ctx| pool.close_port(ctx));
        self.close_port_when_idle(ctx);
    }

    fn close_port_when_idle(&mut self, ctx: &mut Context<Self>) {
        if self.stopping.is_some() && self.staff.is_idle() {
            self.close_port(ctx);
        }
    }

    /// Second step: the port closes, and all connections are told in the same moment. Then wait for them.
    fn close_port(&mut self, ctx: &mut Context<Self>) {
        let Some(stopping) = self.stopping.as_mut().filter(|stopping| !stopping.told) else { return };
        stopping.told = true;
        self.crew = None;
        self.shared.drain(stopping.deadline);
        let shared = self.shared.clone();
        let wait = async move { shared.emptied(GIVE_UP).await };
        ctx.spawn(wait.into_actor(self).map(|(), pool, ctx| {
            pool.finish();
            ctx.stop();
        }));
    }

    /// Last step: whoever waits for the end is told.
    fn finish(&mut self) {
        self.ended = true;
        let outcome = self.stopping.take().map_or(Ok(()), |stopping| stopping.outcome);
        let StopReport { asked, finished, forced } = self.shared.report();
        info!(pool = self.shared.name(), asked, finished, forced, "pool stopped");
        self.shared.set_ended(outcome);
        if let Some(starting) = self.starting.take() {
            let _ = starting.send(Err(self.failed.take().unwrap_or(StartError::ListenerClosed)));
        }
    }
}

impl Actor for AcceptorPool {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.shared.set_pool(ctx.address());
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
        if self.stopping.is_some() {
            return ready.address.do_send(Retire);
        }
        if !self.staff.ready(ready.place, ready.generation) {
            return;
        }
        self.shared.set_acceptor(ready.place, ready.address);
        if self.staff.first_unready().is_none() {
            // Whoever started the pool may be gone by now: then nobody wants it.
            if self.starting.take().is_some_and(|starting| starting.send(Ok(())).is_err()) {
                self.begin_to_stop(Some(Duration::ZERO), Ok(()), ctx);
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
        self.shared.acceptor_left(place);
        if self.stopping.is_some() {
            return self.close_port_when_idle(ctx);
        }
        if self.starting.is_some() {
            let error = match exit {
                Some(Exit::Failed(source)) => StartError::AcceptorFailed { acceptor: place, source },
                _ => StartError::AcceptorCrashed { acceptor: place },
            };
            return self.start_failed(error, ctx);
        }
        // One that never ran died with its predecessor's arbiter: that death was counted already.
        if exit.is_some() || self.staff.is_fresh(place) {
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

/// Ends the pool in order.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop {
    pub(crate) grace: Option<Duration>,
}

impl Handler<Stop> for AcceptorPool {
    type Result = ();

    fn handle(&mut self, stop: Stop, ctx: &mut Context<Self>) {
        self.begin_to_stop(stop.grace, Ok(()), ctx);
    }
}

impl Drop for AcceptorPool {
    /// The pool's own arbiter stopped: its connections, on other arbiters, are treated as by a stop with the default grace.
    fn drop(&mut self) {
        if !self.ended {
            self.shared.set_stopping();
            for acceptor in self.shared.acceptor_addresses() {
                acceptor.do_send(Retire);
            }
            self.crew = None;
            self.shared.drain(self.grace.and_then(|grace| Instant::now().checked_add(grace)));
            let outcome = self.stopping.take().map_or(Err(PoolError::Orphaned), |stopping| stopping.outcome);
            self.shared.set_ended(outcome);
        }
    }
}
