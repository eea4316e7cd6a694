//! A hard limit: a fixed number of permits for all, fewer for a group with a limit of its own, and the tasks that wait for a
//! permit.
//!
//! All waiting acceptors are woken together and the first one takes the permit, so that a permit does not wait for an
//! acceptor whose thread is busy. Held peers, and acceptors that take turns (`FairAcceptors`), wait in a queue, which takes
//! precedence over the acceptors: a free permit is for the first peer whose group has one left. Since the thread of that peer
//! may be blocked, the first peer of every other thread is woken as well, and passes it over ([`Permits::pass_over`]) if it
//! does not react:
//!
//! ```text
//! permit free ─▶ first of the queue: takes it
//!             └▶ first of every other thread, acceptors: turn() ─(a moment later)─▶ pass_over(turn) ─▶ next of the queue
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};

use super::sync::{Mutex, MutexGuard};

/// A fixed number of permits. No more than that are ever taken at once.
#[derive(Debug)]
pub(crate) struct Permits {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    max: usize,
    taken: usize,
    groups: BTreeMap<u64, Group>,
    last_group: u64,
    acceptors: Vec<(GroupId, Waker)>,
    queue: VecDeque<HeldPeer>,
    tickets: u64,
    /// The threads whose peers were passed over, until one of these peers is polled again. Peers keep their positions.
    late: Vec<usize>,
}

/// The permits of a group, which are a part of all permits.
#[derive(Debug)]
struct Group {
    max: usize,
    taken: usize,
}

#[derive(Debug)]
struct HeldPeer {
    ticket: u64,
    group: GroupId,
    thread: usize,
    /// How many times the peer was polled.
    polls: u64,
    waker: Option<Waker>,
}

/// A group of permits with a limit of its own: those of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupId(u64);

/// A position in the queue.
#[derive(Debug)]
pub(crate) struct Ticket {
    number: u64,
    thread: usize,
}

/// The turn of the first peer in the queue to take a free permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    ticket: u64,
    polls: u64,
}

impl Permits {
    pub(crate) fn new(max: usize) -> Self {
        Permits { state: Mutex::new(State { max, ..State::default() }) }
    }

    /// Adds a group of which at most `max` permits are taken at once.
    pub(crate) fn add_group(&self, max: usize) -> GroupId {
        let mut state = self.lock();
        state.last_group += 1;
        let group = state.last_group;
        state.groups.insert(group, Group { max, taken: 0 });
        GroupId(group)
    }

    /// Removes a group whose permits are all given back.
    pub(crate) fn remove_group(&self, group: GroupId) {
        self.lock().groups.remove(&group.0);
    }

    pub(crate) fn max(&self) -> usize {
        self.lock().max
    }

    /// Whether the group's own limit leaves no permit.
    pub(crate) fn is_group_full(&self, group: GroupId) -> bool {
        !self.lock().has_left(group)
    }

    /// Takes a permit if one is free and no peer in the queue is entitled to it.
    pub(crate) fn try_take(&self, group: GroupId) -> bool {
        let mut state = self.lock();
        let free = state.first().is_none() && state.has_free(group);
        if free {
            state.take(group);
        }
        free
    }

    /// Resolves when a permit may be free and it is worth trying again.
    pub(crate) fn poll_free(&self, group: GroupId, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.first().is_none() && state.has_free(group) {
            return Poll::Ready(());
        }
        // The tasks of one acceptor have the same waker.
        if !state.acceptors.iter().any(|(other, waker)| *other == group && waker.will_wake(cx.waker())) {
            state.acceptors.push((group, cx.waker().clone()));
        }
        Poll::Pending
    }

    /// Joins the queue, for a peer that is held until there is a permit. `thread` is the number of the thread that polls it.
    pub(crate) fn join(&self, group: GroupId, thread: usize) -> Ticket {
        let mut state = self.lock();
        state.tickets += 1;
        let number = state.tickets;
        state.queue.push_back(HeldPeer { ticket: number, group, thread, polls: 0, waker: None });
        Ticket { number, thread }
    }

    /// Takes a permit once it is the ticket's turn and a permit is free. The ticket has left the queue then.
    pub(crate) fn poll_take(&self, ticket: &Ticket, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let was_late = state.set_on_time(ticket.thread);
        let Some(at) = state.queue.iter().position(|peer| peer.ticket == ticket.number) else { return Poll::Pending };
        if state.first() == Some(at) && state.taken < state.max {
            let group = state.queue[at].group;
            state.queue.remove(at);
            state.take(group);
            Self::wake(state);
            return Poll::Ready(());
        }
        state.queue[at].polls += 1;
        state.queue[at].waker = Some(cx.waker().clone());
        if was_late {
            Self::wake(state);
        }
        Poll::Pending
    }

    /// The turn of a peer of another thread that has not taken its permit yet. `None` if there is no such peer, or if no
    /// permit is free.
    pub(crate) fn turn(&self, thread: Option<usize>) -> Option<Turn> {
        let state = self.lock();
        let first = state.first().filter(|_| state.taken < state.max)?;
        let first = &state.queue[first];
        (Some(first.thread) != thread).then_some(Turn { ticket: first.ticket, polls: first.polls })
    }

    /// Passes over a peer that has not reacted since [`turn`](Self::turn), with all others of its thread.
    pub(crate) fn pass_over(&self, turn: Turn) {
        let mut state = self.lock();
        let Some(first) = state.first().filter(|_| state.taken < state.max) else { return };
        let HeldPeer { ticket, polls, thread, .. } = state.queue[first];
        if turn == (Turn { ticket, polls }) {
            state.late.push(thread);
            Self::wake(state);
        }
    }

    /// Leaves the queue. Has no effect with a permit.
    pub(crate) fn leave(&self, ticket: &Ticket) {
        let mut state = self.lock();
        state.set_on_time(ticket.thread);
        state.queue.retain(|peer| peer.ticket != ticket.number);
        Self::wake(state);
    }

    /// Gives a permit back.
    pub(crate) fn give_back(&self, group: GroupId) {
        let mut state = self.lock();
        state.taken -= 1;
        if let Some(group) = state.groups.get_mut(&group.0) {
            group.taken -= 1;
        }
        Self::wake(state);
    }

    /// Sets the limit. Raising it wakes waiting tasks at once; lowering it takes no permit back.
    pub(crate) fn set_max(&self, max: usize) {
        let mut state = self.lock();
        state.max = max;
        Self::wake(state);
    }

    /// Sets the limit of a group, as [`set_max`](Self::set_max).
    pub(crate) fn set_group_max(&self, group: GroupId, max: usize) {
        let mut state = self.lock();
        if let Some(group) = state.groups.get_mut(&group.0) {
            group.max = max;
        }
        Self::wake(state);
    }

    /// If a permit is free, wakes the first peer of each thread in the queue, and the acceptors. Wakes outside the lock.
    fn wake(mut state: MutexGuard<'_, State>) {
        if state.taken >= state.max {
            return;
        }
        let mut wakers = Vec::new();
        let State { queue, groups, acceptors, late, .. } = &mut *state;
        let has_left = |group: GroupId| groups.get(&group.0).is_some_and(|group| group.taken < group.max);
        let mut threads = late.clone();
        for peer in queue.iter_mut().filter(|peer| has_left(peer.group)) {
            if !threads.contains(&peer.thread) {
                threads.push(peer.thread);
                wakers.extend(peer.waker.take());
            }
        }
        acceptors.retain_mut(|(group, waker)| {
            let wakes = has_left(*group);
            if wakes {
                wakers.push(waker.clone());
            }
            !wakes
        });
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    /// The position of the peer that takes the next free permit.
    fn first(&self) -> Option<usize> {
        self.queue.iter().position(|peer| !self.late.contains(&peer.thread) && self.has_left(peer.group))
    }

    /// Whether the group has a permit left, apart from the limit of all.
    fn has_left(&self, group: GroupId) -> bool {
        self.groups.get(&group.0).is_some_and(|group| group.taken < group.max)
    }

    fn has_free(&self, group: GroupId) -> bool {
        self.taken < self.max && self.has_left(group)
    }

    fn take(&mut self, group: GroupId) {
        self.taken += 1;
        if let Some(group) = self.groups.get_mut(&group.0) {
            group.taken += 1;
        }
    }

    /// Records that a thread is running. Returns whether its peers had been passed over.
    fn set_on_time(&mut self, thread: usize) -> bool {
        let late = self.late.len();
        self.late.retain(|other| *other != thread);
        self.late.len() < late
    }
}
