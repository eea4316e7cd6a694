//! Changes to a running pool: its settings, its number of acceptors, its listeners. Each change is all or nothing.
//!
//! A handle sends [`ChangeSettings`] or [`SetListeners`] to the pool's actor, which validates, applies and stores the change.

use std::future::Future;
use std::sync::Arc;

use actix::prelude::*;
use tracing::{error, info, warn};

use super::suspend::close_all;
use super::{AcceptorPool, ListenersChanged, Placement, Status};
use crate::acceptor::{AcceptorContext, AddListeners, Retire};
use crate::config::{Changed, Settings};
use crate::error::{InvalidSetting, SettingsError, StartError};
use crate::limits::{available_descriptors, Limits};
use crate::listener::{open_listeners, Listener};
use crate::listener::{ListenerMode, ListenerState};
use crate::panic::catch_panic;

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
    /// Makes these settings, which are valid, the current ones.
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
        if settings.at_limit != before.at_limit {
            // Wakes acceptors that wait for a permit: they may have to refuse peers now.
            acceptors.listeners().iter().for_each(|listener| listener.set_mode(listener.mode()));
        }
        self.set_slots(slots, ctx);
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
    }
}

/// Replaces the listeners.
#[derive(Message)]
#[rtype(result = "Result<ListenersChanged, StartError>")]
pub(super) struct SetListeners(pub(super) Vec<Listener>);

/// The listeners of the list, all open.
pub(super) struct Replacement {
    all: Vec<Arc<ListenerState>>,
    added: Vec<Arc<ListenerState>>,
}

impl Handler<SetListeners> for AcceptorPool {
    type Result = AtomicResponse<Self, Result<ListenersChanged, StartError>>;

    /// Opens the new listeners, all or none, then closes the old ones.
    fn handle(&mut self, message: SetListeners, _: &mut Context<Self>) -> Self::Result {
        let opening = self.open_replacement(message.0);
        AtomicResponse::new(Box::pin(
            opening.into_actor(self).map(|opened, pool, _| opened.map(|opened| pool.replace_listeners(opened))),
        ))
    }
}

impl AcceptorPool {
    /// Opens the listeners that are not open yet, all or none.
    pub(super) fn open_replacement(
        &self,
        listeners: Vec<Listener>,
    ) -> impl Future<Output = Result<Replacement, StartError>> + 'static {
        let acceptors = self.acceptors.clone().filter(|_| self.draining.is_none());
        let (limits, limit, status) = (self.shared.limits().clone(), self.start_timeout, self.shared.status());
        async move {
            let Some(acceptors) = acceptors else { return Err(StartError::ListenerClosed) };
            if listeners.is_empty() {
                let invalid = InvalidSetting::new("listener", "at least one is required (got none)");
                return Err(StartError::InvalidSetting(invalid));
            }
            let old = acceptors.listeners();
            let all = open_listeners(listeners, &limits, limit, &old).await?;
            let added: Vec<_> = all.iter().filter(|listener| !contains(&old, listener)).cloned().collect();
            if let Status::Suspended(mode) = status {
                close_all(added.clone(), mode, ListenerMode::Accepting).await?;
            }
            Ok(Replacement { all, added })
        }
    }

    pub(super) fn replace_listeners(&mut self, Replacement { all, added }: Replacement) -> ListenersChanged {
        let Some(acceptors) = &self.acceptors else { return ListenersChanged::default() };
        let old = acceptors.listeners();
        let names = |listeners: &[Arc<ListenerState>]| {
            listeners.iter().map(|listener| listener.limits.name().to_string()).collect()
        };
        let kept: Vec<_> = all.iter().filter(|listener| contains(&old, listener)).cloned().collect();
        let removed: Vec<_> = old.iter().filter(|listener| !contains(&all, listener)).cloned().collect();
        let backlog_on_close = self.shared.settings().backlog_on_close;
        acceptors.set_listeners(all.clone());
        for acceptor in self.shared.acceptor_addresses() {
            acceptor.do_send(AddListeners(all.clone()));
        }
        for listener in &removed {
            listener.set_mode(ListenerMode::Removed(backlog_on_close));
        }
        if self.shared.status() == Status::Running {
            all.iter().for_each(|listener| self.shared.emit_opened(listener));
        }
        self.shared.set_listeners(all);
        let changed = ListenersChanged {
            added: names(&added),
            removed: names(&removed),
            changed: Vec::new(),
            unchanged: names(&kept),
        };
        if !changed.is_empty() {
            info!(pool = self.shared.name(), added = added.len(), removed = removed.len(), "listeners replaced");
        }
        changed
    }
}

fn contains(listeners: &[Arc<ListenerState>], listener: &Arc<ListenerState>) -> bool {
    listeners.iter().any(|other| Arc::ptr_eq(other, listener))
}
