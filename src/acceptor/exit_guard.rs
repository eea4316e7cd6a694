//! How the pool learns of its acceptors: ready, and gone.

use std::io;
use std::sync::Arc;

use actix::prelude::*;

use super::Acceptor;
use crate::error::Exit;

/// An acceptor has its share of the listeners and takes peers.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ready {
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    pub(crate) address: Addr<Acceptor>,
}

/// An acceptor is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Exited {
    pub(crate) slot: usize,
    pub(crate) generation: u64,
    /// `None`: it never ran, its arbiter was gone before.
    pub(crate) exit: Option<Exit>,
}

/// Tells the pool how an acceptor ended: by being dropped, so that stop, panic and a dead arbiter are all told.
pub(crate) struct ExitGuard {
    slot: usize,
    generation: u64,
    pool: (Recipient<Ready>, Recipient<Exited>),
    began: bool,
    failure: Option<Arc<io::Error>>,
}

impl ExitGuard {
    pub(crate) fn new(slot: usize, generation: u64, pool: (Recipient<Ready>, Recipient<Exited>)) -> Self {
        ExitGuard { slot, generation, pool, began: false, failure: None }
    }

    /// The acceptor's arbiter has taken it on.
    pub(crate) fn begun(mut self) -> Self {
        self.began = true;
        self
    }

    pub(super) fn ready(&self, address: Addr<Acceptor>) {
        self.pool.0.do_send(Ready { slot: self.slot, generation: self.generation, address });
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    pub(super) fn fail(&mut self, error: io::Error) {
        self.failure.get_or_insert(Arc::new(error));
    }
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        let exit = if !self.began {
            None
        } else if std::thread::panicking() {
            Some(Exit::Panicked)
        } else {
            Some(self.failure.take().map_or(Exit::Stopped, Exit::Failed))
        };
        self.pool.1.do_send(Exited { slot: self.slot, generation: self.generation, exit });
    }
}
