//! [`PresenceWatch`], the changes of the members of a topic.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_acceptor::ConnectionId;
use futures::task::AtomicWaker;
use futures::Stream;
use parking_lot::Mutex;

use super::wire::MemberState;
use super::Member;
use crate::direct::Life;

/// A change of the members of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceChange {
    /// A connection has become a member, or was one before the watch began.
    Joined(Member),
    /// A connection is no longer a member: it has left or ended, or its node has ended.
    Left(Member),
    /// The label of a member has changed.
    Labelled(Member),
}

/// Why a watch has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The topic has more members than the watch may keep.
    #[error("the topic has at least {members} members, and the watch keeps {limit}; list them with `ClusterTopic::presence`")]
    TooMany {
        /// The number of members known so far.
        members: usize,
        /// The limit of the watch.
        limit: usize,
    },
    /// The name of the topic is too long.
    #[error("the name takes up {length} bytes in a NATS subject, and {limit} are allowed")]
    NameTooLong {
        /// The length.
        length: usize,
        /// The limit.
        limit: usize,
    },
}

/// The changes of the members of a topic on all nodes: see [`ClusterTopic::watch`](crate::ClusterTopic::watch).
///
/// It is also a [`Stream`], which ends after an error, or when the node leaves the cluster. Dropping it ends the watch.
pub struct PresenceWatch {
    pub(super) set: Arc<WatchedSet>,
    /// Ends the task.
    pub(super) _task: super::watchers::Watcher,
}

/// What the task of a watch and its reader share.
#[derive(Debug)]
pub(super) struct WatchedSet {
    limit: usize,
    state: Mutex<State>,
    reader: AtomicWaker,
}

/// Sorted by node and run.
type Members = BTreeMap<Key, Option<Arc<str>>>;
type Key = (Arc<str>, Life, u64);

#[derive(Debug, Default)]
struct State {
    /// As far as the task knows.
    current: Members,
    /// As far as the reader knows.
    read: Members,
    /// Where the two differ: members that have left, which the reader gets first, and others.
    left: BTreeSet<Key>,
    changed: BTreeSet<Key>,
    is_complete: bool,
    unreachable: Vec<Arc<str>>,
    end: Option<End>,
}

#[derive(Debug)]
enum End {
    Error(WatchError),
    Ended,
}

impl PresenceWatch {
    /// The next change. `None` after an error, and when the node has left the cluster.
    ///
    /// # Errors
    /// See [`WatchError`]. The watch has ended then.
    pub async fn next(&mut self) -> Option<Result<PresenceChange, WatchError>> {
        std::future::poll_fn(|context| self.set.poll_next(context)).await
    }

    /// The members according to the changes returned so far, sorted by node and id.
    pub fn members(&self) -> Vec<Member> {
        let state = self.set.state.lock();
        state.read.iter().map(|(key, label)| member(key, label)).collect()
    }

    /// Whether the members of all nodes are known, and all changes were returned. False while NATS cannot be reached, or a node that
    /// has a lease does not answer.
    pub fn is_complete(&self) -> bool {
        let state = self.set.state.lock();
        state.is_complete && !state.has_changes() && state.end.is_none()
    }

    /// The nodes that have a lease but whose members are currently unknown or out of date, sorted.
    pub fn unreachable(&self) -> Vec<Arc<str>> {
        self.set.state.lock().unreachable.clone()
    }
}

impl Stream for PresenceWatch {
    type Item = Result<PresenceChange, WatchError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.set.poll_next(context)
    }
}

impl std::fmt::Debug for PresenceWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PresenceWatch").finish_non_exhaustive()
    }
}

impl WatchedSet {
    pub(super) fn new(limit: usize) -> Self {
        WatchedSet { limit, state: Mutex::default(), reader: AtomicWaker::new() }
    }

    fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Result<PresenceChange, WatchError>>> {
        // Before the state is looked at, so that no change in between is missed.
        self.reader.register(context.waker());
        let mut state = self.state.lock();
        if let Some(End::Error(error)) = &state.end {
            let error = error.clone();
            *state = State { end: Some(End::Ended), ..State::default() };
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(change) = state.next_change() {
            return Poll::Ready(Some(Ok(change)));
        }
        match state.end {
            Some(_) => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Changes the state. Returns false if there are too many members then.
    fn update(&self, update: impl FnOnce(&mut State)) -> bool {
        let mut state = self.state.lock();
        update(&mut state);
        let (members, has_changes) = (state.current.len(), state.has_changes());
        let is_allowed = members <= self.limit;
        if !is_allowed {
            state.end.get_or_insert(End::Error(WatchError::TooMany { members, limit: self.limit }));
        }
        drop(state);
        if has_changes {
            self.reader.wake();
        }
        is_allowed
    }

    /// Applies changes of members of one run of a node.
    pub(super) fn apply(&self, node: &Arc<str>, life: Life, members: Vec<(u64, MemberState)>) -> bool {
        self.update(|state| {
            for (id, member) in members {
                let label = match member {
                    MemberState::Gone => None,
                    MemberState::Member(label) => Some(label.map(Arc::from)),
                };
                state.set((node.clone(), life, id), label);
            }
        })
    }

    /// Replaces all members of a node.
    pub(super) fn replace(&self, node: &Arc<str>, life: Life, members: BTreeMap<u64, Option<String>>) -> bool {
        self.update(|state| {
            state.retain_of(node, |(_, of_life, id)| *of_life == life && members.contains_key(id));
            for (id, label) in members {
                state.set((node.clone(), life, id), Some(label.map(Arc::from)));
            }
        })
    }

    /// All members of a node have left.
    pub(super) fn remove(&self, node: &Arc<str>) {
        self.update(|state| state.retain_of(node, |_| false));
    }

    /// A node has more members than are listed.
    pub(super) fn fail_too_many(&self, others: usize) {
        let members = self.state.lock().current.len().saturating_add(others);
        self.fail(WatchError::TooMany { members, limit: self.limit });
    }

    pub(super) fn set_complete(&self, is_complete: bool, unreachable: Vec<Arc<str>>) {
        let mut state = self.state.lock();
        (state.is_complete, state.unreachable) = (is_complete, unreachable);
    }

    pub(super) fn fail(&self, error: WatchError) {
        self.end(End::Error(error));
    }

    pub(super) fn close(&self) {
        self.end(End::Ended);
    }

    fn end(&self, end: End) {
        self.state.lock().end.get_or_insert(end);
        self.reader.wake();
    }
}

impl State {
    /// Sets the label of a member. `None`: it is no member.
    fn set(&mut self, key: Key, label: Option<Option<Arc<str>>>) {
        match &label {
            Some(label) => self.current.insert(key.clone(), label.clone()),
            None => self.current.remove(&key),
        };
        self.left.remove(&key);
        self.changed.remove(&key);
        match label {
            label if self.read.get(&key) == label.as_ref() => {}
            Some(_) => drop(self.changed.insert(key)),
            None => drop(self.left.insert(key)),
        }
    }

    fn retain_of(&mut self, node: &Arc<str>, is_kept: impl Fn(&Key) -> bool) {
        let of_node = self.current.range((node.clone(), 0, 0)..=(node.clone(), u64::MAX, u64::MAX));
        let gone: Vec<_> = of_node.map(|(key, _)| key).filter(|key| !is_kept(key)).cloned().collect();
        gone.into_iter().for_each(|key| self.set(key, None));
    }

    fn has_changes(&self) -> bool {
        !self.left.is_empty() || !self.changed.is_empty()
    }

    /// What the reader does not know yet.
    fn next_change(&mut self) -> Option<PresenceChange> {
        if let Some(key) = self.left.pop_first() {
            let label = self.read.remove(&key)?;
            return Some(PresenceChange::Left(member(&key, &label)));
        }
        let key = self.changed.pop_first()?;
        let label = self.current.get(&key)?.clone();
        let member = member(&key, &label);
        match self.read.insert(key, label) {
            Some(_) => Some(PresenceChange::Labelled(member)),
            None => Some(PresenceChange::Joined(member)),
        }
    }
}

fn member((node, life, id): &Key, label: &Option<Arc<str>>) -> Member {
    Member {
        node: node.clone(),
        life: *life,
        id: ConnectionId::from(*id),
        label: label.as_ref().map(|label| label.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    type Next = Option<Option<Result<PresenceChange, WatchError>>>;

    fn next(set: &WatchedSet) -> Next {
        std::future::poll_fn(|context| set.poll_next(context)).now_or_never()
    }

    fn change(set: &WatchedSet) -> (char, u64) {
        match next(set).expect("ready").expect("not ended").expect("no error") {
            PresenceChange::Joined(member) => ('+', member.id.get()),
            PresenceChange::Left(member) => ('-', member.id.get()),
            PresenceChange::Labelled(member) => ('=', member.id.get()),
        }
    }

    #[test]
    fn a_slow_reader_gets_the_sum_of_the_changes() {
        let (set, node): (_, Arc<str>) = (WatchedSet::new(4), "a".into());
        let member = |label: &str| MemberState::Member(Some(label.to_owned()));
        assert!(set.apply(&node, 1, vec![(1, member("")), (2, member("")), (3, member(""))]));
        assert!(set.apply(&node, 1, vec![(2, MemberState::Gone), (9, MemberState::Gone)]));
        assert_eq!((change(&set), change(&set), next(&set)), (('+', 1), ('+', 3), None));
        // One comes and goes without having been seen, and another one the other way round.
        for _ in 0..1_000 {
            set.apply(&node, 1, vec![(4, member("")), (1, MemberState::Gone)]);
            set.apply(&node, 1, vec![(4, MemberState::Gone), (1, member(""))]);
        }
        assert_eq!(next(&set), None);
        set.apply(&node, 1, vec![(3, member("other")), (1, MemberState::Gone), (5, member(""))]);
        assert_eq!((change(&set), change(&set), change(&set)), (('-', 1), ('=', 3), ('+', 5)));
        // Another run of the node.
        assert!(set.replace(&node, 0, BTreeMap::from([(3, None)])));
        assert_eq!((change(&set), change(&set), change(&set)), (('-', 3), ('-', 5), ('+', 3)));
        set.remove(&node);
        set.close();
        assert_eq!((change(&set), next(&set)), (('-', 3), Some(None)));
    }

    #[test]
    fn a_watch_keeps_no_more_members_than_allowed() {
        let (set, node): (_, Arc<str>) = (WatchedSet::new(2), "a".into());
        let joined = |id| vec![(id, MemberState::Member(None))];
        assert!(set.apply(&node, 1, joined(1)) && set.apply(&node, 1, joined(2)) && !set.apply(&node, 1, joined(3)));
        let too_many = WatchError::TooMany { members: 3, limit: 2 };
        assert_eq!((next(&set), next(&set)), (Some(Some(Err(too_many))), Some(None)));
    }
}
