//! The end of a pool, phase by phase.
//!
//! ```text
//! readiness off ─(delay)─▶ last call ─▶ ports closed, every connection told ─▶ those that end by themselves
//!                                                     └──── deadline ─▶ the rest stopped with flush ─▶ aborted
//! ```

use std::time::Duration;

use actix::prelude::*;
use tracing::info;

use super::{AcceptorPool, DrainReport};
use crate::error::{PoolError, StartError};
use crate::listener::BacklogPolicy;

/// How long acceptors may take to go before the connections are told all the same: one whose arbiter is blocked.
const RETIRE: Duration = Duration::from_secs(1);
/// How long connections may take to go once they were ended, before the pool gives up waiting for a blocked arbiter.
const GIVE_UP: Duration = Duration::from_secs(1);

/// How a pool is to end.
///
/// ```
/// use actix_acceptor::Drain;
/// use std::time::Duration;
///
/// // Not ready any longer for two seconds, so that a load balancer sees it; then ten seconds for the connections.
/// let drain = Drain::grace(Duration::from_secs(10)).delay(Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a plan does nothing by itself"]
pub struct Drain {
    grace: Option<Duration>,
    delay: Duration,
    backlog_on_close: Option<BacklogPolicy>,
}

impl Drain {
    /// The grace period: connections are told, and have so long from then on to end by themselves. `None`: as long as they
    /// like.
    ///
    /// The whole takes at the most the delay, a second for acceptors on blocked arbiters, the grace, half a second for what
    /// is queued, and a second for connections on blocked arbiters: give the process that long before it is killed.
    pub fn grace(grace: impl Into<Option<Duration>>) -> Self {
        Drain { grace: grace.into(), delay: Duration::ZERO, backlog_on_close: None }
    }

    /// No grace: nobody is asked, nothing more is sent, what the kernel has queued is left to it.
    pub fn immediate() -> Self {
        Drain { backlog_on_close: Some(BacklogPolicy::Drop), ..Self::grace(Duration::ZERO) }
    }

    /// Goes on serving for so long, only that [`is_ready`](crate::PoolHandle::is_ready) says no: until load balancers send
    /// nobody any more. Default: no delay.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// What becomes of peers in the kernel's queue when the ports close. Default: the setting of the pool.
    pub fn backlog_on_close(mut self, backlog_on_close: BacklogPolicy) -> Self {
        self.backlog_on_close = Some(backlog_on_close);
        self
    }
}

/// A drain under way.
pub(super) struct DrainState {
    /// Counted from the moment in which the connections are told.
    grace: Option<Duration>,
    backlog_on_close: BacklogPolicy,
    pub(super) outcome: Result<(), PoolError>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Not ready any longer, but all goes on.
    Delay,
    /// The acceptors take what is queued, and go.
    Backlog,
    /// The ports are closed, the connections told.
    Notified,
}

impl AcceptorPool {
    /// Readiness off. A second drain can only bring the deadline nearer, and ends a delay.
    pub(super) fn start_drain(&mut self, drain: Drain, outcome: Result<(), PoolError>, ctx: &mut Context<Self>) {
        let backlog_on_close = drain.backlog_on_close.unwrap_or_else(|| self.shared.settings().backlog_on_close);
        let backlog_on_close = if drain.grace == Some(Duration::ZERO) { BacklogPolicy::Drop } else { backlog_on_close };
        if let Some(draining) = &mut self.draining {
            if draining.phase == Phase::Notified {
                let time = drain.grace.and_then(|grace| drain.delay.checked_add(grace));
                return self.shared.drain(time);
            }
            draining.grace = draining.grace.into_iter().chain(drain.grace).min();
            if draining.phase == Phase::Delay && backlog_on_close == BacklogPolicy::Drop {
                draining.backlog_on_close = backlog_on_close;
            }
            return self.accept_backlog_after(drain.delay, ctx);
        }
        info!(pool = self.shared.name(), grace = ?drain.grace, delay = ?drain.delay, "pool stops");
        self.shared.start_drain();
        self.draining = Some(DrainState { grace: drain.grace, backlog_on_close, outcome, phase: Phase::Delay });
        self.accept_backlog_after(drain.delay, ctx);
    }

    fn accept_backlog_after(&mut self, delay: Duration, ctx: &mut Context<Self>) {
        if delay.is_zero() {
            self.accept_backlog(ctx);
        } else {
            ctx.run_later(delay, |pool, ctx| pool.accept_backlog(ctx));
        }
    }

    /// The acceptors are on their way out, or gone: nobody replaces them.
    pub(super) fn is_closing_listeners(&self) -> bool {
        self.draining.as_ref().is_some_and(|draining| draining.phase >= Phase::Backlog)
    }

    /// The acceptors take what the kernel has queued, and go.
    fn accept_backlog(&mut self, ctx: &mut Context<Self>) {
        let Some(draining) = self.draining.as_mut().filter(|draining| draining.phase < Phase::Backlog) else { return };
        draining.phase = Phase::Backlog;
        if let Some(acceptors) = &self.acceptors {
            acceptors.stop(draining.backlog_on_close);
        }
        ctx.run_later(RETIRE, |pool, ctx| pool.close_listeners(ctx));
        self.close_listeners_when_idle(ctx);
    }

    pub(super) fn close_listeners_when_idle(&mut self, ctx: &mut Context<Self>) {
        let called = self.draining.as_ref().is_some_and(|draining| draining.phase == Phase::Backlog);
        if called && self.slots.is_idle() {
            self.close_listeners(ctx);
        }
    }

    /// The ports close, and all connections are told in the same moment. Then wait for them.
    fn close_listeners(&mut self, ctx: &mut Context<Self>) {
        let Some(draining) = self.draining.as_mut().filter(|draining| draining.phase < Phase::Notified) else { return };
        draining.phase = Phase::Notified;
        let acceptors = self.acceptors.take();
        let held = acceptors.as_ref().map(|acceptors| acceptors.held());
        let states = acceptors.map(|acceptors| acceptors.listeners()).unwrap_or_default();
        let ports: Vec<_> = states.iter().map(|state| state.limits.clone()).collect();
        drop(states);
        self.shared.drain(draining.grace);
        let shared = self.shared.clone();
        let wait = async move {
            shared.emptied(GIVE_UP).await;
            if let Some(mut held) = held {
                // Held peers turn away on their own arbiters; an error says that nobody can be held any more.
                let _ = tokio::time::timeout(GIVE_UP, held.wait_for(|held| *held == 0)).await;
            }
            shared.count_unserved(ports.iter().map(|port| port.unserved()).sum());
        };
        ctx.spawn(wait.into_actor(self).map(|(), pool, ctx| {
            pool.finish();
            ctx.stop();
        }));
    }

    /// Whoever waits for the end is told.
    fn finish(&mut self) {
        self.ended = true;
        let outcome = self.draining.take().map_or(Ok(()), |draining| draining.outcome);
        self.shared.set_ended(outcome);
        let DrainReport { asked, finished, forced, unserved, took, .. } = self.shared.report();
        info!(pool = self.shared.name(), asked, finished, forced, unserved, ?took, "pool stopped");
        if let Some(starting) = self.starting.take() {
            let _ = starting.send(Err(self.failed.take().unwrap_or(StartError::ListenerClosed)));
        }
    }
}

/// Ends the pool in order.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop(pub(crate) Drain);

impl Handler<Stop> for AcceptorPool {
    type Result = ();

    fn handle(&mut self, stop: Stop, ctx: &mut Context<Self>) {
        self.start_drain(stop.0, Ok(()), ctx);
    }
}
