//! The arbiter of an acceptor: a thread with the name of the pool, which can be joined without blocking.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Weak};

use actix::prelude::*;

use crate::panic::catch_panic;
use crate::thread_name::{name_current_thread, thread_name};

thread_local! {
    /// Dropped when the thread ends, after its runtime.
    static ALIVE: RefCell<Option<Arc<()>>> = const { RefCell::new(None) };
}

/// An arbiter of this crate.
pub(super) struct AcceptorArbiter {
    arbiter: Arbiter,
    /// Owned by the thread.
    alive: Weak<()>,
}

impl AcceptorArbiter {
    /// Starts the arbiter of this slot.
    pub(super) fn start(pool: &str, slot: usize) -> io::Result<Self> {
        let arbiter = Arbiter::try_new()?;
        let name = thread_name(pool, &format!("acc-{slot}"));
        let thread = Arc::new(());
        let alive = Arc::downgrade(&thread);
        arbiter.spawn_fn(move || {
            name_current_thread(&name);
            ALIVE.set(Some(thread));
        });
        Ok(AcceptorArbiter { arbiter, alive })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.arbiter.alive()
    }

    pub(super) fn spawn_fn(&self, work: impl FnOnce() + Send + 'static) {
        self.arbiter.spawn_fn(work);
    }

    /// Whether the thread has dropped its runtime and everything in it, so that [`join`](Self::join) does not block.
    pub(super) fn is_finished(&self) -> bool {
        self.alive.strong_count() == 0
    }

    /// Waits for the end of the thread.
    pub(super) fn join(self) {
        // The payload of a panic is the user's.
        let _ = catch_panic(|| drop(self.arbiter.join()));
    }
}
