//! The door `protocol`: a struct with callbacks.

use std::sync::Arc;

use tracing::error;

use super::{sealed, Door, Opened};
use crate::acceptor::Seam;
use crate::connection::{Birth, Connection};
use crate::guard::guard;
use crate::protocol::{Charter, Limits, Peer, Protocol};
use crate::socket::Incoming;
use crate::telemetry::Reason;

type Factory<P> = Box<dyn Fn(&Peer) -> P + Send + Sync>;
type MakeCodec<P> = Box<dyn Fn() -> <P as Protocol>::Codec + Send + Sync>;

/// The doors [`protocol`](crate::AcceptorPool::protocol) and [`events`](crate::AcceptorPool::events).
pub struct ProtocolDoor<P: Protocol> {
    pub(super) factory: Factory<P>,
    codec: MakeCodec<P>,
    max_frame: Option<usize>,
    /// How a codec takes a limit: known where the codec's type is.
    limit: fn(P::Codec, usize) -> P::Codec,
}

impl<P: Protocol> ProtocolDoor<P> {
    pub(crate) fn new(
        factory: impl Fn(&Peer) -> P + Send + Sync + 'static,
        codec: impl Fn() -> P::Codec + Send + Sync + 'static,
    ) -> Self {
        let (factory, codec) = (Box::new(factory), Box::new(codec));
        ProtocolDoor { factory, codec, max_frame: None, limit: |codec, _| codec }
    }

    pub(crate) fn set_codec(&mut self, codec: impl Fn() -> P::Codec + Send + Sync + 'static) {
        self.codec = Box::new(codec);
    }

    pub(crate) fn set_max_frame(&mut self, bytes: usize, limit: fn(P::Codec, usize) -> P::Codec) {
        (self.max_frame, self.limit) = (Some(bytes), limit);
    }
}

#[allow(private_interfaces)]
impl<P: Protocol> Door for ProtocolDoor<P> {
    type Actor = Connection<P>;

    fn open(self, limits: Limits, listener: Arc<str>) -> Opened {
        let ProtocolDoor { factory, codec, max_frame, limit } = self;
        let codec: MakeCodec<P> = match max_frame {
            None => codec,
            Some(bytes) => Box::new(move || limit(codec(), bytes)),
        };
        let charter = Arc::new(Charter { codec, limits, listener });
        let seam = Arc::new(ProtocolSeam { factory, charter: charter.clone() });
        Opened { seam, left: Some(charter) }
    }
}

impl<P: Protocol> sealed::Sealed for ProtocolDoor<P> {}

struct ProtocolSeam<P: Protocol> {
    factory: Factory<P>,
    charter: Arc<Charter<P>>,
}

impl<P: Protocol> Seam for ProtocolSeam<P> {
    fn open(&self, incoming: Incoming) {
        let (stream, seat, listener) = incoming.sit(self.charter.limits.shortest());
        let birth = Birth::new(&seat, &self.charter);
        let peer = Peer { id: seat.entry().id(), address: seat.entry().peer().clone(), listener };
        // The codec first: whatever state is made gets its `closed`.
        match guard(|| ((self.charter.codec)(), (self.factory)(&peer))) {
            Ok((codec, me)) => birth.live(me, codec, stream, self.charter.clone(), seat),
            Err(panic) => {
                let (listener, reason) = (&*peer.listener, Reason::Panic.name());
                error!(id = %peer.id, peer = %peer.address, listener, reason, "connection closed: the factory panicked: {panic}");
                seat.note(Reason::Panic);
                drop(stream);
            }
        }
    }
}
