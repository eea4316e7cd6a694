//! The registries of a pool: one per acceptor slot.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

use parking_lot::RwLock;

use super::{ConnectionState, Registry, RegistryShared};
use crate::telemetry::ConnectionId;

/// One registry per slot, in the order of the slots. A slot that is no longer used keeps its registry, because its
/// connections stay open.
#[derive(Debug)]
pub(crate) struct Registries {
    all: RwLock<Vec<Arc<Registry>>>,
    slots_in_use: AtomicUsize,
    shared: Arc<RegistryShared>,
}

impl Registries {
    pub(crate) fn new(slots: usize, shared: Arc<RegistryShared>) -> Self {
        let registries = Registries { all: RwLock::default(), slots_in_use: AtomicUsize::new(0), shared };
        registries.set_slots_in_use(slots);
        registries
    }

    /// Sets the number of slots in use. These are the first ones.
    pub(crate) fn set_slots_in_use(&self, slots: usize) {
        let mut all = self.all.write();
        while all.len() < slots {
            let slot = all.len();
            all.push(Registry::new(slot, self.shared.clone()));
        }
        self.slots_in_use.store(slots, Relaxed);
    }

    pub(crate) fn slots_in_use(&self) -> usize {
        self.slots_in_use.load(Relaxed)
    }

    /// The registry of a slot.
    ///
    /// # Panics
    /// If the slot was never added.
    pub(crate) fn of(&self, slot: usize) -> Arc<Registry> {
        self.all.read()[slot].clone()
    }

    /// The number of slots, including those no longer in use.
    pub(crate) fn slots(&self) -> usize {
        self.all.read().len()
    }

    /// All registries, including those of slots no longer in use.
    pub(crate) fn all(&self) -> Vec<Arc<Registry>> {
        self.all.read().clone()
    }

    /// A live connection.
    pub(crate) fn find(&self, id: ConnectionId) -> Option<Arc<ConnectionState>> {
        self.all.read().iter().find_map(|registry| registry.find(id))
    }

    /// The number of live connections.
    pub(crate) fn live(&self) -> usize {
        self.all.read().iter().map(|registry| registry.live()).sum()
    }

    /// The number of connections in the least loaded slot in use.
    pub(crate) fn least_loaded(&self) -> usize {
        self.all.read().iter().take(self.slots_in_use()).map(|registry| registry.live()).min().unwrap_or(0)
    }

    /// Whether this slot has clearly more connections than the least loaded one: by more than 8 and an eighth.
    pub(crate) fn is_ahead(&self, slot: usize) -> bool {
        let least = self.least_loaded();
        self.of(slot).live() > least + 8 + least / 8
    }

    /// The connection whose callbacks run on the current thread.
    pub(crate) fn current_connection(&self) -> Option<ConnectionId> {
        self.all.read().iter().find_map(|registry| registry.current_connection())
    }

    pub(crate) fn shared(&self) -> &Arc<RegistryShared> {
        &self.shared
    }
}
