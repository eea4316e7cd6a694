//! A hard limit: a fixed number of permits, and the tasks that wait for one.
//!
//! All waiting acceptors are woken together and the first one takes the permit, so that a permit does not wait for an
//! acceptor whose thread is busy. Held peers wait in a separate queue, which takes precedence over the acceptors.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use super::sync::{Mutex, MutexGuard};

/// A fixed number of permits. No more than that are ever taken at once.
#[derive(Debug)]
pub(crate) struct Permits {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    max: usize,
    taken: usize,
    waiting: Vec<Waker>,
    queue: VecDeque<(u64, Option<Waker>)>,
    tickets: u64,
}

/// A position in the queue.
#[derive(Debug)]
pub(crate) struct Ticket(u64);

impl Permits {
    pub(crate) fn new(max: usize) -> Self {
        let state = State { max, taken: 0, waiting: Vec::new(), queue: VecDeque::new(), tickets: 0 };
        Permits { state: Mutex::new(state) }
    }

    pub(crate) fn max(&self) -> usize {
        self.lock().max
    }

    /// Takes a permit if one is free and the queue is empty.
    pub(crate) fn try_take(&self) -> bool {
        let mut state = self.lock();
        let free = state.queue.is_empty() && state.has_free();
        state.taken += usize::from(free);
        free
    }

    /// Resolves when a permit may be free and it is worth trying again.
    pub(crate) fn poll_free(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.queue.is_empty() && state.has_free() {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Joins the queue, for a peer that is held until there is a permit.
    pub(crate) fn join(&self) -> Ticket {
        let mut state = self.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        state.queue.push_back((ticket, None));
        Ticket(ticket)
    }

    /// Takes a permit once the ticket is first in the queue and a permit is free.
    pub(crate) fn poll_take(&self, ticket: &Ticket, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let Some(at) = state.queue.iter().position(|(other, _)| *other == ticket.0) else { return Poll::Pending };
        if at == 0 && state.has_free() {
            state.taken += 1;
            return Poll::Ready(());
        }
        state.queue[at].1 = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Leaves the queue, with or without a permit.
    pub(crate) fn leave(&self, ticket: &Ticket) {
        let mut state = self.lock();
        state.queue.retain(|(other, _)| *other != ticket.0);
        Self::wake(state);
    }

    /// Gives a permit back.
    pub(crate) fn give_back(&self) {
        let mut state = self.lock();
        state.taken -= 1;
        Self::wake(state);
    }

    /// Sets the limit. Raising it wakes waiting tasks at once; lowering it takes no permit back.
    pub(crate) fn set_max(&self, max: usize) {
        let mut state = self.lock();
        state.max = max;
        Self::wake(state);
    }

    /// Wakes the first of the queue, or all acceptors if the queue is empty. Wakes outside the lock.
    fn wake(mut state: MutexGuard<'_, State>) {
        if !state.has_free() {
            return;
        }
        let first = state.queue.front_mut().map(|(_, waker)| waker.take());
        let all = if first.is_none() { std::mem::take(&mut state.waiting) } else { Vec::new() };
        drop(state);
        first.flatten().into_iter().chain(all).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl State {
    fn has_free(&self) -> bool {
        self.taken < self.max
    }
}
