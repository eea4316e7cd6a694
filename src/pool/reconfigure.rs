//! Settings changed while the pool runs: checked as a whole, all or nothing.

use std::sync::Arc;

use actix::prelude::*;
use tracing::{error, info, warn};

use super::suspend::close_all;
use super::{AcceptorPool, Placement, Status};
use crate::acceptor::{AddListeners, Retire};
use crate::config::Settings;
use crate::error::{InvalidSetting, SettingsError, StartError};
use crate::limits::{available_descriptors, Limits};
use crate::listener::{open_listeners, Listener};
use crate::listener::{ListenerMode, ListenerState};
use crate::panic::catch_panic;

/// Changes some settings.
#[derive(Message)]
#[rtype(result = "Result<(), SettingsError>")]
pub(super) struct ChangeSettings(pub(super) Box<dyn FnOnce(&mut Settings) + Send>);

impl Handler<ChangeSettings> for AcceptorPool {
    type Result = Result<(), SettingsError>;

    fn handle(&mut self, change: ChangeSettings, ctx: &mut Context<Self>) -> Self::Result {
        let Some(acceptors) = self.acceptors.clone().filter(|_| self.draining.is_none()) else {
            return Err(SettingsError::NotRunning);
        };
        let before = self.shared.settings();
        let mut settings = before.clone();
        if let Err(panic) = catch_panic(|| (change.0)(&mut settings)) {
            error!(pool = self.shared.name(), panic, "a change of the settings panicked");
            return Err(SettingsError::Invalid(vec![InvalidSetting::new("change", "the closure panicked")]));
        }
        let invalid = settings.invalid_changes(&before);
        if !invalid.is_empty() {
            return Err(SettingsError::Invalid(invalid));
        }
        if settings == before {
            return Ok(());
        }
        info!(pool = self.shared.name(), "settings changed");
        self.restarts.set_budget(settings.max_restarts, settings.restart_window);
        let slots = Self::slots(&settings, self.slots.placement());
        let at_limit = settings.at_limit;
        let max_connections = settings.max_connections;
        self.shared.set_settings(settings);
        let limits = self.shared.limits();
        if max_connections != before.max_connections {
            let live = self.shared.registries().live();
            Self::set_max_connections(self.shared.name(), limits, max_connections, 0, live);
        }
        if at_limit != before.at_limit {
            // Whoever waits for room may have to turn peers away now.
            acceptors.listeners().iter().for_each(|state| state.set_mode(state.mode()));
        }
        self.set_slots(slots, ctx);
        Ok(())
    }
}

/// How many of the descriptors that stay free for the rest of the program may be taken by peers that are held.
const HELD_OF_SPARE: usize = 8;

impl AcceptorPool {
    pub(crate) fn slots(settings: &Settings, placement: Placement) -> usize {
        settings.acceptors.unwrap_or_else(|| match placement {
            Placement::Current => 1,
            Placement::OwnArbiters => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        })
    }

    /// Sets the limit, or as much of it as the limit of open files leaves room for beside what is open. `live`
    /// connections are among those.
    pub(crate) fn set_max_connections(pool: &str, limits: &Limits, asked: usize, acceptors: usize, live: usize) {
        let room = available_descriptors(acceptors).map(|room| room.saturating_add(live)).unwrap_or(usize::MAX);
        if room < asked {
            warn!(pool, asked, room, "the limit of open files leaves room for fewer connections");
        }
        limits.set_max(asked.min(room), room.saturating_sub(asked).saturating_add(HELD_OF_SPARE));
    }

    /// So many acceptors from now on; those beyond go.
    fn set_slots(&mut self, slots: usize, ctx: &mut Context<Self>) {
        let before = self.shared.registries().slots_in_use();
        self.shared.slots(slots);
        while self.slots.slots() < slots {
            self.slots.add_slot();
        }
        for slot in before..slots {
            if self.slots.is_vacant(slot) {
                self.start_acceptor(slot, ctx);
            }
        }
        for slot in slots..before {
            if let Some(acceptor) = self.shared.acceptor(slot) {
                self.slots.retire(slot);
                acceptor.do_send(Retire);
            }
        }
    }
}

/// Listens elsewhere.
#[derive(Message)]
#[rtype(result = "Result<(), StartError>")]
pub(super) struct SetListeners(pub(super) Vec<Listener>);

impl Handler<SetListeners> for AcceptorPool {
    type Result = AtomicResponse<Self, Result<(), StartError>>;

    /// The new ports open first, all or none; then the old ones close.
    fn handle(&mut self, message: SetListeners, _: &mut Context<Self>) -> Self::Result {
        let acceptors = self.acceptors.clone().filter(|_| self.draining.is_none());
        let (limits, limit, status) = (self.shared.limits().clone(), self.start_timeout, self.shared.status());
        let old = acceptors.as_ref().map(|acceptors| acceptors.listeners()).unwrap_or_default();
        let opening = async move {
            let Some(acceptors) = acceptors else { return Err(StartError::ListenerClosed) };
            if message.0.is_empty() {
                return Err(StartError::InvalidSetting(InvalidSetting::new("listener", "there is none")));
            }
            let states = open_listeners(message.0, &limits, limit, &old).await?;
            let is_new = |state: &&Arc<ListenerState>| !old.iter().any(|other| Arc::ptr_eq(other, state));
            let new: Vec<_> = states.iter().filter(is_new).cloned().collect();
            if let Status::Suspended(how) = status {
                close_all(new.clone(), how).await?;
            }
            Ok((acceptors, states, old))
        };
        AtomicResponse::new(Box::pin(opening.into_actor(self).map(|opened, pool, _| {
            let (acceptors, states, old) = opened?;
            let backlog_on_close = pool.shared.settings().backlog_on_close;
            acceptors.set_listeners(states.clone());
            for acceptor in pool.shared.acceptor_addresses() {
                acceptor.do_send(AddListeners(states.clone()));
            }
            for gone in old.iter().filter(|state| !states.iter().any(|other| Arc::ptr_eq(other, state))) {
                gone.set_mode(ListenerMode::Removed(backlog_on_close));
            }
            if pool.shared.status() == Status::Running {
                states.iter().for_each(|state| pool.shared.emit_opened(state));
            }
            pool.shared.set_listener_states(states);
            info!(pool = pool.shared.name(), "listens elsewhere");
            Ok(())
        })))
    }
}
