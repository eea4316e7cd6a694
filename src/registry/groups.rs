//! What a connection belongs to, and leaves when it ends: topics and names.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{ConnectionState, Registry};
use crate::sync::Mutex;
use crate::telemetry::ConnectionId;

/// A topic, or a name that the connection has registered.
pub(crate) trait Group: Any + Send + Sync {
    /// Removes the connection with this id in this registry: ids are unique in a pool only. Calling it again has no effect.
    fn leave(&self, registry: &Arc<Registry>, id: ConnectionId);
}

/// A change of what a connection belongs to, with the name of the topic or the name itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GroupChange<'a> {
    Joined(&'a str),
    Left(&'a str),
    Registered(&'a str),
    Released(&'a str),
}

/// The groups of one connection. Only the connection itself changes them; other threads read them.
#[derive(Default)]
pub(super) struct Groups(Mutex<Option<Box<List>>>);

type List = Vec<Arc<dyn Group>>;

impl Groups {
    fn add(&self, group: Arc<dyn Group>) {
        // Most connections are in one topic only.
        self.0.lock().get_or_insert_with(|| Box::new(Vec::with_capacity(1))).push(group);
    }

    /// Removes a group.
    fn remove(&self, group: &Arc<impl Group>) -> Option<Arc<dyn Group>> {
        let mut groups = self.0.lock();
        let list = groups.as_mut()?;
        let is_it = |other: &Arc<dyn Group>| std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(group));
        let removed = list.remove(list.iter().position(is_it)?);
        if list.is_empty() {
            *groups = None;
        }
        Some(removed)
    }
}

impl ConnectionState {
    pub(crate) fn add_group(&self, group: Arc<dyn Group>) {
        self.groups_or_new().add(group);
    }

    /// Forgets a group. Returns false if the connection was not in it.
    pub(crate) fn remove_group(&self, group: &Arc<impl Group>) -> bool {
        // Dropped outside of the lock.
        let removed = self.groups().and_then(|groups| groups.remove(group));
        removed.is_some()
    }

    /// The topics and names of the connection, in the order in which it joined and registered them.
    pub(crate) fn list_groups(&self) -> Vec<Arc<dyn Group>> {
        let list = self.groups().and_then(|groups| groups.0.lock().as_deref().cloned());
        list.unwrap_or_default()
    }

    /// Leaves all groups.
    pub(super) fn leave_groups(&self, registry: &Arc<Registry>) {
        let list = self.groups().and_then(|groups| groups.0.lock().take());
        for group in list.into_iter().flat_map(|list| *list) {
            group.leave(registry, self.id());
        }
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Groups(..)")
    }
}
