//! What a connection belongs to, and leaves when it ends: topics and names.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use super::Registry;
use crate::telemetry::ConnectionId;

/// A topic, or a name that the connection has registered.
pub(crate) trait Group: Send + Sync {
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

/// The groups of one connection. Takes up one word while there are none.
#[derive(Default)]
pub(crate) struct Groups(Cell<Option<Box<List>>>);

type List = Vec<Arc<dyn Group>>;

impl Groups {
    pub(crate) fn add(&self, group: Arc<dyn Group>) {
        // Most connections are in one topic only.
        let mut groups = self.0.take().unwrap_or_else(|| Box::new(Vec::with_capacity(1)));
        groups.push(group);
        self.0.set(Some(groups));
    }

    /// Forgets a group. Returns false if the connection was not in it.
    pub(crate) fn remove(&self, group: &Arc<impl Group>) -> bool {
        let Some(mut groups) = self.0.take() else { return false };
        let before = groups.len();
        groups.retain(|other| !std::ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(group)));
        let removed = groups.len() < before;
        self.0.set(Some(groups).filter(|groups| !groups.is_empty()));
        removed
    }

    /// Leaves all groups.
    pub(crate) fn leave_all(&self, registry: &Arc<Registry>, id: ConnectionId) {
        if let Some(groups) = self.0.take() {
            groups.iter().for_each(|group| group.leave(registry, id));
        }
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Groups(..)")
    }
}
