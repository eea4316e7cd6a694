//! Changes to a running pool: its settings and its number of acceptors. Each change is all or nothing.
//!
//! A handle sends [`ChangeSettings`] to the pool's actor, which validates, applies and stores the change.

use actix::prelude::*;
use tracing::{error, info, warn};

use super::{AcceptorPool, Placement};
use crate::acceptor::{AcceptorContext, Retire};
use crate::config::{Changed, Settings};
use crate::error::{InvalidSetting, SettingsError};
use crate::limits::{available_descriptors, Limits};
use crate::panic::catch_panic;
use crate::telemetry::PoolEvent;

/// Changes some settings.
#[derive(Message)]
#[rtype(result = "Result<Changed, SettingsError>")]
pub(super) struct ChangeSettings(pub(super) Box<dyn FnOnce(&mut Settings) + Send>);

impl Handler<ChangeSettings> for AcceptorPool {
    type Result = Result<Changed, SettingsError>;

    fn handle(&mut self, change: ChangeSettings, ctx: &mut Context<Self>) -> Self::Result {
        let Some(acceptors) = self.acceptors.clone().filter(|_| self.draining.is_none()) else {
            return Err(SettingsError::NotRunning);
        };
        let before = self.shared.settings();
        let mut settings = before.clone();
        if let Err(panic) = catch_panic(|| (change.0)(&mut settings)) {
            error!(pool = self.shared.name(), panic, "settings change panicked");
            return Err(SettingsError::Invalid(vec![InvalidSetting::new(
                "change",
                "the closure passed to `Pool::change` panicked",
            )]));
        }
        let invalid = settings.invalid_changes(&before);
        if !invalid.is_empty() {
            return Err(SettingsError::Invalid(invalid));
        }
        Ok(self.apply_settings(settings, &acceptors, ctx))
    }
}

impl AcceptorPool {
    /// Makes these settings the current ones. They must be valid.
    pub(super) fn apply_settings(
        &mut self,
        settings: Settings,
        acceptors: &AcceptorContext,
        ctx: &mut Context<Self>,
    ) -> Changed {
        let before = self.shared.settings();
        let changed = Changed::new(before.clone(), settings.clone());
        if changed.is_empty() {
            return changed;
        }
        info!(pool = self.shared.name(), %changed, "settings changed");
        self.restarts.set_budget(settings.max_restarts, settings.restart_window);
        let slots = Self::slots(&settings, self.slots.placement());
        self.shared.set_settings(settings.clone());
        let limits = self.shared.limits();
        if settings.max_connections != before.max_connections {
            let live = self.shared.registries().live();
            Self::set_max_connections(self.shared.name(), limits, settings.max_connections, 0, live);
        }
        self.shared.registries().shared().outbox_limit.set(&settings);
        limits.blocking().set_max(settings.max_blocking);
        if settings.at_limit != before.at_limit {
            // Wakes acceptors that wait for a permit: they may have to refuse peers now.
            acceptors.listeners().iter().for_each(|listener| listener.set_mode(listener.mode()));
        }
        self.set_slots(slots, ctx);
        self.shared.emit(|| PoolEvent::SettingsChanged { changed: &changed });
        changed
    }
}

impl AcceptorPool {
    /// The number of acceptors that these settings require.
    pub(crate) fn slots(settings: &Settings, placement: Placement) -> usize {
        settings.acceptors.unwrap_or_else(|| match placement {
            Placement::Current => 1,
            Placement::OwnArbiters => std::thread::available_parallelism().map_or(1, |cores| cores.get()),
        })
    }

    /// Sets the connection limit, lowered to what the limit of open files allows beside the descriptors that are open.
    /// `live` connections are among those; `acceptors` are yet to be started.
    pub(crate) fn set_max_connections(pool: &str, limits: &Limits, requested: usize, acceptors: usize, live: usize) {
        let available = available_descriptors(acceptors).map_or(usize::MAX, |free| free.saturating_add(live));
        if available < requested {
            warn!(pool, requested, available, "connection limit lowered to fit the limit of open files");
        }
        limits.set_max(requested.min(available), available.saturating_sub(requested));
    }

    /// Sets the number of acceptors. Surplus ones are stopped.
    fn set_slots(&mut self, count: usize, ctx: &mut Context<Self>) {
        let before = self.shared.registries().slots_in_use();
        self.shared.set_slots(count);
        while self.slots.len() < count {
            self.slots.add_slot();
        }
        for slot in before..count {
            if self.slots.is_vacant(slot) {
                self.start_acceptor(slot, ctx);
            }
        }
        for slot in count..before {
            if let Some(acceptor) = self.shared.acceptor(slot) {
                self.slots.retire(slot);
                acceptor.do_send(Retire);
            }
        }
        if let Some(acceptors) = self.acceptors.as_ref().filter(|_| count != before) {
            // Wakes the acceptors that have sockets of their own: the sockets are assigned to others now.
            let listeners = acceptors.listeners();
            let have_own = listeners.iter().filter(|listener| listener.transport.has_own_sockets());
            have_own.for_each(|listener| listener.set_mode(listener.mode()));
        }
    }
}
