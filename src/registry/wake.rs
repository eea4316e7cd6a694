//! Wake-ups of many connections at once.
//!
//! Waking a connection from another thread takes a lock, and often a system call; waking it from its own thread takes
//! neither. Signals for many connections are therefore set first, then one wake-up of a task of their arbiter makes it wake
//! them all: the tick's task for all connections of a registry, [`run_wakes`] for a list of them.

use std::sync::Arc;

use super::{ConnectionState, Registry, Signals};

/// How many connections are woken before others run. Each of them writes to its socket, which takes about 5 us.
const BATCH: usize = 128;

/// Wakes the connections of each [`Batch`]. Runs on the arbiter of the registry, and never returns.
pub(super) async fn run_wakes(registry: Arc<Registry>) {
    registry.unwoken_list.lock().stopped = false;
    let _stop = StopWakes(registry.clone());
    loop {
        registry.wake_list.notified().await;
        registry.flush_deferred();
        let unwoken = std::mem::take(&mut registry.unwoken_list.lock().connections);
        for batch in unwoken.chunks(BATCH) {
            registry.flush_deferred();
            batch.iter().for_each(|state| state.wake());
            tokio::task::yield_now().await;
        }
    }
}

/// The connections to wake.
#[derive(Debug, Default)]
pub(super) struct WakeList {
    connections: Vec<Arc<ConnectionState>>,
    /// Their task has ended. A connection left in the list would keep its task, and with it descriptors of its runtime.
    stopped: bool,
}

/// Empties the list when its task ends, whatever ends it.
struct StopWakes(Arc<Registry>);

impl Drop for StopWakes {
    fn drop(&mut self) {
        let mut list = self.0.unwoken_list.lock();
        list.stopped = true;
        let left = std::mem::take(&mut list.connections);
        drop(list);
        left.iter().for_each(|state| state.wake());
        self.0.flush_deferred();
    }
}

/// Connections of one registry whose signals are set without waking them. Dropping it wakes them, from the task of their
/// arbiter, also if user code panics meanwhile: once a signal is set, no other thread wakes the connection.
pub(crate) struct Batch<'a> {
    registry: &'a Registry,
    unwoken: Vec<Arc<ConnectionState>>,
}

impl<'a> Batch<'a> {
    /// As [`Registry::batch`], but deferred replies stay deferred.
    pub(crate) fn new(registry: &'a Registry) -> Self {
        Batch { registry, unwoken: Vec::new() }
    }
}

impl Batch<'_> {
    pub(super) fn registry(&self) -> &Registry {
        self.registry
    }

    #[inline]
    pub(super) fn wake_later(&mut self, state: &Arc<ConnectionState>) {
        self.unwoken.push(state.clone());
    }

    /// Must be called before a message is put into the connection's mailbox, which then does not wake the connection itself.
    pub(crate) fn expect_mail(&mut self, state: &Arc<ConnectionState>) {
        if state.add_signals(Signals::MAIL) {
            self.wake_later(state);
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.registry.wake_all(std::mem::take(&mut self.unwoken));
    }
}

/// Messages to all connections of one registry, which are not woken one by one. Dropping it wakes them, also if user code panics
/// meanwhile. Needs no list of them.
pub(crate) struct MailToAll<'a>(&'a Registry);

impl MailToAll<'_> {
    /// As [`Batch::expect_mail`].
    pub(crate) fn expect(&self, state: &ConnectionState) {
        state.add_signals(Signals::MAIL);
    }
}

impl Drop for MailToAll<'_> {
    fn drop(&mut self) {
        self.0.wake_signalled(Signals::MAIL);
    }
}

impl Registry {
    /// Begins to send messages to all connections of this registry.
    pub(crate) fn mail_to_all(&self) -> MailToAll<'_> {
        self.flush_deferred();
        MailToAll(self)
    }

    /// Begins to signal several connections of this registry. Deferred replies are queued before.
    pub(crate) fn batch(&self) -> Batch<'_> {
        self.flush_deferred();
        Batch::new(self)
    }

    /// Wakes the task that wakes connections. Returns false if it has ended.
    pub(super) fn notify_wakes(&self) -> bool {
        let stopped = self.unwoken_list.lock().stopped;
        if !stopped {
            self.wake_list.notify_one();
        }
        !stopped
    }

    fn wake_all(&self, unwoken: Vec<Arc<ConnectionState>>) {
        if unwoken.is_empty() {
            return;
        }
        let mut list = self.unwoken_list.lock();
        if list.stopped {
            drop(list);
            return unwoken.iter().for_each(|state| state.wake());
        }
        let is_first = list.connections.is_empty();
        if is_first {
            list.connections = unwoken;
        } else {
            list.connections.extend(unwoken);
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
