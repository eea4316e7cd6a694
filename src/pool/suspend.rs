//! Suspends and resumes a pool: its listeners are paused or closed, and opened again.
//!
//! A handle sends [`Suspend`] or [`Resume`] to the pool's actor, which sets the mode of every [`ListenerState`]. The
//! acceptors watch the mode.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use futures::future::join_all;
use tracing::info;

use super::{AcceptorPool, Status};
use crate::config::{BacklogPolicy, SuspendMode};
use crate::error::SuspendError;
use crate::listener::{ListenerMode, ListenerState};
use crate::telemetry::PoolEvent;

/// How long to wait for acceptors to release all listeners. Only acceptors on a blocked arbiter take that long.
pub(super) const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// Stops accepting.
#[derive(Message)]
#[rtype(result = "Result<(), SuspendError>")]
pub(super) struct Suspend(pub(super) SuspendMode);

/// Accepts again.
#[derive(Message)]
#[rtype(result = "Result<(), SuspendError>")]
pub(super) struct Resume;

type Response = AtomicResponse<AcceptorPool, Result<(), SuspendError>>;

impl AcceptorPool {
    fn respond(&self, result: Result<(), SuspendError>) -> Response {
        AtomicResponse::new(Box::pin(async move { result }.into_actor(self)))
    }

    fn running_listeners(&self) -> Option<Vec<Arc<ListenerState>>> {
        self.acceptors.as_ref().filter(|_| self.draining.is_none()).map(|acceptors| acceptors.listeners())
    }

    fn set_suspended(&self, mode: SuspendMode, listeners: &[Arc<ListenerState>]) {
        info!(pool = self.shared.name(), ?mode, "pool suspended");
        self.shared.set_status(Status::Suspended(mode));
        for listener in listeners {
            match mode {
                SuspendMode::Close => listener.emit_closed(),
                SuspendMode::Hold => self.shared.emit_opened(listener),
            }
        }
        self.shared.emit(|| PoolEvent::PoolSuspended { mode });
    }
}

impl Handler<Suspend> for AcceptorPool {
    type Result = Response;

    /// Changes the mode of a pool that is suspended in another mode.
    fn handle(&mut self, Suspend(mode): Suspend, _: &mut Context<Self>) -> Response {
        let Some(listeners) = self.running_listeners() else { return self.respond(Err(SuspendError::NotRunning)) };
        let before = match self.shared.status() {
            Status::Suspended(current) if current == mode => return self.respond(Ok(())),
            Status::Suspended(SuspendMode::Close) => {
                let held = open_all(&listeners);
                if held.is_ok() {
                    listeners.iter().for_each(|listener| listener.set_mode(ListenerMode::Paused));
                    self.set_suspended(mode, &listeners);
                }
                return self.respond(held);
            }
            Status::Suspended(_) => ListenerMode::Paused,
            _ => ListenerMode::Accepting,
        };
        let closing = close_all(listeners.clone(), mode, before);
        AtomicResponse::new(Box::pin(closing.into_actor(self).map(move |closed, pool, _| {
            if closed.is_ok() {
                pool.set_suspended(mode, &listeners);
            }
            closed
        })))
    }
}

impl Handler<Resume> for AcceptorPool {
    type Result = Response;

    fn handle(&mut self, _: Resume, _: &mut Context<Self>) -> Response {
        let Some(listeners) = self.running_listeners() else { return self.respond(Err(SuspendError::NotRunning)) };
        let resumed = match self.shared.status() {
            Status::Suspended(SuspendMode::Close) => open_all(&listeners),
            _ => Ok(()),
        };
        if resumed.is_ok() {
            listeners.iter().for_each(|listener| listener.set_mode(ListenerMode::Accepting));
            listeners.iter().for_each(|listener| self.shared.emit_opened(listener));
            if self.shared.status() != Status::Running {
                info!(pool = self.shared.name(), "pool resumed");
                self.shared.set_status(Status::Running);
                self.shared.emit(|| PoolEvent::PoolResumed);
            }
        }
        self.respond(resumed)
    }
}

/// Pauses or closes every listener, or none. `before` is their current mode.
pub(super) async fn close_all(
    listeners: Vec<Arc<ListenerState>>,
    mode: SuspendMode,
    before: ListenerMode,
) -> Result<(), SuspendError> {
    if mode == SuspendMode::Hold {
        listeners.iter().for_each(|listener| listener.set_mode(ListenerMode::Paused));
        let paused = join_all(listeners.iter().map(|listener| listener.not_accepting()));
        let _ = tokio::time::timeout(RELEASE_TIMEOUT, paused).await;
        return Ok(());
    }
    listeners.iter().for_each(|listener| listener.set_mode(ListenerMode::Closed(BacklogPolicy::Accept)));
    // After the timeout a socket closes with the last acceptor's handle to it.
    let released = join_all(listeners.iter().map(|listener| listener.no_handles()));
    let _ = tokio::time::timeout(RELEASE_TIMEOUT, released).await;
    // First those that may refuse: to open a port again, a descriptor may be missing, or the address may be taken.
    let (closable, others): (Vec<_>, Vec<_>) = listeners.iter().partition(|listener| listener.transport.can_close());
    let mut closed = Vec::with_capacity(listeners.len());
    for listener in others.into_iter().chain(closable) {
        if let Err(source) = listener.suspend() {
            let _ = open_all(&closed);
            listeners.iter().for_each(|listener| listener.set_mode(before));
            return Err(listener_error(listener, false, source));
        }
        closed.push(listener.clone());
    }
    Ok(())
}

/// Opens every listener again, or none.
fn open_all(listeners: &[Arc<ListenerState>]) -> Result<(), SuspendError> {
    for (index, listener) in listeners.iter().enumerate() {
        if let Err(source) = listener.resume() {
            listeners[..index].iter().for_each(|listener| drop(listener.suspend()));
            return Err(listener_error(listener, true, source));
        }
    }
    Ok(())
}

fn listener_error(listener: &ListenerState, resuming: bool, source: io::Error) -> SuspendError {
    SuspendError::Listener { resuming, address: listener.address().to_string(), source }
}
