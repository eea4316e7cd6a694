//! [`ListenerService`], how the connections of a listener are served.

use std::any::Any;
use std::sync::Arc;

use crate::config::Config;
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
