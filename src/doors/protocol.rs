//! The door `protocol`: a struct with callbacks.

use std::sync::Arc;

use tracing::error;

use super::{sealed, Door, Opened};
use crate::acceptor::Seam;
use crate::builder::Builder;
use crate::connection::{Birth, Connection};
use crate::framing::Framing;
use crate::guard::guard;
use crate::pool::AcceptorPool;
use crate::protocol::{Charter, Limits, Peer, Protocol};
use crate::socket::Incoming;
use crate::telemetry::Reason;

type Factory<P> = Box<dyn Fn(&Peer) -> P + Send + Sync>;
type MakeCodec<P> = Box<dyn Fn() -> <P as Protocol>::Codec + Send + Sync>;

/// The doors [`protocol`](AcceptorPool::protocol) and [`events`](AcceptorPool::events).
pub struct ProtocolDoor<P: Protocol> {
    pub(super) factory: Factory<P>,
    codec: MakeCodec<P>,
    max_frame: Option<usize>,
    /// How a codec takes a limit: known where the codec's type is.
    limit: fn(P::Codec, usize) -> P::Codec,
}

impl AcceptorPool {
    /// Serves every connection by a [`Protocol`]: condor's and gen_server's way.
    ///
    /// The factory is called for each connection, on its arbiter, and sees the peer before there is any state for it. What
    /// it captures is the starting environment. A panic in it ends that connection and no other.
    ///
    /// The codec is made by its `Default`; for [`Framing`] it is chosen with
    /// [`framing`](crate::Builder::framing). [`protocol_with_codec`](AcceptorPool::protocol_with_codec) takes a function
    /// that makes it.
    pub fn protocol<P, F>(factory: F) -> Builder<ProtocolDoor<P>>
    where
        P: Protocol,
        P::Codec: Default,
        F: Fn(&Peer) -> P + Send + Sync + 'static,
    {
        Self::protocol_with_codec(factory, P::Codec::default)
    }

    /// As [`protocol`](AcceptorPool::protocol), with a function that makes the codec: once per connection, and again when
    /// a packet timed out.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Conn, Next, Protocol};
    /// use tokio_util::codec::LinesCodec;
    ///
    /// struct Shout;
    /// impl Protocol for Shout {
    ///     type Codec = LinesCodec;
    ///     type Reply = String;
    ///     type User = ();
    ///     fn packet(&mut self, line: String, _: &mut Conn<Self>) -> Next<Self> {
    ///         Next::Send(line.to_uppercase())
    ///     }
    /// }
    ///
    /// let builder = AcceptorPool::protocol_with_codec(|_| Shout, || LinesCodec::new_with_max_length(512));
    /// ```
    pub fn protocol_with_codec<P, F, C>(factory: F, codec: C) -> Builder<ProtocolDoor<P>>
    where
        P: Protocol,
        F: Fn(&Peer) -> P + Send + Sync + 'static,
        C: Fn() -> P::Codec + Send + Sync + 'static,
    {
        Builder::new(ProtocolDoor {
            factory: Box::new(factory),
            codec: Box::new(codec),
            max_frame: None,
            limit: |codec, _| codec,
        })
    }
}

impl<P: Protocol<Codec = Framing>> Builder<ProtocolDoor<P>> {
    /// How bytes become packets. Default: [`Framing::raw`].
    pub fn framing(mut self, framing: Framing) -> Self {
        self.door.codec = Box::new(move || framing.clone());
        self
    }

    /// The longest packet taken in, in bytes, without prefix or delimiter; this length itself is allowed. A longer one ends
    /// its connection with [`Closed::TooLong`](crate::Closed::TooLong); `raw` cuts there instead.
    ///
    /// Default: what the framing says, which is 1 MiB. 0 is refused.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.door.max_frame = Some(bytes);
        self.door.limit = Framing::with_max_frame;
        if bytes == 0 {
            self.refuse("max_frame", "a packet needs room for one byte");
        }
        self
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
        match guard(|| ((self.factory)(&peer), (self.charter.codec)())) {
            Ok((me, codec)) => birth.live(me, codec, stream, self.charter.clone(), seat),
            Err(panic) => {
                error!(id = %peer.id, peer = %peer.address, panic, "the factory panicked");
                seat.note(Reason::Panic);
                drop(stream);
            }
        }
    }
}
