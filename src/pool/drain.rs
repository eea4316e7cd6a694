//! The drain of a pool, phase by phase.
//!
//! ```text
//! Delay:    not ready, still accepting ──(delay)──▶
//! Backlog:  acceptors handle the kernel's queue and stop ──(at most STOP_ACCEPTORS)──▶
//! Notified: listening sockets closed, every connection notified ──(grace)──▶ flush ─▶ abort ─▶ join threads ─▶ report
//! ```

use std::time::Duration;

use actix::prelude::*;
use tracing::info;

use super::{AcceptorPool, DrainReport, Draining, Pool};
use crate::config::BacklogPolicy;
use crate::error::{PoolError, StartError};

/// How long to wait for acceptors to stop before connections are notified. Only acceptors on a blocked arbiter take that
/// long.
const STOP_ACCEPTORS: Duration = Duration::from_secs(1);
/// How long to wait for connections that were ended. Only those on a blocked arbiter take that long.
const GIVE_UP: Duration = Duration::from_secs(1);

/// How to drain a pool: grace period, delay, and what happens to the kernel's queue. For [`Pool::drain`](crate::Pool::drain).
///
/// ```
/// use actix_acceptor::Drain;
/// use std::time::Duration;
///
/// // Two seconds in which load balancers see that the pool is not ready, then ten seconds for the connections.
/// let drain = Drain::grace(Duration::from_secs(10)).delay(Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a `Drain` does nothing until it is passed to `Pool::drain`"]
pub struct Drain {
    /// `None`: as configured.
    grace: Option<Option<Duration>>,
    /// `None`: as configured.
    delay: Option<Duration>,
    backlog_on_close: Option<BacklogPolicy>,
}

impl Drain {
    /// A drain with a grace period: how long connections have to end by themselves, counted from their notification. `None`
    /// sets no limit.
    ///
    /// The whole drain takes at most the delay, 1 second for acceptors on blocked arbiters, the grace period, 0.5 seconds
    /// for queued bytes, and 1 second for connections on blocked arbiters or for threads that do not end. Set the kill timeout
    /// of the process manager (such as `TimeoutStopSec` of systemd) to at least that.
    pub fn grace(grace: impl Into<Option<Duration>>) -> Self {
        Drain { grace: Some(grace.into()), delay: Some(Duration::ZERO), backlog_on_close: None }
    }

    /// A drain with the grace period and delay of the pool's configuration: of the last [`PoolConfig`](crate::PoolConfig)
    /// that set them at the start or by [`Pool::reload`](crate::Pool::reload). If none did, the grace period is
    /// [`Settings::grace`](crate::Settings::grace), and there is no delay.
    pub fn configured() -> Self {
        Drain { grace: None, delay: None, backlog_on_close: None }
    }

    /// A drain without a grace period: connections are not notified, queued bytes are not sent, and peers in the kernel's
    /// queue are dropped.
    pub fn immediate() -> Self {
        Drain { backlog_on_close: Some(BacklogPolicy::Drop), ..Self::grace(Duration::ZERO) }
    }

    /// Sets the grace period, as [`grace`](Drain::grace) does, and keeps the delay:
    ///
    /// ```
    /// use actix_acceptor::Drain;
    /// use std::time::Duration;
    ///
    /// // With the delay of the configuration.
    /// let drain = Drain::configured().with_grace(Duration::from_secs(10));
    /// ```
    pub fn with_grace(mut self, grace: impl Into<Option<Duration>>) -> Self {
        self.grace = Some(grace.into());
        self
    }

    /// How long to continue accepting while [`is_ready`](crate::Pool::is_ready) already returns `false`, so that load
    /// balancers stop sending peers.
    ///
    /// Default: no delay.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// What happens to the peers in the kernel's queue when the listening sockets close. A grace period of zero implies
    /// [`BacklogPolicy::Drop`].
    ///
    /// Default: the pool's [`backlog_on_close`](crate::Builder::backlog_on_close).
    pub fn backlog_on_close(mut self, policy: BacklogPolicy) -> Self {
        self.backlog_on_close = Some(policy);
        self
    }
}

/// A drain in progress.
pub(super) struct DrainState {
    /// Counted from the notification of the connections.
    grace: Option<Duration>,
    backlog_on_close: BacklogPolicy,
    /// The result of [`Pool::stopped`](super::Pool::stopped).
    pub(super) outcome: Result<(), PoolError>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Not ready, but still accepting.
    Delay,
    /// The acceptors handle the kernel's queue and stop.
    Backlog,
    /// The listening sockets are closed and the connections notified.
    Notified,
}

impl AcceptorPool {
    /// Starts a drain. During a drain, another call ends the delay and can only make the deadline earlier.
    pub(super) fn start_drain(&mut self, drain: Drain, outcome: Result<(), PoolError>, ctx: &mut Context<Self>) {
        let (settings, configured) = (self.shared.settings(), self.shared.drain_config());
        let grace = drain.grace.or(configured.grace).unwrap_or(settings.grace);
        let delay = drain.delay.or(configured.delay).unwrap_or_default();
        let backlog_on_close = drain.backlog_on_close.unwrap_or(settings.backlog_on_close);
        let backlog_on_close = if grace == Some(Duration::ZERO) { BacklogPolicy::Drop } else { backlog_on_close };
        if let Some(draining) = &mut self.draining {
            // A failure during the delay; the first one counts.
            if draining.outcome.is_ok() {
                draining.outcome = outcome;
            }
            if draining.phase == Phase::Notified {
                let grace = grace.and_then(|grace| delay.checked_add(grace));
                return self.shared.drain_connections(grace);
            }
            draining.grace = draining.grace.into_iter().chain(grace).min();
            self.shared.hasten_drain(delay, draining.grace);
            if draining.phase == Phase::Delay && backlog_on_close == BacklogPolicy::Drop {
                draining.backlog_on_close = backlog_on_close;
            }
            return self.accept_backlog_after(delay, ctx);
        }
        info!(pool = self.shared.name(), ?grace, ?delay, "pool draining");
        self.shared.start_drain(delay, grace);
        self.draining = Some(DrainState { grace, backlog_on_close, outcome, phase: Phase::Delay });
        self.accept_backlog_after(delay, ctx);
    }

    fn accept_backlog_after(&mut self, delay: Duration, ctx: &mut Context<Self>) {
        if delay.is_zero() {
            self.accept_backlog(ctx);
        } else {
            ctx.run_later(delay, |pool, ctx| pool.accept_backlog(ctx));
        }
    }

    /// Whether the acceptors are stopping or gone, and must not be replaced.
    pub(super) fn is_closing_listeners(&self) -> bool {
        self.draining.as_ref().is_some_and(|draining| draining.phase >= Phase::Backlog)
    }

    /// Makes the acceptors handle the kernel's queue and stop.
    fn accept_backlog(&mut self, ctx: &mut Context<Self>) {
        let Some(draining) = self.draining.as_mut().filter(|draining| draining.phase < Phase::Backlog) else { return };
        draining.phase = Phase::Backlog;
        if let Some(acceptors) = &self.acceptors {
            acceptors.stop(draining.backlog_on_close);
        }
        ctx.run_later(STOP_ACCEPTORS, |pool, ctx| pool.close_listeners(ctx));
        self.close_listeners_when_idle(ctx);
    }

    pub(super) fn close_listeners_when_idle(&mut self, ctx: &mut Context<Self>) {
        let in_backlog = self.draining.as_ref().is_some_and(|draining| draining.phase == Phase::Backlog);
        if in_backlog && self.slots.is_idle() {
            self.close_listeners(ctx);
        }
    }

    /// Closes the listening sockets and notifies all connections at the same moment; ends the pool when they are gone.
    fn close_listeners(&mut self, ctx: &mut Context<Self>) {
        let Some(draining) = self.draining.as_mut().filter(|draining| draining.phase < Phase::Notified) else { return };
        draining.phase = Phase::Notified;
        let acceptors = self.acceptors.take();
        let listeners = acceptors.map(|acceptors| acceptors.listeners()).unwrap_or_default();
        let limits: Vec<_> = listeners.iter().map(|listener| listener.limits.clone()).collect();
        drop(listeners);
        self.shared.drain_connections(draining.grace);
        let shared = self.shared.clone();
        let wait = async move {
            shared.wait_until_empty(GIVE_UP).await;
            // Held peers are closed on their arbiters.
            let _ = tokio::time::timeout(GIVE_UP, shared.limits().none_held()).await;
            shared.count_unserved(limits.iter().map(|limits| limits.unserved()).sum());
        };
        ctx.spawn(wait.into_actor(self).map(|(), pool, ctx| {
            let ended = pool.end_threads();
            ctx.spawn(ended.into_actor(pool).map(|(), pool, ctx| {
                pool.finish();
                ctx.stop();
            }));
        }));
    }

    /// Completes the calls that wait for the end of the pool.
    fn finish(&mut self) {
        self.ended = true;
        let outcome = self.draining.take().map_or(Ok(()), |draining| draining.outcome);
        self.shared.set_ended(outcome);
        if let Some(starting) = self.starting.take() {
            let _ = starting.send(Err(self.failed.take().unwrap_or(StartError::ListenerClosed)));
        }
    }
}

impl<A> Pool<A> {
    /// Starts a drain, as [`drain`](Pool::drain) does, and does not wait for its end.
    pub(crate) fn start_drain(&self, drain: Drain) {
        self.shared.stopping.send_replace(true);
        if let Some(pool) = self.shared.supervisor() {
            pool.do_send(Stop(drain));
        }
    }

    /// The drain in progress: how much time is left, and the report so far. `None` unless the pool is
    /// [draining](crate::info::Status::Draining).
    ///
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// use actix_acceptor::{AcceptorPool, Drain, Socket};
    /// use std::time::Duration;
    ///
    /// let pool = AcceptorPool::with_fn(|socket: Socket| async move { drop(socket) }).bind("127.0.0.1:0").await?;
    /// assert!(pool.draining().is_none());
    ///
    /// let drain = pool.drain(Drain::grace(Duration::from_secs(10)).delay(Duration::from_millis(100)));
    /// let look = async {
    ///     actix_rt::time::sleep(Duration::from_millis(20)).await;
    ///     let draining = pool.draining().expect("the delay lasts 100 ms");
    ///     assert!(draining.delay_left < Duration::from_millis(100));
    ///     assert!(draining.time_left.expect("a grace period") > Duration::from_secs(10));
    /// };
    /// futures::future::join(drain, look).await;
    /// assert!(pool.draining().is_none());
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn draining(&self) -> Option<Draining> {
        self.shared.draining()
    }

    /// The report of the drain so far.
    pub(crate) fn report(&self) -> DrainReport {
        self.shared.report()
    }
}

/// Starts a drain.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Stop(pub(crate) Drain);

impl Handler<Stop> for AcceptorPool {
    type Result = ();

    fn handle(&mut self, stop: Stop, ctx: &mut Context<Self>) {
        self.start_drain(stop.0, Ok(()), ctx);
    }
}
