//! The handler `with_protocol`: a struct with callbacks.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use super::{sealed, Service};
use crate::config::Config;
use crate::connection::{
    CodecFactory, Connection, MakeCodec, MakeProtocol, Peer, Protocol, ProtocolFactory, SharedFactory,
};
use crate::error::{InvalidSetting, PoolEnded};
use crate::framing::Framing;
use crate::handshake::HandshakeChain;
use crate::limits::ConnectionKind;
use crate::listener::{ConnectionSpawner, ListenerService};
use crate::net::Stream;
use crate::panic::catch_panic;
use crate::pool::Pool;
use crate::registry::ConnectionGuard;

/// The handler of [`with_protocol`](crate::AcceptorPool::with_protocol), [`with_codec`](crate::AcceptorPool::with_codec) and
/// [`with_events`](crate::AcceptorPool::with_events): each connection is served by a [`Protocol`]. Create one for
/// [`Listener::service`](crate::Listener::service).
pub struct ProtocolService<P: Protocol> {
    pub(super) factory: MakeProtocol<P>,
    codec: MakeCodec<P::Codec>,
    max_frame: Option<usize>,
    /// The limit of the framing that the builder was given.
    max_of_framing: Option<usize>,
    /// Applies `max_frame` to a codec. Set where the codec's type is known to be `Framing`.
    limit: fn(P::Codec, usize) -> P::Codec,
}

impl<P: Protocol> ProtocolService<P> {
    /// Creates a service. `factory` makes the protocol of each connection; the codec is made by its `Default` implementation. See
    /// [`AcceptorPool::with_protocol`](crate::AcceptorPool::with_protocol).
    pub fn new(factory: impl Fn(&Peer) -> P + Send + Sync + 'static) -> Self
    where
        P::Codec: Default,
    {
        Self::with_codec(factory, P::Codec::default)
    }

    /// Creates a service with a second function that makes the codec of each connection. See
    /// [`AcceptorPool::with_codec`](crate::AcceptorPool::with_codec).
    pub fn with_codec<Args>(
        factory: impl Fn(&Peer) -> P + Send + Sync + 'static,
        codec: impl CodecFactory<P::Codec, Args>,
    ) -> Self {
        let (factory, codec) = (Arc::new(factory), MakeCodec::new(codec));
        ProtocolService { factory, codec, max_frame: None, max_of_framing: None, limit: |codec, _| codec }
    }
}

impl<P: Protocol<Codec = Framing>> ProtocolService<P> {
    /// Sets how bytes are split into packets.
    ///
    /// Default: [`Framing::raw`].
    pub fn framing(mut self, framing: Framing) -> Self {
        self.max_of_framing = Some(framing.max_frame());
        self.codec = MakeCodec::new(move || framing.clone());
        self
    }

    /// Sets the largest packet accepted, in bytes: see [`Builder::max_frame`](crate::Builder::max_frame). At least 1.
    ///
    /// Default: the limit of the framing, which is 1 MiB unless set.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        (self.max_frame, self.limit) = (Some(bytes), Framing::with_max_frame);
        self
    }
}

#[allow(private_interfaces)]
impl<P: Protocol> Service for ProtocolService<P> {
    type Actor = Connection<P>;

    fn into_listener_service(self) -> Arc<ListenerService> {
        let ProtocolService { factory: protocol, codec, max_frame, limit, .. } = self;
        let codec = match max_frame {
            None => codec,
            Some(bytes) => codec.map(move |codec| limit(codec, bytes)),
        };
        let factory = Arc::new(SharedFactory::new(ProtocolFactory::new(protocol, codec)));
        let kind = ConnectionKind::of::<Connection<P>, P::Reply>();
        ListenerService::new(kind, ProtocolSpawner(factory.clone()), factory)
    }

    fn change_framing(&mut self, change: Box<dyn FnOnce(Framing) -> Framing + Send>) -> bool {
        if TypeId::of::<P::Codec>() != TypeId::of::<Framing>() {
            return false;
        }
        let Some(codec) = self.codec.make_shared() else { return false };
        let codec = match self.max_frame.take() {
            Some(bytes) => (self.limit)(codec, bytes),
            None => codec,
        };
        let changed = cast(codec).map(change);
        self.max_of_framing = changed.as_ref().map(Framing::max_frame);
        changed.and_then(make_framing::<P>).map(|codec| self.codec = codec).is_some()
    }

    fn frame_limit(&self) -> Option<usize> {
        self.max_frame.or(self.max_of_framing)
    }
}

/// Why a pool does not use a framing with this limit.
pub(crate) fn invalid_max_frame(bytes: usize) -> Option<InvalidSetting> {
    (bytes == 0).then(|| InvalidSetting::new("max_frame", "must be at least 1 byte (got 0)"))
}

/// Converts a function that makes a framing into one that makes the codec of this protocol, if that is a framing.
fn make_framing<P: Protocol>(framing: Framing) -> Option<MakeCodec<P::Codec>> {
    cast(MakeCodec::new(move || framing.clone()))
}

/// The value as another type, if that is its type.
fn cast<T: 'static, U: 'static>(value: T) -> Option<U> {
    let value: &mut dyn Any = &mut Some(value);
    value.downcast_mut::<Option<U>>()?.take()
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

    fn framing(&self) -> Option<Framing> {
        if TypeId::of::<P::Codec>() != TypeId::of::<Framing>() {
            return None;
        }
        catch_panic(|| self.0.current().make_shared_codec()).ok().flatten().and_then(cast)
    }

    fn set_framing(&self, framing: Framing) {
        if let Some(codec) = make_framing::<P>(framing) {
            self.0.set_codec(codec);
        }
    }
}

impl<P: Protocol> Pool<Connection<P>> {
    /// Replaces the factory for new connections. Existing connections keep their protocol, so old and new behaviour run
    /// side by side.
    ///
    /// # Errors
    /// [`PoolEnded`] when the pool has ended.
    pub fn set_protocol(&self, factory: impl Fn(&Peer) -> P + Send + Sync + 'static) -> Result<(), PoolEnded> {
        let make: MakeProtocol<P> = Arc::new(factory);
        self.for_each_factory(|factory: Arc<SharedFactory<P>>| factory.set_protocol(make.clone()))
    }

    /// Replaces the function that makes the codec of each new connection: `|| codec` or `|peer: &Peer| codec`, as in
    /// [`AcceptorPool::with_codec`](crate::AcceptorPool::with_codec). Existing connections keep their codec.
    ///
    /// # Errors
    /// [`PoolEnded`] when the pool has ended.
    pub fn set_codec<Args>(&self, codec: impl CodecFactory<P::Codec, Args>) -> Result<(), PoolEnded> {
        let codec = MakeCodec::new(codec);
        self.for_each_factory(|factory: Arc<SharedFactory<P>>| factory.set_codec(codec.clone()))
    }
}

impl<P: Protocol<Codec = Framing>> Pool<Connection<P>> {
    /// Replaces the framing of new connections, including its `max_frame`. Existing connections keep their framing.
    ///
    /// The framing is not validated: with a `max_frame` of 0, every packet that is not empty ends its connection with
    /// [`Closed::TooLong`](crate::Closed::TooLong). [`Pool::reload`] validates the framing of a configuration.
    ///
    /// # Errors
    /// [`PoolEnded`] when the pool has ended.
    pub fn set_framing(&self, framing: Framing) -> Result<(), PoolEnded> {
        self.set_codec(move || framing.clone())
    }
}
