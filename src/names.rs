//! Names of connections, unique in a pool at every instant.
//!
//! The names are divided over tables with a lock each. A name belongs to a [`Registration`], which its owner holds as one of
//! its groups, so the name is released however the owner ends.

use std::collections::hash_map::Entry;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use crate::registry::{ConnectionGuard, ConnectionState, Group, GroupChange, Registry};
use crate::sync::{Mutex, RandomState};
use crate::telemetry::{CloseReason, ConnectionId};

/// The number of independently locked tables.
const SHARDS: usize = 16;

/// The names of one pool.
#[derive(Debug, Default)]
pub(crate) struct Names {
    shards: [Mutex<HashMap<Arc<str>, Arc<Registration>>>; SHARDS],
    hasher: RandomState,
}

/// A name and its owner.
#[derive(Debug)]
pub(crate) struct Registration {
    name: Arc<str>,
    names: Weak<Names>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) state: Arc<ConnectionState>,
}

/// The outcome of a registration.
#[derive(Default)]
struct Registered {
    /// `None` if the connection has the name already.
    new: Option<Arc<Registration>>,
    /// What the new registration replaces.
    former: Option<Arc<Registration>>,
}

/// The name belongs to another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name belongs to another connection")]
pub struct NameTaken;

impl Names {
    /// Registers a name that is free, or whose owner is ending.
    fn register(
        self: &Arc<Self>,
        name: &str,
        registry: &Arc<Registry>,
        state: &Arc<ConnectionState>,
    ) -> Result<Registered, NameTaken> {
        match self.shard(name).lock().entry(name.into()) {
            Entry::Occupied(owned) if owned.get().state.id() != state.id() && !owned.get().state.is_ending() => {
                Err(NameTaken)
            }
            entry => Ok(self.insert(entry, registry, state)),
        }
    }

    /// Registers a name, even if another connection has it.
    fn replace(self: &Arc<Self>, name: &str, registry: &Arc<Registry>, state: &Arc<ConnectionState>) -> Registered {
        self.insert(self.shard(name).lock().entry(name.into()), registry, state)
    }

    fn insert(
        self: &Arc<Self>,
        entry: Entry<'_, Arc<str>, Arc<Registration>>,
        registry: &Arc<Registry>,
        state: &Arc<ConnectionState>,
    ) -> Registered {
        match entry {
            Entry::Occupied(owned) if owned.get().state.id() == state.id() => Registered::default(),
            Entry::Occupied(mut taken) => {
                let new = self.registration(taken.key(), registry, state);
                let former = taken.insert(new.clone());
                Registered { new: Some(new), former: Some(former) }
            }
            Entry::Vacant(free) => {
                let new = self.registration(free.key(), registry, state);
                Registered { new: Some(free.insert(new).clone()), former: None }
            }
        }
    }

    /// Releases a name of this connection. Returns its registration if it had the name.
    fn unregister(&self, name: &str, id: ConnectionId) -> Option<Arc<Registration>> {
        let mut names = self.shard(name).lock();
        names.get(name).filter(|registration| registration.state.id() == id)?;
        names.remove(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Registration>> {
        self.shard(name).lock().get(name).filter(|registration| !registration.state.is_ending()).cloned()
    }

    /// All names, sorted.
    pub(crate) fn list(&self) -> Vec<Arc<str>> {
        let mut list: Vec<Arc<str>> = Vec::new();
        for shard in &self.shards {
            let names = shard.lock();
            let owned = names.values().filter(|registration| !registration.state.is_ending());
            list.extend(owned.map(|registration| registration.name.clone()));
        }
        list.sort_unstable();
        list
    }

    fn registration(
        self: &Arc<Self>,
        name: &Arc<str>,
        registry: &Arc<Registry>,
        state: &Arc<ConnectionState>,
    ) -> Arc<Registration> {
        let (name, names) = (name.clone(), Arc::downgrade(self));
        Arc::new(Registration { name, names, registry: registry.clone(), state: state.clone() })
    }

    fn shard(&self, name: &str) -> &Mutex<HashMap<Arc<str>, Arc<Registration>>> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

impl ConnectionGuard {
    /// Registers a name for the connection. Has no effect once it is closing: it has left its groups.
    pub(crate) fn register(&self, names: &Arc<Names>, name: &str) -> Result<(), NameTaken> {
        if self.state().is_ending() {
            return Ok(());
        }
        let registered = names.register(name, self.registry(), self.state())?;
        self.keep(&registered);
        Ok(())
    }

    /// Registers a name for the connection, and ends the connection that has it. Has no effect once it is closing.
    pub(crate) fn register_replacing(&self, names: &Arc<Names>, name: &str) {
        if self.state().is_ending() {
            return;
        }
        let registered = names.replace(name, self.registry(), self.state());
        self.keep(&registered);
        // One that was asked to close sends its last reply.
        if let Some(former) = registered.former.filter(|former| !former.state.is_ending()) {
            former.state.end(CloseReason::Replaced);
        }
    }

    /// Releases a name. Returns false if the connection does not have it.
    pub(crate) fn unregister(&self, names: &Names, name: &str) -> bool {
        let Some(released) = names.unregister(name, self.state().id()) else { return false };
        self.state().remove_group(&released);
        released.report(GroupChange::Released);
        true
    }

    fn keep(&self, registered: &Registered) {
        if let Some(new) = &registered.new {
            self.state().add_group(new.clone());
        }
        if let Some(former) = &registered.former {
            former.report(GroupChange::Released);
        }
        if let Some(new) = &registered.new {
            new.report(GroupChange::Registered);
        }
    }
}

impl Registration {
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn report<'a>(&'a self, change: impl FnOnce(&'a str) -> GroupChange<'a>) {
        self.registry.report_group(self.state.id(), change(&self.name));
    }
}

impl Group for Registration {
    fn leave(&self, _: &Arc<Registry>, id: ConnectionId) {
        if let Some(names) = self.names.upgrade() {
            // The name may have another owner by now.
            if let Some(released) = names.unregister(&self.name, id) {
                released.report(GroupChange::Released);
            }
        }
    }
}
