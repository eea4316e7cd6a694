//! Opening listeners: all of them or none.

use std::io;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::bind::open_all;
#[cfg(unix)]
use super::Unix;
use super::{open_first, resolve, Listener, ListenerState, SocketOptions, Source, Transport};
use crate::error::{InvalidSetting, StartError};
use crate::handshake::Handshake;
use crate::limits::{Limits, ListenerLimits};
use crate::net::Address;
#[cfg(unix)]
use crate::net::UnixAddress;

/// Opens all listeners or none; the error names every failure.
///
/// A listener of `old` with the same address stays open as it is. `limit` bounds each name lookup.
pub(crate) async fn open_listeners(
    listeners: Vec<Listener>,
    limits: &Arc<Limits>,
    limit: Duration,
    old: &[Arc<ListenerState>],
) -> Result<Vec<Arc<ListenerState>>, StartError> {
    let invalid = listeners.iter().filter_map(Listener::invalid_setting).map(StartError::from).collect();
    StartError::all(invalid).map_or(Ok(()), Err)?;
    let (mut states, mut failures) = (Vec::<Arc<ListenerState>>::with_capacity(listeners.len()), Vec::new());
    for listener in listeners {
        match listener.open(limits, limit, old).await {
            // Two descriptions of the same open address share one state.
            Ok(opened) => opened.into_iter().for_each(|state| {
                if !states.iter().any(|other| Arc::ptr_eq(other, &state)) {
                    states.push(state);
                }
            }),
            Err(error) => failures.push(error),
        }
    }
    StartError::all(failures).map_or(Ok(states), Err)
}

impl Listener {
    /// The first setting that can be found invalid before anything is opened.
    fn invalid_setting(&self) -> Option<InvalidSetting> {
        let no_connections = (self.max_connections == Some(0))
            .then(|| InvalidSetting::new("max_connections", "must be at least 1 (got 0)"));
        let invalid = no_connections.or_else(|| self.invalid.clone());
        let invalid = invalid.or_else(|| self.options.invalid_setting(self.source.kind()))?;
        let name = self.name.as_ref().map_or_else(|| self.source.to_string(), |name| name.to_string());
        Some(InvalidSetting::new(invalid.setting, format!("listener {name:?}: {}", invalid.why)))
    }

    async fn open(
        self,
        limits: &Arc<Limits>,
        limit: Duration,
        old: &[Arc<ListenerState>],
    ) -> Result<Vec<Arc<ListenerState>>, StartError> {
        let Listener { name, max_connections, proxy, steps, source, options, .. } = self;
        let opening = Opening { name, max_connections, proxy, steps, limits, old };
        match source {
            Source::Tcp(requested) => opening.tcp(&requested, limit, &options).await,
            Source::TcpAll(requested) => opening.tcp_all(&requested, limit, options).await,
            #[cfg(unix)]
            Source::Unix(path) => opening.unix(&path, options),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::UnixAbstract(name) => opening.unix_abstract(&name, options),
            Source::Inherited(socket) => {
                let failed = system_error(socket.to_string());
                Ok(vec![opening.state(socket.open(options).map_err(failed)?)])
            }
            Source::Transport(transport) => Ok(vec![opening.state(transport)]),
        }
    }
}

/// One listener that is being opened.
struct Opening<'a> {
    name: Option<Arc<str>>,
    max_connections: Option<usize>,
    proxy: Option<Arc<dyn Handshake>>,
    steps: Vec<Arc<dyn Handshake>>,
    limits: &'a Arc<Limits>,
    old: &'a [Arc<ListenerState>],
}

impl Opening<'_> {
    async fn tcp(
        &self,
        requested: &str,
        limit: Duration,
        options: &SocketOptions,
    ) -> Result<Vec<Arc<ListenerState>>, StartError> {
        let addresses = resolve(requested, requested, limit).await?;
        if let Some(kept) = addresses.iter().find_map(|address| self.find(&Address::Tcp(*address))) {
            return self.keep(vec![kept]);
        }
        Ok(vec![self.state(Box::new(open_first(&addresses, requested, options)?))])
    }

    async fn tcp_all(
        &self,
        requested: &str,
        limit: Duration,
        options: SocketOptions,
    ) -> Result<Vec<Arc<ListenerState>>, StartError> {
        let addresses = resolve(requested, requested, limit).await?;
        let (mut kept, mut new) = (Vec::new(), Vec::new());
        for address in addresses {
            match self.find(&Address::Tcp(address)) {
                Some(state) => kept.push(state),
                None => new.push(address),
            }
        }
        let mut states = self.keep(kept)?;
        let opened = open_all(&new, requested, options)?;
        states.extend(opened.into_iter().map(|tcp| self.state(Box::new(tcp))));
        Ok(states)
    }

    #[cfg(unix)]
    fn unix(&self, path: &Path, options: SocketOptions) -> Result<Vec<Arc<ListenerState>>, StartError> {
        let address = std::path::absolute(path).map(UnixAddress::path).map(Address::Unix);
        if let Some(kept) = address.ok().and_then(|address| self.find(&address)) {
            return self.keep(vec![kept]);
        }
        let unix = Unix::open_file(path, options).map_err(system_error(path.display().to_string()))?;
        Ok(vec![self.state(Box::new(unix))])
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn unix_abstract(&self, name: &[u8], options: SocketOptions) -> Result<Vec<Arc<ListenerState>>, StartError> {
        let address = Address::Unix(UnixAddress::abstract_name(name));
        if let Some(kept) = self.find(&address) {
            return self.keep(vec![kept]);
        }
        let unix = Unix::open_abstract(name, options).map_err(system_error(address.to_string()))?;
        Ok(vec![self.state(Box::new(unix))])
    }

    /// The listener that is already open at this address.
    fn find(&self, address: &Address) -> Option<Arc<ListenerState>> {
        self.old.iter().find(|state| state.transport.local_addr() == *address).cloned()
    }

    /// Keeps listeners that are already open, if they have the requested limit and handshake.
    ///
    /// An open listener does not change its handshake: one without TLS must not be taken for one with TLS.
    fn keep(&self, kept: Vec<Arc<ListenerState>>) -> Result<Vec<Arc<ListenerState>>, StartError> {
        let steps = self.steps.len() + usize::from(self.proxy.is_some());
        let differs = |state: &&Arc<ListenerState>| {
            state.steps.len() != steps || self.max_connections.is_some_and(|max| state.limits.max() != Some(max))
        };
        match kept.iter().find(differs) {
            None => Ok(kept),
            Some(state) => {
                let address = state.transport.local_addr();
                let why = format!(
                    "{address} is already open with another connection limit or another handshake; remove it first"
                );
                Err(InvalidSetting::new("listener", why).into())
            }
        }
    }

    fn state(&self, transport: Box<dyn Transport>) -> Arc<ListenerState> {
        let name = self.name.clone().unwrap_or_else(|| transport.local_addr().to_string().into());
        let proxy = self.proxy.clone().into_iter();
        let steps = proxy.chain(transport.handshake()).chain(self.steps.clone()).collect();
        ListenerState::new(transport, ListenerLimits::new(name, self.max_connections, self.limits.clone()), steps)
    }
}

fn system_error(what: String) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::SystemError { what, source }
}
