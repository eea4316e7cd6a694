//! The handler `with_protocol`: a struct with callbacks.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::{sealed, Service};
use crate::acceptor::ConnectionSpawner;
use crate::config::Config;
use crate::connection::{Connection, MakeCodec, MakeProtocol, Peer, Protocol, ProtocolFactory, SharedFactory};
use crate::error::PoolEnded;
use crate::framing::Framing;
use crate::handshake::HandshakeChain;
use crate::net::Stream;
use crate::pool::Pool;
use crate::registry::ConnectionGuard;

/// The handler of [`with_protocol`](crate::AcceptorPool::with_protocol) and
/// [`with_events`](crate::AcceptorPool::with_events).
pub struct ProtocolService<P: Protocol> {
    pub(super) factory: MakeProtocol<P>,
    codec: MakeCodec<P>,
    max_frame: Option<usize>,
    /// Applies `max_frame` to a codec. Set where the codec's type is known to be `Framing`.
    limit: fn(P::Codec, usize) -> P::Codec,
}

impl<P: Protocol> ProtocolService<P> {
    pub(crate) fn new(
        factory: impl Fn(&Peer) -> P + Send + Sync + 'static,
        codec: impl Fn() -> P::Codec + Send + Sync + 'static,
    ) -> Self {
        let (factory, codec) = (Arc::new(factory), Arc::new(codec));
        ProtocolService { factory, codec, max_frame: None, limit: |codec, _| codec }
    }

    pub(crate) fn set_codec(&mut self, codec: impl Fn() -> P::Codec + Send + Sync + 'static) {
        self.codec = Arc::new(codec);
    }

    pub(crate) fn set_max_frame(&mut self, bytes: usize, limit: fn(P::Codec, usize) -> P::Codec) {
        (self.max_frame, self.limit) = (Some(bytes), limit);
    }
}

#[allow(private_interfaces)]
impl<P: Protocol> Service for ProtocolService<P> {
    type Actor = Connection<P>;

    fn into_spawner(self) -> (Arc<dyn ConnectionSpawner>, Arc<dyn Any + Send + Sync>) {
        let ProtocolService { factory: protocol, codec, max_frame, limit } = self;
        let codec: MakeCodec<P> = match max_frame {
            None => codec,
            Some(bytes) => Arc::new(move || limit(codec(), bytes)),
        };
        let factory = Arc::new(SharedFactory::new(ProtocolFactory { protocol, codec }));
        (Arc::new(ProtocolSpawner(factory.clone())), factory)
    }
}

impl<P: Protocol> sealed::Sealed for ProtocolService<P> {}

impl<P: Protocol> fmt::Debug for ProtocolService<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProtocolService").finish_non_exhaustive()
    }
}

struct ProtocolSpawner<P: Protocol>(Arc<SharedFactory<P>>);

impl<P: Protocol> ConnectionSpawner for ProtocolSpawner<P> {
    fn spawn(
        &self,
        stream: Stream,
        guard: ConnectionGuard,
        handshake: Option<Box<HandshakeChain>>,
        config: Arc<Config>,
    ) {
        Connection::spawn(self.0.current(), stream, guard, handshake, config);
    }
}

impl<P: Protocol> Pool<Connection<P>> {
    /// Replaces the factory for new connections. Existing connections keep their protocol, so old and new behaviour run
    /// side by side.
    ///
    /// # Errors
    /// [`PoolEnded`] when the pool has ended.
    pub fn set_protocol(&self, factory: impl Fn(&Peer) -> P + Send + Sync + 'static) -> Result<(), PoolEnded> {
        self.handler::<SharedFactory<P>>()?.set_protocol(Arc::new(factory));
        Ok(())
    }

    /// Replaces the function that makes the codec of each new connection. Existing connections keep their codec.
    ///
    /// # Errors
    /// [`PoolEnded`] when the pool has ended.
    pub fn set_codec(&self, codec: impl Fn() -> P::Codec + Send + Sync + 'static) -> Result<(), PoolEnded> {
        self.handler::<SharedFactory<P>>()?.set_codec(Arc::new(codec));
        Ok(())
    }
}

impl<P: Protocol<Codec = Framing>> Pool<Connection<P>> {
    /// Replaces the framing of new connections, including its `max_frame`. Existing connections keep their framing.
    ///
    /// # Errors
    /// [`PoolEnded`] when the pool has ended.
    pub fn set_framing(&self, framing: Framing) -> Result<(), PoolEnded> {
        self.set_codec(move || framing.clone())
    }
}
