//! [`ListenerService`], which serves the connections of a listener.

use std::any::Any;
use std::sync::Arc;

use crate::config::Config;
use crate::error::InvalidSetting;
use crate::framing::Framing;
use crate::handshake::HandshakeChain;
use crate::limits::ConnectionKind;
use crate::net::Stream;
use crate::panic::catch_panic;
use crate::registry::ConnectionGuard;
use crate::time::Timeouts;

/// Starts serving an accepted connection, on the current arbiter. Implemented by the handlers.
pub(crate) trait ConnectionSpawner: Send + Sync + 'static {
    /// `handshake` runs before the connection is ready; `None` if the listener has none.
    fn spawn(
        &self,
        stream: Stream,
        guard: ConnectionGuard,
        handshake: Option<Box<HandshakeChain>>,
        config: Arc<Config>,
    );

    /// The timeouts a new connection starts with.
    fn timeouts(&self, config: &Config) -> Timeouts {
        config.timeouts()
    }

    /// The framing of new connections; `None` if the handler has another codec, one that depends on the peer, or none.
    fn framing(&self) -> Option<Framing> {
        None
    }

    /// Replaces the framing of new connections, if the handler has one.
    fn set_framing(&self, _: Framing) {}
}

/// How the connections of a listener are served: a [`Service`](crate::handlers::Service) without its type.
pub(crate) struct ListenerService {
    pub(crate) kind: ConnectionKind,
    spawner: Box<dyn ConnectionSpawner>,
    /// What the typed handle of a pool can replace while the pool runs.
    factory: Arc<dyn Any + Send + Sync>,
}

impl ListenerService {
    pub(crate) fn new(
        kind: ConnectionKind,
        spawner: impl ConnectionSpawner,
        factory: Arc<dyn Any + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(ListenerService { kind, spawner: Box::new(spawner), factory })
    }

    pub(crate) fn spawner(&self) -> &dyn ConnectionSpawner {
        &*self.spawner
    }

    /// The factory, if it is of this type.
    pub(crate) fn factory<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.factory.clone().downcast().ok()
    }

    /// The framing of new connections. The function that makes it is the user's: `None` also if it panics.
    pub(crate) fn framing(&self) -> Option<Framing> {
        catch_panic(|| self.spawner.framing()).ok().flatten()
    }
}

/// The service that a listener selects.
#[derive(Clone, Default)]
pub(super) enum ServiceChoice {
    /// That of the builder.
    #[default]
    OfBuilder,
    Own(Arc<ListenerService>),
    /// One that was added to the builder under a name.
    Named(String),
}

/// Services that listeners of a configuration select by name.
#[derive(Clone, Default)]
pub(crate) struct NamedServices(Vec<(Arc<str>, Arc<ListenerService>)>);

impl NamedServices {
    /// Adds a service, in place of one with the same name.
    pub(crate) fn set(&mut self, name: Arc<str>, service: Arc<ListenerService>) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, service));
    }

    fn get(&self, name: &str) -> Option<&Arc<ListenerService>> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, service)| service)
    }

    /// The error, if there is no service with the selected name.
    pub(super) fn invalid(&self, choice: &ServiceChoice) -> Option<InvalidSetting> {
        let ServiceChoice::Named(name) = choice else { return None };
        if self.get(name).is_some() {
            return None;
        }
        let known: Vec<_> = self.0.iter().map(|(name, _)| format!("{name:?}")).collect();
        let why = match known.is_empty() {
            true => format!("unknown service {name:?}; add it with `Builder::named_service`"),
            false => format!("unknown service {name:?}; expected one of {}", known.join(", ")),
        };
        Some(InvalidSetting::new("service", why))
    }
}

/// The services that listeners can select.
#[derive(Clone)]
pub(crate) struct BuilderServices {
    pub(crate) of_builder: Arc<ListenerService>,
    pub(crate) named: NamedServices,
}

impl BuilderServices {
    /// All of them; that of the builder comes first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ListenerService>> {
        std::iter::once(&self.of_builder).chain(self.named.0.iter().map(|(_, service)| service))
    }

    pub(super) fn choose(&self, choice: ServiceChoice) -> Arc<ListenerService> {
        match choice {
            ServiceChoice::Own(service) => service,
            // Checked before.
            ServiceChoice::Named(name) => self.named.get(&name).unwrap_or(&self.of_builder).clone(),
            ServiceChoice::OfBuilder => self.of_builder.clone(),
        }
    }
}
