//! No new peers for a while: the ports held or closed, and back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tracing::info;

use super::{AcceptorPool, Status};
use crate::error::SuspendError;
use crate::listener::{BacklogPolicy, ListenerMode, ListenerState};

/// How long acceptors may take to let go of a port: one whose arbiter is blocked.
const LET_GO: Duration = Duration::from_secs(1);

/// How new peers are kept off while a pool is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SuspendMode {
    /// The ports are closed: peers are refused. What the kernel had queued before is served.
    Close,
    /// The ports stay open, nobody is accepted: peers wait in the kernel's queue, as far as the backlog goes.
    Hold,
}

/// Keeps new peers off.
#[derive(Message)]
#[rtype(result = "Result<(), SuspendError>")]
pub(super) struct Suspend(pub(super) SuspendMode);

/// Lets them in again.
#[derive(Message)]
#[rtype(result = "Result<(), SuspendError>")]
pub(super) struct Resume;

type Answer = AtomicResponse<AcceptorPool, Result<(), SuspendError>>;

impl AcceptorPool {
    fn answer(&self, answer: Result<(), SuspendError>) -> Answer {
        AtomicResponse::new(Box::pin(async move { answer }.into_actor(self)))
    }

    fn running_listeners(&self) -> Option<Vec<Arc<ListenerState>>> {
        self.acceptors.as_ref().filter(|_| self.draining.is_none()).map(|acceptors| acceptors.listeners())
    }
}

impl Handler<Suspend> for AcceptorPool {
    type Result = Answer;

    /// A second suspension changes nothing.
    fn handle(&mut self, suspend: Suspend, _: &mut Context<Self>) -> Answer {
        let Some(states) = self.running_listeners() else { return self.answer(Err(SuspendError::NotRunning)) };
        if self.shared.status() != Status::Running {
            return self.answer(Ok(()));
        }
        let closing = close_all(states.clone(), suspend.0);
        AtomicResponse::new(Box::pin(closing.into_actor(self).map(move |closed, pool, _| {
            if closed.is_ok() {
                info!(pool = pool.shared.name(), how = ?suspend.0, "pool suspended");
                pool.shared.set_status(Status::Suspended(suspend.0));
                if suspend.0 == SuspendMode::Close {
                    states.iter().for_each(|state| state.emit_closed());
                }
            }
            closed
        })))
    }
}

impl Handler<Resume> for AcceptorPool {
    type Result = Answer;

    fn handle(&mut self, _: Resume, _: &mut Context<Self>) -> Answer {
        let Some(states) = self.running_listeners() else { return self.answer(Err(SuspendError::NotRunning)) };
        let resumed = match self.shared.status() {
            Status::Suspended(SuspendMode::Close) => open_all(&states),
            _ => Ok(()),
        };
        if resumed.is_ok() {
            states.iter().for_each(|state| state.set_mode(ListenerMode::Accepting));
            states.iter().for_each(|state| self.shared.emit_opened(state));
            if self.shared.status() != Status::Running {
                info!(pool = self.shared.name(), "pool resumed");
            }
            self.shared.set_status(Status::Running);
        }
        self.answer(resumed)
    }
}

/// Closes every port, or none.
pub(super) async fn close_all(states: Vec<Arc<ListenerState>>, how: SuspendMode) -> Result<(), SuspendError> {
    if how == SuspendMode::Hold {
        states.iter().for_each(|state| state.set_mode(ListenerMode::Paused));
        for state in &states {
            let _ = tokio::time::timeout(LET_GO, state.not_accepting()).await;
        }
        return Ok(());
    }
    states.iter().for_each(|state| state.set_mode(ListenerMode::Closed(BacklogPolicy::Accept)));
    for state in &states {
        // Past the limit the port closes all the same, once the last share does.
        let _ = tokio::time::timeout(LET_GO, state.no_handles()).await;
    }
    for (at, state) in states.iter().enumerate() {
        if let Err(source) = state.transport.suspend() {
            let _ = open_all(&states[..at]);
            states.iter().for_each(|state| state.set_mode(ListenerMode::Accepting));
            return Err(port_error(state, source));
        }
    }
    Ok(())
}

/// Opens every port again, or none.
fn open_all(states: &[Arc<ListenerState>]) -> Result<(), SuspendError> {
    for (at, state) in states.iter().enumerate() {
        if let Err(source) = state.transport.resume() {
            states[..at].iter().for_each(|state| drop(state.transport.suspend()));
            return Err(port_error(state, source));
        }
    }
    Ok(())
}

fn port_error(state: &ListenerState, source: io::Error) -> SuspendError {
    SuspendError::Listener { address: state.transport.local_addr().to_string(), source }
}
