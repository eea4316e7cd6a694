//! The tables of a pool: one per place, and places come and go.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Registry, RegistryShared};

/// One table per place, in the order of the places. A place that is given up keeps its table: its connections go on.
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

    /// How many places have an acceptor: the first ones.
    pub(crate) fn set_slots_in_use(&self, slots: usize) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        while all.len() < slots {
            all.push(Registry::new(self.shared.clone()));
        }
        self.slots_in_use.store(slots, Relaxed);
    }

    pub(crate) fn slots_in_use(&self) -> usize {
        self.slots_in_use.load(Relaxed)
    }

    /// The table of a place.
    ///
    /// # Panics
    /// When there never was such a place.
    pub(crate) fn of(&self, slot: usize) -> Arc<Registry> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)[slot].clone()
    }

    /// How many places there ever were.
    pub(crate) fn slots(&self) -> usize {
        self.all.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// All of them, those of places given up included.
    pub(crate) fn all(&self) -> Vec<Arc<Registry>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many connections are alive.
    pub(crate) fn live(&self) -> usize {
        self.all.read().unwrap_or_else(PoisonError::into_inner).iter().map(|registry| registry.live()).sum()
    }

    /// How many live at the least loaded place, of those with an acceptor.
    pub(crate) fn least(&self) -> usize {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().take(self.slots_in_use()).map(|registry| registry.live()).min().unwrap_or(0)
    }

    pub(crate) fn shared(&self) -> &Arc<RegistryShared> {
        &self.shared
    }
}
