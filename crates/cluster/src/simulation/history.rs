//! What the buckets had at what time, and what nodes were answered.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

use super::NAMES;
use crate::names::Owner;

#[derive(Default)]
pub(super) struct History(Mutex<Events>);

#[derive(Default)]
struct Events {
    changes: Vec<Change>,
    answers: Vec<Answer>,
}

struct Change {
    at: Instant,
    is_lease: bool,
    key: String,
    value: Option<(u64, Bytes)>,
}

/// What a node was answered about a name between two instants.
#[derive(Debug)]
struct Answer {
    from: Instant,
    to: Instant,
    name: &'static str,
    owner: Option<Owner>,
}

impl History {
    pub(super) fn changed(&self, is_lease: bool, key: String, value: Option<(u64, Bytes)>) {
        self.0.lock().changes.push(Change { at: Instant::now(), is_lease, key, value });
    }

    pub(super) fn answered(&self, from: Instant, name: &'static str, owner: Option<Owner>) {
        self.0.lock().answers.push(Answer { from, to: Instant::now(), name, owner });
    }

    /// The last records of a name, with their times in seconds, for a report.
    pub(super) fn last_changes(&self, name: &str) -> String {
        let events = self.0.lock();
        let changes = events.changes.iter().filter(|change| !change.is_lease && change.key == name);
        let mut last: Vec<_> = changes
            .map(|change| {
                let owner = change.value.as_ref().and_then(|(_, value)| Owner::decode(value));
                format!("{:.3}: {owner:?}", (change.at - events.changes[0].at).as_secs_f32())
            })
            .collect();
        last.split_off(last.len().saturating_sub(5)).join(", ")
    }

    /// Each answer was right at an instant between the question and the answer. Returns how many there are.
    pub(super) fn check(&self, ttl: Duration) -> usize {
        let events = self.0.lock();
        let timelines: HashMap<_, _> = NAMES.map(|name| (name, events.timeline(name, ttl))).into();
        for answer in &events.answers {
            let timeline = &timelines[answer.name];
            // From the last change before the question on.
            let first = timeline.partition_point(|(at, _)| *at < answer.from).saturating_sub(1);
            let last = timeline.partition_point(|(at, _)| *at <= answer.to).max(first + 1);
            let possible = &timeline[first..last];
            assert!(
                possible.iter().any(|(_, owner)| *owner == answer.owner),
                "{answer:?} was never right: {possible:?}"
            );
        }
        events.answers.len()
    }
}

impl Events {
    /// The owners of a name, each with the instant from which on it was the owner.
    fn timeline(&self, name: &str, ttl: Duration) -> Vec<(Instant, Option<Owner>)> {
        // An expired lease is gone before other changes of the same instant.
        let mut changes: Vec<_> = self.changes.iter().map(|change| (change.at, 1, change)).collect();
        changes.extend(self.changes.iter().filter(|change| change.is_lease).map(|change| (change.at + ttl, 0, change)));
        changes.sort_by_key(|(at, order, _)| (*at, *order));
        let (mut leases, mut record) = (HashMap::new(), None);
        let mut timeline = vec![(changes[0].0, None)];
        for (at, order, change) in changes {
            match (order, &change.value) {
                (0, value) => {
                    let expired = value.as_ref().map(|(revision, _)| *revision);
                    if leases.get(&change.key).map(|(stored, _)| *stored) == expired {
                        leases.remove(&change.key);
                    }
                }
                (_, Some((revision, value))) if change.is_lease => {
                    leases.insert(change.key.clone(), (*revision, value.clone()));
                }
                (_, None) if change.is_lease => drop(leases.remove(&change.key)),
                (_, value) if change.key == name => {
                    record = value.as_ref().and_then(|(_, value)| Owner::decode(value));
                }
                _ => {}
            }
            let has_lease =
                |owner: &Owner| leases.get(&owner.node).is_some_and(|(_, value)| **value == owner.incarnation.encode());
            let owner = record.clone().filter(has_lease);
            if timeline.last().is_none_or(|(_, last)| *last != owner) {
                timeline.push((at, owner));
            }
        }
        timeline
    }
}
