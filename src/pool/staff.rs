//! The places of a pool: which arbiter each has, and whether an acceptor is at work there.

use std::io;
use std::sync::Arc;

use actix::prelude::*;

use crate::acceptor::{Acceptor, AcceptorContext, ExitGuard, Exited, Ready};
use crate::registry::run_tick;

/// Where acceptors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Housing {
    /// Each on an arbiter of its own.
    Arbiters,
    /// All on the pool's.
    Current,
}

pub(crate) struct Staff {
    housing: Housing,
    places: Vec<Place>,
}

#[derive(Default)]
struct Place {
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
    Hired,
    Ready,
}

impl Staff {
    pub(crate) fn new(housing: Housing, places: usize) -> Self {
        Staff { housing, places: (0..places).map(|_| Place::default()).collect() }
    }

    pub(super) fn housing(&self) -> Housing {
        self.housing
    }

    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    pub(super) fn hire(
        &mut self,
        place: usize,
        acceptors: Arc<AcceptorContext>,
        pool: (Recipient<Ready>, Recipient<Exited>),
    ) -> io::Result<()> {
        let Place { arbiter, fresh, generation, state, retired } = &mut self.places[place];
        let first = *generation == 0;
        *generation += 1;
        *state = State::Hired;
        *retired = false;
        let exit_guard = ExitGuard::new(place, *generation, pool);
        if self.housing == Housing::Current {
            if first {
                actix_rt::spawn(run_tick(acceptors.registries.of(place)));
            }
            Acceptor::new(place, acceptors, exit_guard.begun()).start();
            return Ok(());
        }
        // A dead arbiter takes nothing: what was to run there is dropped unseen, so ask before.
        if let Some(alive) = arbiter.as_ref().filter(|arbiter| arbiter.alive()) {
            *fresh = false;
            alive.spawn_fn(move || {
                Acceptor::new(place, acceptors, exit_guard.begun()).start();
            });
            return Ok(());
        }
        let new = Arbiter::try_new()?;
        *fresh = true;
        let registry = acceptors.registries.of(place);
        new.spawn_fn(move || {
            actix_rt::spawn(async move {
                run_tick(registry).await;
                // The pool is over and nobody is left here.
                Arbiter::current().stop();
            });
            Acceptor::new(place, acceptors, exit_guard.begun()).start();
        });
        *arbiter = Some(new);
        Ok(())
    }

    /// Places are added at the end.
    pub(super) fn add_place(&mut self) {
        self.places.push(Place::default());
    }

    /// Whether the place has no acceptor.
    pub(super) fn is_vacant(&self, place: usize) -> bool {
        self.places[place].state == State::Vacant
    }

    /// The acceptor there was told to go: that it goes is no death.
    pub(super) fn retire(&mut self, place: usize) {
        self.places[place].retired = true;
    }

    pub(super) fn was_retired(&self, place: usize) -> bool {
        self.places[place].retired
    }

    /// True if that is news.
    pub(super) fn ready(&mut self, place: usize, generation: u64) -> bool {
        let place = &mut self.places[place];
        let news = place.generation == generation && place.state == State::Hired;
        if news {
            place.state = State::Ready;
        }
        news
    }

    /// True if that is news.
    pub(super) fn left(&mut self, place: usize, generation: u64) -> bool {
        let place = &mut self.places[place];
        let news = place.generation == generation && place.state != State::Vacant;
        if news {
            place.state = State::Vacant;
        }
        news
    }

    pub(super) fn is_fresh(&self, place: usize) -> bool {
        self.places[place].fresh || self.housing == Housing::Current
    }

    pub(super) fn first_unready(&self) -> Option<usize> {
        self.places.iter().position(|place| place.state != State::Ready)
    }

    /// Nobody is at work.
    pub(super) fn is_idle(&self) -> bool {
        self.places.iter().all(|place| place.state == State::Vacant)
    }
}
