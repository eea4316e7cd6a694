//! The door `protocol`: a struct with callbacks.

use std::sync::Arc;

use tracing::error;

use super::{sealed, Opened, Service};
use crate::acceptor::ConnectionSpawner;
use crate::connection::{Birth, Connection};
use crate::connection::{Factory, MakeCodec, Peer, Protocol, ProtocolFactory, SharedFactory, Terms};
use crate::error::PoolEnded;
use crate::framing::Framing;
use crate::panic::catch_panic;
use crate::pool::Pool;
use crate::socket::Incoming;
use crate::telemetry::CloseReason;

/// The doors [`protocol`](crate::AcceptorPool::with_protocol) and [`events`](crate::AcceptorPool::with_events).
pub struct ProtocolService<P: Protocol> {
    pub(super) factory: Factory<P>,
    codec: MakeCodec<P>,
    max_frame: Option<usize>,
    /// How a codec takes a limit: known where the codec's type is.
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

    fn open(self, terms: Terms) -> Opened {
        let ProtocolService { factory, codec, max_frame, limit } = self;
        let codec: MakeCodec<P> = match max_frame {
            None => codec,
            Some(bytes) => Arc::new(move || limit(codec(), bytes)),
        };
        let factory = Arc::new(SharedFactory::new(ProtocolFactory { factory, codec, terms }));
        Opened {
            spawner: Arc::new(ProtocolSpawner(factory.clone())),
            reconfigure: factory.clone(),
            left: Some(factory),
        }
    }
}

impl<P: Protocol> sealed::Sealed for ProtocolService<P> {}

struct ProtocolSpawner<P: Protocol>(Arc<SharedFactory<P>>);

impl<P: Protocol> ConnectionSpawner for ProtocolSpawner<P> {
    fn open(&self, incoming: Incoming) {
        let factory = self.0.current();
        let (stream, guard, steps) = incoming.open();
        let birth = Birth::new(&guard, &factory);
        let entry = guard.state();
        let peer = Peer { id: entry.id(), address: entry.peer().clone(), listener: entry.port().name().clone() };
        // The codec first: whatever state is made gets its `closed`.
        let at_work = guard.at_work();
        let made = catch_panic(|| ((factory.codec)(), (factory.factory)(&peer)));
        drop(at_work);
        match made {
            Ok((codec, me)) => birth.live(me, codec, stream, steps, factory, guard),
            Err(panic) => {
                let (listener, reason) = (&*peer.listener, CloseReason::Panic.name());
                if let Some(left_out) = guard.registry().shared().endings.allow(CloseReason::Panic) {
                    error!(id = %peer.id, peer = %peer.address, listener, reason, left_out, "connection closed: the factory panicked: {panic}");
                }
                guard.note(CloseReason::Panic);
                drop(stream);
            }
        }
    }

    fn shortest_limit(&self) -> u32 {
        self.0.current().terms.shortest()
    }
}

impl<P: Protocol> Pool<Connection<P>> {
    /// Replaces the factory for new connections. Existing connections keep their protocol, so old and new behaviour run
    /// side by side.
    ///
    /// # Errors
    /// [`PoolEnded`] when the pool has ended.
    pub fn set_protocol(&self, factory: impl Fn(&Peer) -> P + Send + Sync + 'static) -> Result<(), PoolEnded> {
        let factory: Factory<P> = Arc::new(factory);
        self.update_factory(|current| current.factory = factory)
    }

    /// Replaces the function that makes the codec of each new connection. Existing connections keep their codec.
    ///
    /// # Errors
    /// [`PoolEnded`] when the pool has ended.
    pub fn set_codec(&self, codec: impl Fn() -> P::Codec + Send + Sync + 'static) -> Result<(), PoolEnded> {
        let codec: MakeCodec<P> = Arc::new(codec);
        self.update_factory(|current| current.codec = codec)
    }

    fn update_factory(&self, update: impl FnOnce(&mut ProtocolFactory<P>)) -> Result<(), PoolEnded> {
        self.handler::<SharedFactory<P>>()?.update(update);
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
