//! One hard limit: a count of permits, given back by `Drop`, and who waits for one.
//!
//! Acceptors that wait are woken all together, and the first to come takes the permit: it must not wait for one whose
//! thread is busy. Held peers wait in line, before the acceptors.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use super::sync::{Mutex, MutexGuard};

/// So many permits and never one more, whatever dies.
#[derive(Debug)]
pub(crate) struct Permits {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    max: usize,
    taken: usize,
    waiting: Vec<Waker>,
    line: VecDeque<(u64, Option<Waker>)>,
    tickets: u64,
}

/// A place in the line.
#[derive(Debug)]
pub(crate) struct Ticket(u64);

impl Permits {
    pub(crate) fn new(max: usize) -> Self {
        let state = State { max, taken: 0, waiting: Vec::new(), line: VecDeque::new(), tickets: 0 };
        Permits { state: Mutex::new(state) }
    }

    pub(crate) fn max(&self) -> usize {
        self.lock().max
    }

    /// Takes a permit if there is one, and nobody is before us in the line.
    pub(crate) fn try_take(&self) -> bool {
        let mut state = self.lock();
        let free = state.line.is_empty() && state.has_room();
        state.taken += usize::from(free);
        free
    }

    /// Resolves when it is worth trying again: a permit may be free.
    pub(crate) fn poll_free(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.line.is_empty() && state.has_room() {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Joins the line, for a peer that is held until there is a permit.
    pub(crate) fn join(&self) -> Ticket {
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        state.line.push_back((ticket, None));
        Ticket(ticket)
    }

    /// Takes a permit once it is our turn.
    pub(crate) fn poll_take(&self, ticket: &Ticket, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let Some(at) = state.line.iter().position(|(other, _)| *other == ticket.0) else { return Poll::Pending };
        if at == 0 && state.has_room() {
            state.taken += 1;
            return Poll::Ready(());
        }
        state.line[at].1 = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Leaves the line, with a permit or without.
    pub(crate) fn leave(&self, ticket: &Ticket) {
        let mut state = self.lock();
        state.line.retain(|(other, _)| *other != ticket.0);
        Self::wake(state);
    }

    /// Gives a permit back.
    pub(crate) fn give_back(&self) {
        let mut state = self.lock();
        state.taken -= 1;
        Self::wake(state);
    }

    /// Raised, it lets waiting peers in at once; lowered, it ends nobody.
    pub(crate) fn set_max(&self, max: usize) {
        let mut state = self.lock();
        state.max = max;
        Self::wake(state);
    }

    /// Wakes whose turn it is, outside the lock.
    fn wake(mut state: MutexGuard<'_, State>) {
        if !state.has_room() {
            return;
        }
        let first = state.line.front_mut().map(|(_, waker)| waker.take());
        let all = if first.is_none() { std::mem::take(&mut state.waiting) } else { Vec::new() };
        drop(state);
        first.flatten().into_iter().chain(all).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn has_room(&self) -> bool {
        self.taken < self.max
    }
}
