//! The factory of a connection's protocol and codec. It may be replaced while the pool runs; existing connections keep
//! the protocol and codec that they have.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{MakeCodec, Peer, Protocol};
use crate::panic::Guarded;
use crate::registry::{FactoryId, Format, RegistryShared};

pub(crate) type MakeProtocol<P> = Arc<dyn Fn(&Peer) -> P + Send + Sync>;

pub(crate) struct ProtocolFactory<P: Protocol> {
    protocol: Guarded<MakeProtocol<P>>,
    codec: Guarded<MakeCodec<P::Codec>>,
    /// Identifies the codec's function.
    id: FactoryId,
}

impl<P: Protocol> ProtocolFactory<P> {
    pub(crate) fn new(protocol: MakeProtocol<P>, codec: MakeCodec<P::Codec>) -> Self {
        ProtocolFactory { protocol: Guarded::new(protocol), codec: Guarded::new(codec), id: FactoryId::new() }
    }

    /// Calls the user's function.
    pub(crate) fn make_protocol(&self, peer: &Peer) -> P {
        (*self.protocol)(peer)
    }

    /// The format of a codec that this factory has made.
    pub(super) fn format(&self, codec: &P::Codec, shared: &RegistryShared) -> Format {
        let format = shared.formats.of_framing(codec).unwrap_or_else(|| {
            if self.is_peer_dependent() {
                Format::OWN
            } else {
                shared.formats.of_factory(self.id)
            }
        });
        shared.formats.set_latest(format);
        format
    }

    /// Identifies the function that makes the codecs.
    pub(crate) fn id(&self) -> FactoryId {
        self.id
    }

    /// Whether the codec depends on the peer, so that connections may encode the same reply differently.
    pub(crate) fn is_peer_dependent(&self) -> bool {
        self.codec.is_peer_dependent()
    }

    /// Calls the user's function.
    pub(crate) fn make_codec(&self, peer: &Peer) -> P::Codec {
        self.codec.make(peer)
    }

    /// A codec that encodes as those of all connections that this factory serves: calls the user's function. `None` if it
    /// depends on the peer.
    pub(crate) fn make_shared_codec(&self) -> Option<P::Codec> {
        self.codec.make_shared()
    }
}

/// The factory for the next connection.
pub(crate) struct SharedFactory<P: Protocol>(ArcSwap<ProtocolFactory<P>>);

impl<P: Protocol> SharedFactory<P> {
    pub(crate) fn new(factory: ProtocolFactory<P>) -> Self {
        SharedFactory(ArcSwap::from_pointee(factory))
    }

    pub(crate) fn current(&self) -> Arc<ProtocolFactory<P>> {
        self.0.load_full()
    }

    pub(crate) fn set_protocol(&self, protocol: MakeProtocol<P>) {
        self.0.rcu(|factory| ProtocolFactory {
            id: factory.id,
            ..ProtocolFactory::new(protocol.clone(), factory.codec.clone())
        });
    }

    pub(crate) fn set_codec(&self, codec: MakeCodec<P::Codec>) {
        self.0.rcu(|factory| ProtocolFactory::new(factory.protocol.clone(), codec.clone()));
    }
}
