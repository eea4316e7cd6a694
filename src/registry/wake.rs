//! Wake-ups of many connections at once.
//!
//! Waking a connection from another thread takes a lock, and often a system call; waking it from its own thread takes
//! neither. Signals for many connections are therefore set first, then one wake-up of a task of their arbiter makes it wake
//! them all: the tick's task for all connections of a registry, [`run_wakes`] for a list of them.

use std::sync::Arc;

use super::{ConnectionState, Registry, Signals};

/// How many connections are woken before others run. Each of them writes to its socket, which takes about 5 us.
const BATCH: usize = 128;

/// Wakes the connections of [`Registry::wake_all`]. Runs on the arbiter of the registry, and never returns.
pub(super) async fn run_wakes(registry: Arc<Registry>) {
    loop {
        registry.wake_list.notified().await;
        let unwoken = std::mem::take(&mut *registry.unwoken_list.lock());
        for batch in unwoken.chunks(BATCH) {
            batch.iter().for_each(|state| state.wake());
            tokio::task::yield_now().await;
        }
    }
}

impl Registry {
    /// Wakes the connections whose signals were set without waking them, from the task of their arbiter.
    pub(crate) fn wake_all(&self, unwoken: Vec<Arc<ConnectionState>>) {
        if unwoken.is_empty() {
            return;
        }
        let mut list = self.unwoken_list.lock();
        let is_first = list.is_empty();
        if is_first {
            *list = unwoken;
        } else {
            list.extend(unwoken);
        }
        drop(list);
        if is_first {
            self.wake_list.notify_one();
        }
    }

    /// Wakes the connections that have one of these signals set, from the task of the tick.
    pub(super) fn wake_signalled(&self, signals: Signals) {
        self.unwoken.set(signals);
        self.wake_tick();
    }

    /// Wakes the connections whose signals were set without waking them.
    pub(super) fn wake_connections(&self) {
        let signals = self.unwoken.take();
        if signals.is_empty() {
            return;
        }
        self.for_each(|state| {
            if state.signals().intersects(signals) {
                state.wake();
            }
        });
    }
}

impl ConnectionState {
    /// Must be called before a message is put into the mailbox, which then does not wake the connection itself. Returns false if
    /// the connection is woken anyway.
    pub(crate) fn expect_mail(&self) -> bool {
        self.add_signals(Signals::MAIL)
    }
}
