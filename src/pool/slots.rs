//! The places of a pool: which arbiter each has, and whether an acceptor is at work there.

use std::io;
use std::sync::Arc;

use actix::prelude::*;

use crate::acceptor::{Acceptor, AcceptorContext, ExitGuard, Exited, Ready};
use crate::registry::run_tick;

/// Where acceptors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Each on an arbiter of its own.
    OwnArbiters,
    /// All on the pool's.
    Current,
}

pub(crate) struct AcceptorSlots {
    placement: Placement,
    slots: Vec<Slot>,
}

#[derive(Default)]
struct Slot {
    arbiter: Option<Arbiter>,
    /// The arbiter was started for the acceptor that is there now.
    fresh: bool,
    /// Counts the acceptors of this place: a word from an earlier one is no news.
    generation: u64,
    state: State,
    /// The acceptor was told to go.
    retired: bool,
}

#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Vacant,
    Starting,
    Ready,
}

impl AcceptorSlots {
    pub(crate) fn new(placement: Placement, slots: usize) -> Self {
        AcceptorSlots { placement, slots: (0..slots).map(|_| Slot::default()).collect() }
    }

    pub(super) fn placement(&self) -> Placement {
        self.placement
    }

    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn start_acceptor(
        &mut self,
        slot: usize,
        acceptors: Arc<AcceptorContext>,
        pool: (Recipient<Ready>, Recipient<Exited>),
    ) -> io::Result<()> {
        let Slot { arbiter, fresh, generation, state, retired } = &mut self.slots[slot];
        let first = *generation == 0;
        *generation += 1;
        *state = State::Starting;
        *retired = false;
        let exit_guard = ExitGuard::new(slot, *generation, pool);
        if self.placement == Placement::Current {
            if first {
                actix_rt::spawn(run_tick(acceptors.registries.of(slot)));
            }
            Acceptor::new(slot, acceptors, exit_guard.started()).start();
            return Ok(());
        }
        // A dead arbiter takes nothing: what was to run there is dropped unseen, so ask before.
        if let Some(alive) = arbiter.as_ref().filter(|arbiter| arbiter.alive()) {
            *fresh = false;
            alive.spawn_fn(move || {
                Acceptor::new(slot, acceptors, exit_guard.started()).start();
            });
            return Ok(());
        }
        let new = Arbiter::try_new()?;
        *fresh = true;
        let registry = acceptors.registries.of(slot);
        new.spawn_fn(move || {
            actix_rt::spawn(async move {
                run_tick(registry).await;
                // The pool is over and nobody is left here.
                Arbiter::current().stop();
            });
            Acceptor::new(slot, acceptors, exit_guard.started()).start();
        });
        *arbiter = Some(new);
        Ok(())
    }

    /// Places are added at the end.
    pub(super) fn add_slot(&mut self) {
        self.slots.push(Slot::default());
    }

    /// Whether the place has no acceptor.
    pub(super) fn is_vacant(&self, slot: usize) -> bool {
        self.slots[slot].state == State::Vacant
    }

    /// The acceptor there was told to go: that it goes is no death.
    pub(super) fn retire(&mut self, slot: usize) {
        self.slots[slot].retired = true;
    }

    pub(super) fn is_retired(&self, slot: usize) -> bool {
        self.slots[slot].retired
    }

    /// True if that is news.
    pub(super) fn ready(&mut self, slot: usize, generation: u64) -> bool {
        let slot = &mut self.slots[slot];
        let news = slot.generation == generation && slot.state == State::Starting;
        if news {
            slot.state = State::Ready;
        }
        news
    }

    /// True if that is news.
    pub(super) fn acceptor_stopped(&mut self, slot: usize, generation: u64) -> bool {
        let slot = &mut self.slots[slot];
        let news = slot.generation == generation && slot.state != State::Vacant;
        if news {
            slot.state = State::Vacant;
        }
        news
    }

    pub(super) fn is_fresh(&self, slot: usize) -> bool {
        self.slots[slot].fresh || self.placement == Placement::Current
    }

    pub(super) fn first_unready(&self) -> Option<usize> {
        self.slots.iter().position(|slot| slot.state != State::Ready)
    }

    /// Nobody is at work.
    pub(super) fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.state == State::Vacant)
    }
}
