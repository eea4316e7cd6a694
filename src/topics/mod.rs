//! Topics: groups of connections that receive the same replies.
//!
//! ```text
//! Topics ── by name ──▶ TopicState ── part per registry ──▶ members ── push ──▶ outboxes ── one wake-up per arbiter
//! ```
//!
//! A publisher queues the reply in the outbox of each member itself, so the outcome is exact: a connection that left before is
//! not reached, and one publisher's replies keep their order. The wake-ups are left to the members' arbiters. The replies of a
//! burst are queued together; see `registry/deferred.rs`.

mod part;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::ops::AddAssign;
use std::sync::atomic::Ordering::*;
use std::sync::{Arc, Weak};

use crate::registry::{
    ConnectionGuard, ConnectionState, Entries, Format, Group, GroupChange, Payload, Pushed, Registry, RegistryShared,
};
use crate::sync::{AtomicUsize, Mutex, RandomState, RwLock};
use crate::telemetry::ConnectionId;
use part::Part;

/// The number of independently locked tables.
const SHARDS: usize = 16;

/// The topics of one pool, by name.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    shards: [Mutex<HashMap<Arc<str>, Weak<TopicState>>>; SHARDS],
    hasher: RandomState,
}

/// One topic. It exists while it has members or handles.
#[derive(Debug)]
pub(crate) struct TopicState {
    name: Arc<str>,
    topics: Weak<Topics>,
    /// One for each registry that a member has come from.
    parts: RwLock<Vec<Arc<Part>>>,
    members: AtomicUsize,
}

/// Makes payloads of a reply for connections of different formats.
pub(crate) trait Encodings {
    /// The bytes for this format, if they have been encoded.
    fn encoded(&self, format: Format) -> Option<Payload<'_>>;

    /// The payload for this format; encodes it if necessary. `None` if that fails.
    fn encode(&mut self, format: Format) -> Option<Payload<'_>>;

    /// Pushes the reply for a connection of this format. `None` if it cannot be encoded. Calls user code.
    fn push(
        &mut self,
        format: Format,
        mut push: impl for<'a> FnMut(Payload<'a>) -> (Pushed, Option<Payload<'a>>),
    ) -> Option<Pushed> {
        let pushed = push(self.encode(format)?).0;
        if let Pushed::FormatChanged = pushed {
            return Some(push(self.encode(Format::OWN)?).0);
        }
        Some(pushed)
    }
}

/// The number of members that a reply reached, and of those whose outbox had no room for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reached {
    pub(crate) members: usize,
    pub(crate) dropped: usize,
}

impl Reached {
    pub(crate) fn count(&mut self, pushed: &Pushed) {
        match pushed {
            Pushed::Queued => self.members += 1,
            Pushed::Full | Pushed::TooLarge => self.dropped += 1,
            Pushed::Closed | Pushed::FormatChanged | Pushed::OtherType => {}
        }
    }
}

impl AddAssign for Reached {
    fn add_assign(&mut self, other: Self) {
        self.members += other.members;
        self.dropped += other.dropped;
    }
}

impl Topics {
    /// The topic with this name, made if there is none.
    pub(crate) fn get(self: &Arc<Self>, name: &str) -> Arc<TopicState> {
        let mut topics = self.shard(name).lock();
        if let Some(topic) = topics.get(name).and_then(Weak::upgrade) {
            return topic;
        }
        let name: Arc<str> = name.into();
        let topic = Arc::new(TopicState {
            name: name.clone(),
            topics: Arc::downgrade(self),
            parts: RwLock::default(),
            members: AtomicUsize::new(0),
        });
        topics.insert(name, Arc::downgrade(&topic));
        topic
    }

    /// The topics that have members, sorted by name.
    pub(crate) fn list(&self) -> Vec<(Arc<str>, usize)> {
        let mut topics: Vec<Arc<TopicState>> = Vec::new();
        for shard in &self.shards {
            topics.extend(shard.lock().values().filter_map(Weak::upgrade));
        }
        // Outside the locks: the last handle of a topic removes it from its table.
        let mut list: Vec<_> = topics.iter().map(|topic| (topic.name.clone(), topic.len())).collect();
        list.retain(|(_, members)| *members > 0);
        list.sort();
        list
    }

    fn shard(&self, name: &str) -> &Mutex<HashMap<Arc<str>, Weak<TopicState>>> {
        &self.shards[self.hasher.hash_one(name) as usize % SHARDS]
    }
}

impl TopicState {
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it is one of these topics.
    pub(crate) fn is_of(&self, topics: &Arc<Topics>) -> bool {
        std::ptr::eq(self.topics.as_ptr(), Arc::as_ptr(topics))
    }

    /// The number of members.
    pub(crate) fn len(&self) -> usize {
        self.members.load(Acquire)
    }

    /// Adds a connection of this registry. Returns false if it is a member already.
    pub(crate) fn join(&self, registry: &Arc<Registry>, state: Arc<ConnectionState>) -> bool {
        let is_new = self.with_part(registry, |members| members.insert(state));
        self.members.fetch_add(usize::from(is_new), AcqRel);
        is_new
    }

    fn with_part<R>(&self, registry: &Arc<Registry>, f: impl FnOnce(&mut Entries) -> R) -> R {
        let of_registry = |part: &&Arc<Part>| Arc::ptr_eq(&part.registry, registry);
        let part = self.parts.read().iter().find(of_registry).cloned();
        let part = part.unwrap_or_else(|| {
            let mut parts = self.parts.write();
            let part = parts.iter().find(of_registry).cloned();
            part.unwrap_or_else(|| {
                let part = Part::new(registry.clone());
                parts.push(part.clone());
                part
            })
        });
        part.with_members(f)
    }

    /// The ids of the members, ascending.
    pub(crate) fn members(&self) -> Vec<ConnectionId> {
        let mut members = Vec::with_capacity(self.len());
        for part in self.parts.read().iter() {
            part.with_members(|part| members.extend(part.iter().map(|state| state.id())));
        }
        members.sort_unstable();
        members
    }

    /// The ids of at most `limit` members of a pool that are greater than `last`, ascending.
    pub(crate) fn members_after(
        &self,
        home: &Arc<RegistryShared>,
        last: Option<ConnectionId>,
        limit: usize,
    ) -> Vec<ConnectionId> {
        let mut members = Vec::new();
        for part in self.parts.read().iter().filter(|part| Arc::ptr_eq(part.registry.shared(), home)) {
            part.with_members(|part| match last {
                Some(last) => members.extend(part.after(last).take(limit).map(|state| state.id())),
                None => members.extend(part.iter().take(limit).map(|state| state.id())),
            });
        }
        members.sort_unstable();
        members.truncate(limit);
        members
    }

    /// Whether a connection of a pool is a member.
    pub(crate) fn contains(&self, home: &Arc<RegistryShared>, id: ConnectionId) -> bool {
        let parts = self.parts.read();
        let mut of_home = parts.iter().filter(|part| Arc::ptr_eq(part.registry.shared(), home));
        of_home.any(|part| part.with_members(|members| members.get(id).is_some()))
    }

    /// Calls `f` with each registry and its members. No lock is held meanwhile.
    pub(crate) fn for_each_part(&self, mut f: impl FnMut(&Arc<Registry>, Vec<Arc<ConnectionState>>)) {
        let registries: Vec<_> = self.parts.read().iter().map(|part| part.registry.clone()).collect();
        for registry in registries {
            let members = self.with_part(&registry, |members| members.iter().cloned().collect());
            f(&registry, members);
        }
    }

    /// Queues a reply for every member except one, under the lock of the members, so that a connection that has left gets
    /// nothing. Encodings that are not ready are made outside of the lock, by user code.
    ///
    /// `home` is the pool whose formats the encodings know. Members of other pools encode by themselves, and `except` is never
    /// one of them.
    pub(crate) fn publish(
        &self,
        home: &Arc<RegistryShared>,
        except: Option<ConnectionId>,
        encodings: &mut impl Encodings,
    ) -> Reached {
        let is_home = |registry: &Registry| Arc::ptr_eq(registry.shared(), home);
        let mut reached = Reached::default();
        let mut unencoded: Vec<(Arc<Registry>, Vec<Arc<ConnectionState>>)> = Vec::new();
        for part in self.parts.read().iter() {
            let (is_home, mut left) = (is_home(&part.registry), Vec::new());
            // An id is unique in its pool only.
            reached += part.publish(is_home, except.filter(|_| is_home), encodings, &mut left);
            if !left.is_empty() {
                unencoded.push((part.registry.clone(), left));
            }
        }
        for (registry, members) in unencoded {
            let mut batch = registry.batch();
            for state in members {
                let format = if is_home(&registry) { state.format() } else { state.format().in_other_pool() };
                let pushed = encodings.push(format, |payload| {
                    self.with_part(&registry, |members| match members.get(state.id()) {
                        Some(member) => batch.send(member, payload),
                        None => (Pushed::Closed, Some(payload)),
                    })
                });
                reached.count(&pushed.unwrap_or(Pushed::Closed));
            }
        }
        reached
    }
}

impl ConnectionGuard {
    /// Makes the connection a member of a topic. Returns false if it is one already, or is closing.
    pub(crate) fn join(&self, topic: &Arc<TopicState>) -> bool {
        let is_new = !self.state().is_closing() && topic.join(self.registry(), self.state().clone());
        if is_new {
            self.state().add_group(topic.clone());
            self.registry().report_group(self.state().id(), GroupChange::Joined(topic.name()));
        }
        is_new
    }

    /// Ends a membership. Returns false if the connection is not a member.
    pub(crate) fn leave(&self, topic: &Arc<TopicState>) -> bool {
        topic.leave(self.registry(), self.state().id());
        self.state().remove_group(topic)
    }
}

impl Group for TopicState {
    fn leave(&self, registry: &Arc<Registry>, id: ConnectionId) {
        let part = self.parts.read().iter().find(|part| Arc::ptr_eq(&part.registry, registry)).cloned();
        let removed = part.and_then(|part| part.with_members(|members| members.remove(id)));
        if removed.is_some() {
            self.members.fetch_sub(1, AcqRel);
            registry.report_group(id, GroupChange::Left(&self.name));
        }
    }
}

impl Drop for TopicState {
    fn drop(&mut self) {
        let Some(topics) = self.topics.upgrade() else { return };
        let mut shard = topics.shard(&self.name).lock();
        // Another topic with this name may have been made meanwhile.
        if shard.get(&self.name).is_some_and(|topic| topic.strong_count() == 0) {
            shard.remove(&self.name);
        }
    }
}
