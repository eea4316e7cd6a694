//! [`Entries`], the connections of a registry, or the members of a topic, in the order of their ids.
//!
//! Ids ascend, so a new connection is appended; a member of a topic may join after one with a greater id. A removed entry
//! leaves an empty slot; the slots are compacted once most of them are empty. Finding an entry takes the same time among few and
//! among many as long as the ids are spread evenly, as those of one arbiter are, and at most that of a binary search otherwise. A walk over
//! all entries touches memory in the order of acceptance.

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
        position(&self.slots, id)
    }
}

/// The position of an id in a list that ascends by id. The search begins where the id is if all are spread evenly.
fn position<T>(slots: &[(ConnectionId, T)], id: ConnectionId) -> Option<usize> {
    let (first, last) = (slots.first()?.0, slots.last()?.0);
    if !(first..=last).contains(&id) {
        return None;
    }
    let end = slots.len() - 1;
    let (at, range) = (id.0 - first.0, (last.0 - first.0).max(1));
    let guess = (u128::from(at) * end as u128 / u128::from(range)) as usize;
    // Steps grow until the id is between `low` and `high`.
    let (mut low, mut high, mut step) = (guess, guess, 1);
    while slots[low].0 > id {
        (high, low, step) = (low, low.saturating_sub(step), step * 2);
    }
    while slots[high].0 < id {
        (low, high, step) = (high, (high + step).min(end), step * 2);
    }
    let found = slots[low..=high].binary_search_by_key(&id, |(id, _)| *id).ok()?;
    Some(low + found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_found_and_no_other() {
        let lists: [Vec<u64>; 7] = [
            vec![],
            vec![7],
            (1..=1_000).collect(),
            (1..=1_000).map(|n| n * 4 + n % 3).collect(),
            // Uneven: most are far from where they would be.
            (1..=1_000).map(|n| n * n * n).collect(),
            (0..20).map(|n| 1 << n).collect(),
            [(0..500).collect(), (u64::MAX - 500..=u64::MAX).collect::<Vec<_>>()].concat(),
        ];
        for ids in lists {
            let slots: Vec<_> = ids.iter().map(|id| (ConnectionId(*id), ())).collect();
            for (at, id) in ids.iter().enumerate() {
                assert_eq!(position(&slots, ConnectionId(*id)), Some(at));
                for other in [id.saturating_sub(1), id.saturating_add(1)] {
                    assert_eq!(position(&slots, ConnectionId(other)), ids.binary_search(&other).ok());
                }
            }
            assert_eq!(position(&slots, ConnectionId(u64::MAX / 2)), None);
        }
    }
}
