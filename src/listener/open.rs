//! Opening listeners: all of them or none.

use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::bind::open_all;
#[cfg(unix)]
use super::Unix;
use super::{
    open_first, resolve, BuilderServices, Listener, ListenerChange, ListenerService, ListenerState, NamedServices,
    OpenTransport, Place, SocketOptions, Source,
};
use crate::config::{valid_rate, Rate};
use crate::error::{with_sources, InvalidSetting, StartError};
use crate::handshake::Step;
use crate::limits::{Env, Limits, ListenerLimits};
use crate::net::Address;
#[cfg(unix)]
use crate::net::UnixAddress;

/// A listener of the new list.
pub(crate) enum Opened {
    New(Arc<ListenerState>),
    /// It was open already.
    Kept(Box<ListenerChange>),
}

impl Opened {
    pub(crate) fn listener(&self) -> &Arc<ListenerState> {
        match self {
            Opened::New(listener) => listener,
            Opened::Kept(change) => change.listener(),
        }
    }
}

/// Opens all listeners or none; the error names every failure.
///
/// A listener of `old` with the same address stays open; its changes are checked and not yet applied. `limit` bounds each
/// name lookup. Each listener selects one of the services. `acceptors` is the number of acceptors of the pool.
pub(crate) async fn open_listeners(
    listeners: Vec<Listener>,
    services: &BuilderServices,
    limits: &Arc<Limits>,
    limit: Duration,
    old: &[Arc<ListenerState>],
    acceptors: usize,
) -> Result<Vec<Opened>, StartError> {
    let invalid = listeners.iter().flat_map(|listener| listener.invalid_settings(&services.named)).collect();
    StartError::all(invalid).map_or(Ok(()), Err)?;
    let (mut all, mut failures) = (Vec::<Opened>::with_capacity(listeners.len()), Vec::new());
    for listener in listeners {
        match listener.open(services, limits, limit, old, &all, acceptors).await {
            Ok(opened) => all.extend(opened),
            Err(error) => failures.push(error),
        }
    }
    StartError::all(failures).map_or(Ok(all), Err)
}

impl Listener {
    /// The key that errors name, in a configuration of this file.
    pub(crate) fn at_key(mut self, file: Option<PathBuf>, key: String) -> Self {
        self.key = Some(Place::Key { file, key });
        self
    }

    fn place(&self) -> Place {
        let name = || self.name.as_ref().map_or_else(|| self.source.to_string(), |name| name.to_string());
        self.key.clone().unwrap_or_else(|| Place::Name(name()))
    }

    /// The settings that can be found invalid before anything is opened.
    pub(crate) fn invalid_settings(&self, services: &NamedServices) -> Vec<StartError> {
        let no_connections = (self.max_connections == Some(0))
            .then(|| InvalidSetting::new("max_connections", "must be at least 1 (got 0)"));
        let has_one_address = self.best_effort && !matches!(self.source, Source::TcpAll(_));
        let best_effort = has_one_address
            .then(|| InvalidSetting::new("best_effort", "only available for `Listener::tcp_all`; do not set it"));
        let options = self.options.invalid_settings(self.source.kind());
        let rate = valid_rate("accept_rate", self.accept_rate);
        let invalid = no_connections
            .into_iter()
            .chain(best_effort)
            .chain(rate)
            .chain(self.invalid.iter().cloned())
            .chain(options);
        let invalid = invalid.chain(services.invalid(&self.service));
        invalid.map(|invalid| self.place().invalid(invalid)).collect()
    }

    async fn open(
        self,
        services: &BuilderServices,
        limits: &Arc<Limits>,
        limit: Duration,
        old: &[Arc<ListenerState>],
        others: &[Opened],
        acceptors: usize,
    ) -> Result<Vec<Opened>, StartError> {
        let place = self.place();
        let Listener {
            name,
            max_connections,
            accept_rate,
            proxy,
            steps,
            source,
            options,
            service,
            env,
            best_effort,
            ..
        } = self;
        let (service, place_of) = (services.choose(service), place.clone());
        let opening = Opening {
            name,
            max_connections,
            accept_rate,
            proxy,
            steps,
            options,
            env,
            service,
            limits,
            old,
            others,
            acceptors,
            place: place_of,
        };
        let opened = match source {
            Source::Tcp(requested) => opening.tcp(&requested, limit).await,
            Source::TcpAll(requested) => opening.tcp_all(&requested, limit, best_effort).await,
            #[cfg(unix)]
            Source::Unix(path) => opening.unix(&path),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::UnixAbstract(name) => opening.unix_abstract(&name),
            Source::Inherited(socket) => {
                let failed = system_error(socket.to_string());
                let transport = socket.open(opening.options.clone()).map_err(failed);
                transport.map(|transport| vec![opening.new_state(transport)])
            }
            Source::Transport(transport) => Ok(vec![opening.new_state(transport)]),
        };
        opened.map_err(|error| place.locate(error))
    }
}

/// One listener that is being opened.
struct Opening<'a> {
    name: Option<Arc<str>>,
    max_connections: Option<usize>,
    accept_rate: Option<Rate>,
    proxy: Option<Step>,
    steps: Vec<Step>,
    options: SocketOptions,
    env: Option<Env>,
    service: Arc<ListenerService>,
    limits: &'a Arc<Limits>,
    old: &'a [Arc<ListenerState>],
    /// Those of the same list that come before it.
    others: &'a [Opened],
    acceptors: usize,
    place: Place,
}

impl Opening<'_> {
    async fn tcp(&self, requested: &str, limit: Duration) -> Result<Vec<Opened>, StartError> {
        let addresses = resolve(requested, requested, limit).await?;
        if let Some(kept) = addresses.iter().find_map(|address| self.find_tcp(*address)) {
            return Ok(vec![self.keep(kept)?]);
        }
        Ok(vec![self.new_state(OpenTransport::Tcp(open_first(&addresses, requested, &self.options, self.acceptors)?))])
    }

    async fn tcp_all(mut self, requested: &str, limit: Duration, best_effort: bool) -> Result<Vec<Opened>, StartError> {
        self.options.only_v6.get_or_insert(true);
        let addresses = resolve(requested, requested, limit).await?;
        let (mut all, mut new, mut port) = (Vec::new(), Vec::new(), None);
        for address in addresses {
            match self.find_tcp(address) {
                Some(state) => {
                    port = state.transport.local_addr().socket().map(|bound| bound.port());
                    all.push(self.keep(state)?);
                }
                None => new.push(address),
            }
        }
        // A port that the system chose is the same one for all addresses.
        for address in new.iter_mut().filter(|address| address.port() == 0) {
            address.set_port(port.unwrap_or(0));
        }
        let (opened, failures) = open_all(&new, requested, &self.options, self.acceptors);
        let is_enough = best_effort && !(all.is_empty() && opened.is_empty());
        if is_enough {
            failures.iter().for_each(|error| warn!(error = with_sources(error), "an address was skipped"));
        } else {
            StartError::all(failures).map_or(Ok(()), Err)?;
        }
        all.extend(opened.into_iter().map(|tcp| self.new_state(OpenTransport::Tcp(tcp))));
        Ok(all)
    }

    #[cfg(unix)]
    fn unix(&self, path: &Path) -> Result<Vec<Opened>, StartError> {
        let address = std::path::absolute(path).map(UnixAddress::path).map(Address::Unix);
        if let Some(kept) = address.ok().and_then(|address| self.find(&address)) {
            return Ok(vec![self.keep(kept)?]);
        }
        let opened = Unix::open_file(path, self.options.clone());
        Ok(vec![self.new_state(OpenTransport::Unix(opened.map_err(system_error(path.display().to_string()))?))])
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn unix_abstract(&self, name: &[u8]) -> Result<Vec<Opened>, StartError> {
        let address = Address::Unix(UnixAddress::abstract_name(name));
        if let Some(kept) = self.find(&address) {
            return Ok(vec![self.keep(kept)?]);
        }
        let opened = Unix::open_abstract(name, self.options.clone());
        Ok(vec![self.new_state(OpenTransport::Unix(opened.map_err(system_error(address.to_string()))?))])
    }

    /// The listener that is already open at this address.
    fn find(&self, address: &Address) -> Option<Arc<ListenerState>> {
        self.old.iter().find(|state| state.address() == address).cloned()
    }

    /// The listener that is already open at this address; with port 0 the one of the same name whose port the system chose.
    fn find_tcp(&self, address: SocketAddr) -> Option<Arc<ListenerState>> {
        if address.port() != 0 {
            return self.find(&Address::Tcp(address));
        }
        let name = self.name.as_ref()?;
        let is_same = |state: &&Arc<ListenerState>| {
            state.transport.has_system_port()
                && state.name() == *name
                && state.address().ip() == Some(address.ip())
                && !self.is_taken(state)
        };
        self.old.iter().find(is_same).cloned()
    }

    fn is_taken(&self, state: &Arc<ListenerState>) -> bool {
        self.others.iter().any(|other| Arc::ptr_eq(other.listener(), state))
    }

    /// Keeps a listener open that has the address already.
    fn keep(&self, kept: Arc<ListenerState>) -> Result<Opened, StartError> {
        if self.is_taken(&kept) {
            return Err(self.place.repeated(kept.address()));
        }
        let (name, proxy, steps) = (self.name.clone(), self.proxy.clone(), self.steps.clone());
        let (place, options, service) = (self.place.clone(), self.options.clone(), self.service.clone());
        let change = ListenerChange::new(kept, place, name, self.max_connections, service, proxy, steps, options);
        change.map(|change| Opened::Kept(Box::new(change.with_rate(self.accept_rate).with_env(self.env.clone()))))
    }

    fn new_state(&self, transport: OpenTransport) -> Opened {
        let name = self.name.clone().unwrap_or_else(|| transport.local_addr().to_string().into());
        let limits = ListenerLimits::new(name, self.service.kind, self.max_connections, self.limits.clone());
        limits.set_rate(self.accept_rate);
        let (service, proxy, steps) = (self.service.clone(), self.proxy.clone(), self.steps.clone());
        Opened::New(ListenerState::new(transport, limits, self.env.clone(), service, proxy, steps))
    }
}

fn system_error(what: String) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::SystemError { what, source }
}
