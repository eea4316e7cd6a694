//! [`Entries`], the connections of a registry, or the members of a topic, in the order of their ids.
//!
//! Ids ascend, so a new connection is appended; a member of a topic may join after one with a greater id. A removed entry
//! leaves an empty slot; the slots are compacted once most of them are empty. Finding an entry is a binary search, adding and
//! removing one costs the same on average, and a walk over all entries touches memory in the order of acceptance.

use std::sync::Arc;

use super::ConnectionState;
use crate::telemetry::ConnectionId;

/// The number of empty slots that never cause a compaction, so that a small registry is not compacted at each end.
const SPARE: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// Ascending by id. `None`: the connection has ended.
    slots: Vec<(ConnectionId, Option<Arc<ConnectionState>>)>,
    live: usize,
}

impl Entries {
    /// The number of connections.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Adds a connection; false if it is there already. Fast if its id is greater than those of all others.
    pub(crate) fn insert(&mut self, state: Arc<ConnectionState>) -> bool {
        let id = state.id();
        let slot = (id, Some(state));
        if self.slots.last().is_none_or(|(last, _)| *last < id) {
            self.slots.push(slot);
        } else {
            match self.slots.binary_search_by_key(&id, |(id, _)| *id) {
                Ok(position) if self.slots[position].1.is_some() => return false,
                Ok(position) => self.slots[position] = slot,
                Err(position) => self.slots.insert(position, slot),
            }
        }
        self.live += 1;
        true
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Arc<ConnectionState>> {
        self.slots[self.position(id)?].1.as_ref()
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Arc<ConnectionState>> {
        let position = self.position(id)?;
        let removed = self.slots[position].1.take()?;
        self.live -= 1;
        if position + 1 == self.slots.len() {
            self.slots.pop();
        }
        if self.slots.len() > 2 * self.live + SPARE {
            self.slots.retain(|(_, state)| state.is_some());
            self.slots.shrink_to(2 * self.live + SPARE);
        }
        Some(removed)
    }

    /// The connections, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ConnectionState>> {
        self.slots.iter().filter_map(|(_, state)| state.as_ref())
    }

    /// The connections whose ids are greater than `last`, in the order of their ids.
    pub(crate) fn after(&self, last: ConnectionId) -> impl Iterator<Item = &Arc<ConnectionState>> {
        let from = self.slots.partition_point(|(id, _)| *id <= last);
        self.slots[from..].iter().filter_map(|(_, state)| state.as_ref())
    }

    fn position(&self, id: ConnectionId) -> Option<usize> {
        self.slots.binary_search_by_key(&id, |(id, _)| *id).ok()
    }
}
