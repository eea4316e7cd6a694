//! The names of the connections of this node.

use std::collections::HashMap;
use std::sync::Arc;

use actix_acceptor::ConnectionId;
use parking_lot::Mutex;

use crate::incarnation::Incarnation;

/// One name. It counts only while the node has the lease of this incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnName {
    pub(crate) connection: ConnectionId,
    pub(crate) incarnation: Incarnation,
    /// The revision of the key.
    pub(crate) revision: u64,
}

#[derive(Debug, Default)]
pub(crate) struct OwnNames(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    names: HashMap<Arc<str>, OwnName>,
    connections: HashMap<ConnectionId, Vec<Arc<str>>>,
}

impl OwnNames {
    pub(crate) fn insert(&self, name: &Arc<str>, own: OwnName) {
        let mut tables = self.0.lock();
        tables.forget(name);
        tables.names.insert(name.clone(), own);
        tables.connections.entry(own.connection).or_default().push(name.clone());
    }

    pub(crate) fn get(&self, name: &str) -> Option<OwnName> {
        self.0.lock().names.get(name).copied()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().names.len()
    }

    /// Forgets a name if this connection has it.
    pub(crate) fn remove(&self, name: &str, id: ConnectionId) -> Option<OwnName> {
        let mut tables = self.0.lock();
        tables.names.get(name).filter(|own| own.connection == id)?;
        tables.forget(name)
    }

    /// Forgets all names of a connection. Returns them, with the revisions of their keys.
    pub(crate) fn remove_connection(&self, id: ConnectionId) -> Vec<(Arc<str>, u64)> {
        let mut tables = self.0.lock();
        let names = tables.connections.remove(&id).unwrap_or_default();
        names.into_iter().filter_map(|name| tables.names.remove(&name).map(|own| (name, own.revision))).collect()
    }

    /// The first names after this one, sorted.
    pub(crate) fn after(&self, after: Option<&str>, limit: usize) -> Vec<(Arc<str>, OwnName)> {
        let tables = self.0.lock();
        let rest = tables.names.iter().filter(|(name, _)| after.is_none_or(|after| after < &***name));
        let mut rest: Vec<_> = rest.collect();
        if rest.len() > limit {
            rest.select_nth_unstable_by_key(limit, |(name, _)| *name);
            rest.truncate(limit);
        }
        rest.sort_unstable_by_key(|(name, _)| *name);
        rest.into_iter().map(|(name, own)| (name.clone(), *own)).collect()
    }

    /// Marks a name as one whose lease was lost.
    pub(crate) fn set_lost(&self, name: &str, expected: OwnName) {
        if let Some(own) = self.0.lock().names.get_mut(name).filter(|own| **own == expected) {
            own.incarnation = Incarnation::NONE;
        }
    }

    /// The names that a connection got in this incarnation.
    pub(crate) fn of_connection(&self, id: ConnectionId, incarnation: Incarnation) -> Vec<Arc<str>> {
        let tables = self.0.lock();
        let names = tables.connections.get(&id).into_iter().flatten();
        let is_current =
            |name: &&Arc<str>| tables.names.get(&***name).is_some_and(|own| own.incarnation == incarnation);
        names.filter(is_current).cloned().collect()
    }

    /// The names of incarnations other than this one: their lease was lost.
    pub(crate) fn of_others(&self, incarnation: Incarnation) -> Vec<(Arc<str>, OwnName)> {
        let tables = self.0.lock();
        let others = tables.names.iter().filter(|(_, own)| own.incarnation != incarnation);
        let mut others: Vec<_> = others.map(|(name, own)| (name.clone(), *own)).collect();
        others.sort_by(|(one, _), (other, _)| one.cmp(other));
        others
    }
}

impl Tables {
    fn forget(&mut self, name: &str) -> Option<OwnName> {
        let own = self.names.remove(name)?;
        if let Some(names) = self.connections.get_mut(&own.connection) {
            names.retain(|other| **other != *name);
            if names.is_empty() {
                self.connections.remove(&own.connection);
            }
        }
        Some(own)
    }
}
