//! Applies a new configuration to a running pool: settings, listeners, framing and drain, all or none.
//!
//! ```text
//! settings valid? ─▶ framing? ─▶ listeners opened ─▶ settings ─▶ listeners ─▶ framing ─▶ drain
//! └───── any error: nothing has changed ────────┘    └───────────── cannot fail ────────────┘
//! ```

use std::fmt;

use actix::prelude::*;
use futures::future::{ready, OptionFuture};

use super::listeners::when_closed;
use super::{AcceptorPool, ListenersChanged};
use crate::config::{Changed, DrainConfig, SettingChange, SettingsPatch};
use crate::error::{InvalidSetting, StartError};
use crate::framing::Framing;
use crate::listener::Listener;

/// What [`Pool::reload`](crate::Pool::reload) changed.
///
/// Displayed as one line for a log.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Reloaded {
    /// The settings whose value has changed.
    pub settings: Changed,
    /// The listeners that were opened, closed or changed.
    pub listeners: ListenersChanged,
    /// The framing of new connections, if it has changed.
    pub framing: Option<SettingChange>,
    /// The grace period and delay of [`Drain::configured`](crate::Drain::configured), if they have changed.
    pub drain: Option<SettingChange>,
}

impl Reloaded {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.listeners.is_empty() && self.framing.is_none() && self.drain.is_none()
    }
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners = [
            ("added", &self.listeners.added),
            ("removed", &self.listeners.removed),
            ("changed", &self.listeners.changed),
        ];
        let settings = self.settings.settings();
        let parts: Vec<_> = settings
            .iter()
            .chain(&self.framing)
            .chain(&self.drain)
            .map(SettingChange::to_string)
            .chain(
                listeners
                    .into_iter()
                    .filter(|(_, names)| !names.is_empty())
                    .map(|(what, names)| format!("listeners {what}: {}", names.join(" "))),
            )
            .collect();
        f.write_str(if parts.is_empty() { "nothing changed" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// Applies a configuration.
#[derive(Message)]
#[rtype(result = "Result<Reloaded, Refused>")]
pub(crate) struct Reload {
    pub(crate) settings: SettingsPatch,
    pub(crate) listeners: Option<Vec<Listener>>,
    pub(crate) framing: Option<Box<dyn FnOnce(Framing) -> Framing + Send>>,
    pub(crate) drain: DrainConfig,
}

/// Why a configuration was not applied.
pub(crate) enum Refused {
    Settings(Vec<InvalidSetting>),
    /// The handler has no framing, or one that depends on the peer, or making it panicked.
    NoFraming,
    Listeners(StartError),
    NotRunning,
}

impl Handler<Reload> for AcceptorPool {
    type Result = AtomicResponse<Self, Result<Reloaded, Refused>>;

    fn handle(&mut self, reload: Reload, _: &mut Context<Self>) -> Self::Result {
        let checked = self.check(reload.settings, reload.framing);
        let listeners = reload.listeners.filter(|_| checked.is_ok());
        let slots = checked.as_ref().map_or(0, |(settings, _)| Self::slots(settings, self.slots.placement()));
        let opening = OptionFuture::from(listeners.map(|listeners| self.open_replacement(listeners, slots)));
        let drain = reload.drain;
        let reloaded = opening.into_actor(self).map(move |opened, pool, ctx| {
            let (settings, framing) = checked?;
            let opened = opened.transpose().map_err(Refused::Listeners)?;
            let acceptors = pool.acceptors.clone().ok_or(Refused::NotRunning)?;
            let settings = pool.apply_settings(settings, &acceptors, ctx);
            let (listeners, closing) = opened
                .map(|opened| pool.replace_listeners(opened))
                .unwrap_or_else(|| (ListenersChanged::default(), Box::pin(ready(()))));
            let framing = framing.and_then(|(old, new)| {
                if let Some(service) = pool.shared.services().of_builder() {
                    service.spawner().set_framing(new.clone());
                }
                change("framing", &Shown(&old), &Shown(&new))
            });
            let (old, mut new) = (pool.shared.drain_config(), pool.shared.drain_config());
            new.apply(drain);
            pool.shared.set_drain_config(new);
            Ok((Reloaded { settings, listeners, framing, drain: change("drain", &old, &new) }, closing))
        });
        AtomicResponse::new(Box::pin(reloaded.then(|reloaded, pool, _| when_closed(reloaded).into_actor(pool))))
    }
}

impl AcceptorPool {
    /// The new settings, and the current and the new framing.
    #[allow(clippy::type_complexity)]
    fn check(
        &self,
        patch: SettingsPatch,
        change_framing: Option<Box<dyn FnOnce(Framing) -> Framing + Send>>,
    ) -> Result<(crate::config::Settings, Option<(Framing, Framing)>), Refused> {
        let is_running = self.acceptors.is_some() && self.draining.is_none();
        let service = self.shared.services().of_builder().filter(|_| is_running).ok_or(Refused::NotRunning)?;
        let before = self.shared.settings();
        let mut settings = before.clone();
        settings.apply(patch);
        let invalid = settings.invalid_changes(&before);
        if !invalid.is_empty() {
            return Err(Refused::Settings(invalid));
        }
        let Some(change_framing) = change_framing else { return Ok((settings, None)) };
        let current = service.framing().ok_or(Refused::NoFraming)?;
        let changed = change_framing(current.clone());
        Ok((settings, Some((current, changed))))
    }
}

/// Shows a framing with its limit.
struct Shown<'a>(&'a Framing);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, max_frame {}", self.0, self.0.max_frame())
    }
}

/// The change from one value to another; `None` if they are displayed alike.
fn change(setting: &'static str, old: &impl fmt::Display, new: &impl fmt::Display) -> Option<SettingChange> {
    Some(SettingChange::of_texts(setting, old, new)).filter(|change| change.old != change.new)
}
