//! [`ListenerChange`], the requested settings of a listener that stays open: checked first, then applied.

use std::sync::Arc;

use super::change_options::OptionError;
use super::{ListenerService, ListenerState, Place, SocketOptions, Steps};
use crate::config::Rate;
use crate::error::StartError;
use crate::handshake::Step;
use crate::limits::Env;
use crate::panic::Guarded;

/// A listener that stays open, and its new settings.
pub(crate) struct ListenerChange {
    listener: Arc<ListenerState>,
    place: Place,
    name: Arc<str>,
    max_connections: Option<usize>,
    accept_rate: Option<Rate>,
    env: Option<Env>,
    service: Arc<ListenerService>,
    steps: Guarded<Steps>,
    options: SocketOptions,
    before: Arc<SocketOptions>,
}

impl ListenerChange {
    /// # Errors
    /// An option that cannot be changed while the socket is open. Nothing has changed.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        listener: Arc<ListenerState>,
        place: Place,
        name: Option<Arc<str>>,
        max_connections: Option<usize>,
        service: Arc<ListenerService>,
        proxy: Option<Step>,
        steps: Vec<Step>,
        options: SocketOptions,
    ) -> Result<Self, StartError> {
        let name = name.unwrap_or_else(|| listener.address().to_string().into());
        let steps = Guarded::new(Steps::new(proxy, listener.transport_steps(), steps));
        let before = listener.transport.options();
        let accept_rate = listener.limits.rate();
        let change = ListenerChange {
            listener,
            place,
            name,
            max_connections,
            accept_rate,
            env: None,
            service,
            steps,
            options,
            before,
        };
        match change.listener.transport.check_options(&change.options) {
            Ok(()) => Ok(change),
            Err(error) => Err(change.error(error)),
        }
    }

    /// Sets the rate. Without this call it does not change.
    pub(super) fn with_rate(mut self, rate: Option<Rate>) -> Self {
        self.accept_rate = rate;
        self
    }

    /// Sets the value for new connections. Without this call there is none.
    pub(super) fn with_env(self, env: Option<Env>) -> Self {
        ListenerChange { env, ..self }
    }

    pub(crate) fn listener(&self) -> &Arc<ListenerState> {
        &self.listener
    }

    /// Applies everything but the options of the socket. Returns whether anything has changed.
    pub(crate) fn apply(self) -> bool {
        let current = self.listener.current();
        let renamed = *current.limits.name() != self.name;
        let limited = self.listener.limits.max() != self.max_connections;
        let stepped = !self.steps.is_alike(&current.steps);
        let rated = self.listener.limits.rate() != self.accept_rate;
        let served = !Arc::ptr_eq(&self.service, &current.service);
        let has_env = current.limits.has_env(&self.env);
        let is_changed = renamed || !has_env || limited || rated || stepped || served || self.changes_options();
        // Steps that are only alike are replaced as well: the caller may reload the new ones.
        if is_changed || !self.steps.is_same(&current.steps) {
            self.listener.replace(self.name, self.env, self.service, self.steps, is_changed);
        }
        if rated {
            self.listener.limits.set_rate(self.accept_rate);
        }
        // Last: a raised limit wakes acceptors, and the connections that they accept then must get the new name and steps.
        if limited {
            self.listener.limits.set_max(self.max_connections);
        }
        is_changed
    }

    fn changes_options(&self) -> bool {
        self.listener.transport.changes(&self.before, &self.options)
    }

    fn set_options(&self) -> Result<(), StartError> {
        self.listener.transport.set_options(&self.before, &self.options).map_err(|error| {
            self.reset_options();
            self.error(error)
        })
    }

    /// Restores the options, as far as the system allows it.
    fn reset_options(&self) {
        let _ = self.listener.transport.set_options(&self.options, &self.before);
    }

    /// The error with the name of the listener.
    fn error(&self, error: OptionError) -> StartError {
        match error {
            OptionError::Invalid(invalid) => self.place.invalid(invalid),
            OptionError::System(setting, source) => self.place.rejected(setting, source),
        }
    }
}

/// Changes the options of all open sockets or of none.
pub(crate) fn set_all_options(changes: &[ListenerChange]) -> Result<(), StartError> {
    let changes: Vec<_> = changes.iter().filter(|change| change.changes_options()).collect();
    for (index, change) in changes.iter().enumerate() {
        if let Err(error) = change.set_options() {
            changes[..index].iter().for_each(|change| change.reset_options());
            return Err(error);
        }
    }
    Ok(())
}
