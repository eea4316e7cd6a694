//! The acceptor slots of a pool: the arbiter of each, and the state of its acceptor.
//!
//! [`AcceptorPool`](super::AcceptorPool) starts an acceptor per slot. Each acceptor reports with [`Ready`] and [`Exited`],
//! numbered by a generation, so that reports of earlier acceptors of the slot are ignored.

use std::io;
use std::sync::Arc;

use actix::prelude::*;

use super::arbiter::AcceptorArbiter;
use crate::acceptor::{Acceptor, AcceptorContext, ExitGuard, Exited, Ready};
use crate::registry::run_tick;

/// On which arbiters acceptors run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Each on its own arbiter.
    OwnArbiters,
    /// All on the pool's arbiter.
    Current,
}

/// The slots, in the order of their numbers. They are never removed.
pub(super) struct AcceptorSlots {
    placement: Placement,
    slots: Vec<Slot>,
    /// Arbiters that have stopped and were replaced, until their threads end.
    replaced: Vec<AcceptorArbiter>,
}

#[derive(Default)]
struct Slot {
    arbiter: Option<AcceptorArbiter>,
    /// Whether the arbiter was started for the current acceptor.
    has_new_arbiter: bool,
    /// The number of acceptors started in this slot.
    generation: u64,
    state: SlotState,
    /// Whether the acceptor was asked to stop.
    is_retired: bool,
}

#[derive(Default, PartialEq, Eq)]
enum SlotState {
    #[default]
    Vacant,
    Starting,
    Ready,
}

impl AcceptorSlots {
    pub(super) fn new(placement: Placement, count: usize) -> Self {
        AcceptorSlots { placement, slots: (0..count).map(|_| Slot::default()).collect(), replaced: Vec::new() }
    }

    pub(super) fn placement(&self) -> Placement {
        self.placement
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Starts an acceptor in the slot, on the slot's arbiter if that is alive, else on a new one.
    ///
    /// # Errors
    /// The arbiter could not be started. The slot is vacant then.
    pub(super) fn start_acceptor(
        &mut self,
        slot: usize,
        acceptors: Arc<AcceptorContext>,
        pool: (Recipient<Ready>, Recipient<Exited>),
    ) -> io::Result<()> {
        let Slot { arbiter, has_new_arbiter, generation, state, is_retired } = &mut self.slots[slot];
        let is_first = *generation == 0;
        *generation += 1;
        *state = SlotState::Starting;
        *is_retired = false;
        let exit_guard = ExitGuard::new(slot, *generation, pool);
        if self.placement == Placement::Current {
            if is_first {
                actix_rt::spawn(run_tick(acceptors.registries.of(slot)));
            }
            Acceptor::new(slot, acceptors, exit_guard.started()).spawn();
            return Ok(());
        }
        // Checked first: a dead arbiter drops the closure without running it.
        if let Some(alive) = arbiter.as_ref().filter(|arbiter| arbiter.is_alive()) {
            *has_new_arbiter = false;
            alive.spawn_fn(move || {
                Acceptor::new(slot, acceptors, exit_guard.started()).spawn();
            });
            return Ok(());
        }
        let new = AcceptorArbiter::start(&acceptors.name, slot).inspect_err(|_| *state = SlotState::Vacant)?;
        *has_new_arbiter = true;
        let registry = acceptors.registries.of(slot);
        new.spawn_fn(move || {
            actix_rt::spawn(async move {
                run_tick(registry).await;
                // The pool has ended and no connection is left on this arbiter.
                Arbiter::current().stop();
            });
            Acceptor::new(slot, acceptors, exit_guard.started()).spawn();
        });
        self.replaced.extend(arbiter.replace(new));
        for finished in self.replaced.extract_if(.., |arbiter| arbiter.is_finished()) {
            finished.join();
        }
        Ok(())
    }

    /// Takes the arbiters, so that they can be joined.
    pub(super) fn take_arbiters(&mut self) -> Vec<AcceptorArbiter> {
        let mut arbiters = std::mem::take(&mut self.replaced);
        arbiters.extend(self.slots.iter_mut().filter_map(|slot| slot.arbiter.take()));
        arbiters
    }

    /// Adds a vacant slot at the end.
    pub(super) fn add_slot(&mut self) {
        self.slots.push(Slot::default());
    }

    /// Whether the slot has no acceptor.
    pub(super) fn is_vacant(&self, slot: usize) -> bool {
        self.slots[slot].state == SlotState::Vacant
    }

    /// Records that the acceptor was asked to stop, so that its end does not count as a failure.
    pub(super) fn retire(&mut self, slot: usize) {
        self.slots[slot].is_retired = true;
    }

    pub(super) fn is_retired(&self, slot: usize) -> bool {
        self.slots[slot].is_retired
    }

    /// Records that the acceptor of this generation is ready. Returns `false` if it was already, or another acceptor
    /// has taken the slot.
    pub(super) fn set_ready(&mut self, slot: usize, generation: u64) -> bool {
        let slot = &mut self.slots[slot];
        let is_current = slot.generation == generation && slot.state == SlotState::Starting;
        if is_current {
            slot.state = SlotState::Ready;
        }
        is_current
    }

    /// Records that the acceptor of this generation has ended. Returns `false` if it had already, or another acceptor
    /// has taken the slot.
    pub(super) fn set_vacant(&mut self, slot: usize, generation: u64) -> bool {
        let slot = &mut self.slots[slot];
        let is_current = slot.generation == generation && slot.state != SlotState::Vacant;
        if is_current {
            slot.state = SlotState::Vacant;
        }
        is_current
    }

    /// Whether the arbiter was started for the current acceptor. The pool's own arbiter always counts as such.
    pub(super) fn has_new_arbiter(&self, slot: usize) -> bool {
        self.slots[slot].has_new_arbiter || self.placement == Placement::Current
    }

    /// The first slot whose acceptor is not ready.
    pub(super) fn first_unready(&self) -> Option<usize> {
        self.slots.iter().position(|slot| slot.state != SlotState::Ready)
    }

    /// Whether no slot has an acceptor.
    pub(super) fn is_idle(&self) -> bool {
        self.slots.iter().all(|slot| slot.state == SlotState::Vacant)
    }
}
