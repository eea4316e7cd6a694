//! No new peers for a while: the ports held or closed, and back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tracing::info;

use super::{AcceptorPool, Status};
use crate::acceptor::{BacklogPolicy, Inlet, Mode};
use crate::error::StartError;

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

/// Why a pool could not be suspended or resumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuspendError {
    /// A port could not be closed or opened again; the others are as they were.
    #[error("{address}: {source}")]
    Port {
        /// Which one.
        address: String,
        /// What the system, or the transport, said.
        source: io::Error,
    },
    /// The pool is over, or on its way out.
    #[error("the pool is not running")]
    NotRunning,
}

impl From<SuspendError> for StartError {
    fn from(error: SuspendError) -> Self {
        match error {
            SuspendError::Port { address, source } => StartError::SystemError { what: address, source },
            SuspendError::NotRunning => StartError::ListenerClosed,
        }
    }
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

    fn open_inlets(&self) -> Option<Vec<Arc<Inlet>>> {
        self.crew.as_ref().filter(|_| self.draining.is_none()).map(|crew| crew.inlets())
    }
}

impl Handler<Suspend> for AcceptorPool {
    type Result = Answer;

    /// A second suspension changes nothing.
    fn handle(&mut self, suspend: Suspend, _: &mut Context<Self>) -> Answer {
        let Some(inlets) = self.open_inlets() else { return self.answer(Err(SuspendError::NotRunning)) };
        if self.shared.status() != Status::Running {
            return self.answer(Ok(()));
        }
        let closing = close_all(inlets.clone(), suspend.0);
        AtomicResponse::new(Box::pin(closing.into_actor(self).map(move |closed, pool, _| {
            if closed.is_ok() {
                info!(pool = pool.shared.name(), how = ?suspend.0, "pool suspended");
                pool.shared.set_status(Status::Suspended(suspend.0));
                if suspend.0 == SuspendMode::Close {
                    inlets.iter().for_each(|inlet| inlet.tell_closed());
                }
            }
            closed
        })))
    }
}

impl Handler<Resume> for AcceptorPool {
    type Result = Answer;

    fn handle(&mut self, _: Resume, _: &mut Context<Self>) -> Answer {
        let Some(inlets) = self.open_inlets() else { return self.answer(Err(SuspendError::NotRunning)) };
        let resumed = match self.shared.status() {
            Status::Suspended(SuspendMode::Close) => open_all(&inlets),
            _ => Ok(()),
        };
        if resumed.is_ok() {
            inlets.iter().for_each(|inlet| inlet.set_mode(Mode::Open));
            inlets.iter().for_each(|inlet| self.shared.tell_open(inlet));
            if self.shared.status() != Status::Running {
                info!(pool = self.shared.name(), "pool resumed");
            }
            self.shared.set_status(Status::Running);
        }
        self.answer(resumed)
    }
}

/// Closes every port, or none.
pub(super) async fn close_all(inlets: Vec<Arc<Inlet>>, how: SuspendMode) -> Result<(), SuspendError> {
    if how == SuspendMode::Hold {
        inlets.iter().for_each(|inlet| inlet.set_mode(Mode::Held));
        for inlet in &inlets {
            let _ = tokio::time::timeout(LET_GO, inlet.at_rest()).await;
        }
        return Ok(());
    }
    inlets.iter().for_each(|inlet| inlet.set_mode(Mode::Shut(BacklogPolicy::Accept)));
    for inlet in &inlets {
        // Past the limit the port closes all the same, once the last share does.
        let _ = tokio::time::timeout(LET_GO, inlet.unshared()).await;
    }
    for (at, inlet) in inlets.iter().enumerate() {
        if let Err(source) = inlet.transport.suspend() {
            let _ = open_all(&inlets[..at]);
            inlets.iter().for_each(|inlet| inlet.set_mode(Mode::Open));
            return Err(port_error(inlet, source));
        }
    }
    Ok(())
}

/// Opens every port again, or none.
fn open_all(inlets: &[Arc<Inlet>]) -> Result<(), SuspendError> {
    for (at, inlet) in inlets.iter().enumerate() {
        if let Err(source) = inlet.transport.resume() {
            inlets[..at].iter().for_each(|inlet| drop(inlet.transport.suspend()));
            return Err(port_error(inlet, source));
        }
    }
    Ok(())
}

fn port_error(inlet: &Inlet, source: io::Error) -> SuspendError {
    SuspendError::Port { address: inlet.transport.local_addr().to_string(), source }
}
