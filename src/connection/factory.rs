//! The factory of a connection's protocol and codec. It may be replaced while the pool runs; existing connections keep
//! the protocol and codec that they have.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Peer, Protocol};
use crate::panic::Guarded;

pub(crate) type MakeProtocol<P> = Arc<dyn Fn(&Peer) -> P + Send + Sync>;
pub(crate) type MakeCodec<P> = Arc<dyn Fn() -> <P as Protocol>::Codec + Send + Sync>;

pub(crate) struct ProtocolFactory<P: Protocol> {
    protocol: Guarded<MakeProtocol<P>>,
    codec: Guarded<MakeCodec<P>>,
}

impl<P: Protocol> ProtocolFactory<P> {
    pub(crate) fn new(protocol: MakeProtocol<P>, codec: MakeCodec<P>) -> Self {
        ProtocolFactory { protocol: Guarded::new(protocol), codec: Guarded::new(codec) }
    }

    /// Calls the user's function.
    pub(crate) fn make_protocol(&self, peer: &Peer) -> P {
        (*self.protocol)(peer)
    }

    /// Calls the user's function.
    pub(crate) fn make_codec(&self) -> P::Codec {
        (*self.codec)()
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
        self.0.rcu(|factory| ProtocolFactory::new(protocol.clone(), factory.codec.clone()));
    }

    pub(crate) fn set_codec(&self, codec: MakeCodec<P>) {
        self.0.rcu(|factory| ProtocolFactory::new(factory.protocol.clone(), codec.clone()));
    }
}
