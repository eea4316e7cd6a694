//! The messages by which a pool learns that an acceptor is ready or has ended.

use std::io;
use std::sync::Arc;

use actix::prelude::*;

use super::Acceptor;
use crate::error::Exit;

/// Reports that an acceptor has opened its listeners and accepts.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ready {
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    pub(crate) address: Addr<Acceptor>,
}

/// Reports that an acceptor has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Exited {
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    /// `None` if the acceptor never ran, because its arbiter had stopped.
    pub(crate) exit: Option<Exit>,
}

/// Reports to the pool how an acceptor ended. It does so when dropped, which a stop, a panic and a stopped arbiter all cause.
pub(crate) struct ExitGuard {
    slot: usize,
    generation: u64,
    pool: (Recipient<Ready>, Recipient<Exited>),
    started: bool,
    failure: Option<Arc<io::Error>>,
    panic: Option<Arc<str>>,
}

impl ExitGuard {
    pub(crate) fn new(slot: usize, generation: u64, pool: (Recipient<Ready>, Recipient<Exited>)) -> Self {
        ExitGuard { slot, generation, pool, started: false, failure: None, panic: None }
    }

    /// Records that the acceptor's arbiter has started it.
    pub(crate) fn started(mut self) -> Self {
        self.started = true;
        self
    }

    pub(super) fn report_ready(&self, address: Addr<Acceptor>) {
        self.pool.0.do_send(Ready { slot: self.slot, generation: self.generation, address });
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Sets the error that the acceptor ends with. The first one wins.
    pub(super) fn fail(&mut self, error: io::Error) {
        self.failure.get_or_insert(Arc::new(error));
    }

    /// Sets the message of the panic that the acceptor ends with.
    pub(super) fn panicked(&mut self, panic: String) {
        self.panic.get_or_insert(panic.into());
    }
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        let exit = if !self.started {
            None
        } else if let Some(panic) = self.panic.take() {
            Some(Exit::Panicked(panic))
        } else if std::thread::panicking() {
            Some(Exit::Panicked("its arbiter panicked".into()))
        } else {
            Some(self.failure.take().map_or(Exit::Stopped, Exit::Failed))
        };
        self.pool.1.do_send(Exited { slot: self.slot, generation: self.generation, exit });
    }
}
