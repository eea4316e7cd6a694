//! The connection as its callbacks see it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::stream::{SelectAll, Stream as Items};
use tokio_util::codec::Encoder;

use super::{Protocol, ProtocolFactory};
use crate::error::BoxError;
use crate::framing::FramingError;
use crate::handshake::HandshakeChain;
use crate::handshake::{Negotiated, TlsInfo};
use crate::net::Buffers;
use crate::net::{Address, FileRange, PeerCredentials, Sending, Stream, TransportKind};
use crate::registry::ConnectionGuard;
use crate::telemetry::ConnectionId;
use crate::time::millis;
use crate::time::Deadlines;

/// The connection as its callbacks see it: who is at the other end, and what to send there.
pub struct Conn<P: Protocol> {
    pub(crate) io: Stream,
    pub(crate) codec: P::Codec,
    pub(crate) buffers: Option<Box<Buffers>>,
    pub(crate) streams: Option<Box<Streams<P>>>,
    /// A stream was added that nobody has polled yet.
    pub(crate) unpolled: bool,
    pub(crate) factory: Arc<ProtocolFactory<P>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) active: Active,
    /// Why nothing is taken in at present, a bit each: see [`Held`].
    pub(crate) held: u8,
    /// The high-water mark, at hand: it is looked at after every callback.
    pub(crate) high_watermark: usize,
    pub(crate) draining: bool,
    /// What it has to go through before it is ready.
    pub(crate) steps: Option<Box<HandshakeChain>>,
    /// What that has taught.
    pub(crate) negotiated: Option<Box<Negotiated>>,
    /// Last, so that the place is given back after the socket is closed.
    pub(crate) guard: ConnectionGuard,
}

/// What keeps a connection from taking in packets and messages.
pub(crate) struct Held;

impl Held {
    /// It is not ready yet.
    pub(crate) const NEW: u8 = 1;
    /// It waits for a future.
    pub(crate) const WAITING: u8 = 2;
    /// More is unsent than the high-water mark allows, and not yet down to the low one.
    pub(crate) const ABOVE_MARK: u8 = 4;
    /// It is ending.
    pub(crate) const CLOSING: u8 = 8;
    /// It is on its way to TLS.
    pub(crate) const UPGRADING: u8 = 16;
    /// A file is not sent yet.
    pub(crate) const SENDING: u8 = 32;
}

pub(crate) type Streams<P> = SelectAll<Pin<Box<dyn Items<Item = <P as Protocol>::User>>>>;

/// How packets are taken from the socket: the `active` option of Erlang's
/// [`inet:setopts/2`](https://www.erlang.org/doc/apps/kernel/inet.html#setopts/2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Active {
    /// As they come.
    #[default]
    Always,
    /// The next one, then [`Passive`](Active::Passive).
    Once,
    /// The next so many, then [`Passive`](Active::Passive), told by [`Protocol::passive`]. Set again it is added to what
    /// is left. 0 is told at once.
    Count(u32),
    /// None: the socket is not read, so the peer's leaving is not seen either (a reset is).
    Passive,
}

impl<P: Protocol> Conn<P> {
    pub(crate) fn new(
        io: Stream,
        steps: Option<Box<HandshakeChain>>,
        codec: P::Codec,
        factory: Arc<ProtocolFactory<P>>,
        guard: ConnectionGuard,
    ) -> Self {
        let terms = &factory.terms;
        let age = jittered(terms.max_age, terms.max_age_jitter, guard.state().id());
        let begin = |opened| Deadlines::new(terms.idle, terms.packet, terms.send, opened, age);
        let mut deadlines = begin(guard.state().opened());
        if age != terms.max_age {
            guard.request_tick(deadlines.shortest());
            // The stamp from before may be older than a limit so short allows.
            deadlines = begin(guard.now());
        }
        let (active, high_watermark) = (terms.active, terms.high_watermark);
        Conn {
            io,
            codec,
            buffers: None,
            streams: None,
            unpolled: false,
            factory,
            deadlines,
            active,
            held: Held::NEW,
            high_watermark,
            draining: false,
            steps,
            negotiated: None,
            guard,
        }
    }

    /// The connection's number.
    pub fn id(&self) -> ConnectionId {
        self.guard.state().id()
    }

    /// The peer's address.
    pub fn peer(&self) -> &Address {
        self.guard.state().peer()
    }

    /// The address of the socket itself, where [`peer`](Conn::peer) is the one a believed PROXY header claims.
    pub fn socket_peer(&self) -> &Address {
        self.guard.state().socket_peer()
    }

    /// What the TLS handshake has agreed on; `None` without TLS, and before it.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.negotiated.as_ref()?.tls.as_deref()
    }

    /// The PROXY header that was believed; `None` where there was none, and before it has come.
    #[cfg(feature = "proxy-protocol")]
    #[cfg_attr(docsrs, doc(cfg(feature = "proxy-protocol")))]
    pub fn proxy(&self) -> Option<&crate::handshake::ProxyHeader> {
        self.negotiated.as_ref()?.proxy.as_deref()
    }

    /// Our own end's address.
    ///
    /// # Errors
    /// What the system says, for a socket that was reset for example.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.io.local_addr()
    }

    /// What carries the bytes.
    pub fn transport(&self) -> TransportKind {
        self.io.kind()
    }

    /// Who is at the other end of a Unix socket: user, group and process. `None` for other kinds.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.io.peer_credentials()
    }

    /// The name of the listener that the peer came by.
    pub fn listener(&self) -> &str {
        self.guard.state().port().name()
    }

    /// Whether the pool has told this connection to shut down.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Queues a reply. It leaves, with all others of this turn, when the callback has returned.
    ///
    /// # Errors
    /// [`SendError::Closed`] when the connection is ending already, [`SendError::TooLong`] when the reply does not fit its
    /// length prefix, else the codec's own error. Nothing is queued then, and the connection goes on.
    pub fn send(&mut self, reply: P::Reply) -> Result<(), SendError> {
        if self.closing() {
            return Err(SendError::Closed);
        }
        self.encode(reply).map_err(|error| SendError::from_codec(error.into()))
    }

    /// Queues a reply, or nothing of it.
    #[inline(always)]
    pub(crate) fn encode(&mut self, reply: P::Reply) -> Result<(), <P::Codec as Encoder<P::Reply>>::Error> {
        let write = &mut self.buffers.get_or_insert_with(Buffers::borrow).write;
        let before = write.len();
        let encoded = self.codec.encode(reply, write);
        if encoded.is_err() {
            write.truncate(before);
        }
        encoded
    }

    #[inline]
    pub(crate) fn closing(&self) -> bool {
        self.held & Held::CLOSING != 0
    }

    /// Queues bytes as they are, past the codec.
    pub(crate) fn send_wire(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if self.closing() {
            return Err(SendError::Closed);
        }
        self.buffers_mut().write.extend_from_slice(bytes);
        Ok(())
    }

    /// Queues a file, or a range of it: its bytes as they are, past the codec, behind what is queued already and before what
    /// comes later. Until it is sent the connection takes in neither packets nor messages, however long it is; waits,
    /// limits and orders go on.
    ///
    /// A file that has become shorter meanwhile ends the connection with [`Closed::Error`](crate::Closed::Error), for what
    /// was promised cannot be sent.
    ///
    /// # Errors
    /// [`SendError::Closed`] when the connection is ending already.
    ///
    /// ```no_run
    /// # use actix_acceptor::{Conn, Framing, Next, Protocol};
    /// # use actix_acceptor::transport::FileRange;
    /// # use bytes::Bytes;
    /// # struct Download;
    /// # impl Protocol for Download {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, _: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///     let file = match FileRange::open("/srv/data") {
    ///         Ok(file) => file,
    ///         Err(error) => return Next::Send(error.to_string().into()),
    ///     };
    ///     // Its length first, as a line; then the file.
    ///     match conn.send(file.len().to_string().into()) {
    ///         Ok(()) => Next::file(file),
    ///         Err(error) => Next::fail(error),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn send_file(&mut self, file: FileRange) -> Result<(), SendError> {
        if self.closing() {
            return Err(SendError::Closed);
        }
        self.queue_file(file);
        Ok(())
    }

    pub(crate) fn queue_file(&mut self, file: FileRange) {
        if !file.is_empty() {
            let buffers = self.buffers_mut();
            let before = buffers.write.split();
            buffers.files.get_or_insert_default().push_back((before, Sending::new(file)));
            self.held |= Held::SENDING;
        }
    }

    /// How many bytes are queued and not yet taken by the socket, those of files among them.
    #[inline]
    pub fn unsent(&self) -> usize {
        let before = if self.held & Held::SENDING == 0 { 0 } else { self.before_write() };
        self.queued() + before
    }

    /// The same without files, and what stands before them.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| buffers.write.len())
    }

    #[cold]
    fn before_write(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| buffers.before_write())
    }

    /// How packets are taken from the socket from now on. Packets already read are held as well.
    pub fn set_active(&mut self, active: Active) {
        self.active = match (self.active, active) {
            (Active::Count(left), Active::Count(more)) => Active::Count(left.saturating_add(more)),
            (_, active) => active,
        };
    }

    /// How packets are taken at present.
    pub fn active(&self) -> Active {
        self.active
    }

    /// How long the peer may be silent, from now on; `None`: for ever.
    pub fn set_idle_timeout(&mut self, limit: impl Into<Option<Duration>>) {
        let now = self.guard.registry().clock().exact();
        self.deadlines.set_idle(millis(limit.into()), now);
        self.limits_changed();
    }

    /// How long the peer may be silent this time: once it has sent something the usual idle timeout counts again. As the
    /// timeout in gen_server's `{noreply, State, Timeout}`, but reset by the peer alone.
    pub fn idle_timeout_once(&mut self, limit: Duration) {
        let now = self.guard.registry().clock().exact();
        self.deadlines.set_idle_once(millis(Some(limit)), now);
        self.limits_changed();
    }

    /// How long a packet may take from its first byte to its last, from now on; `None`: for ever.
    pub fn set_packet_timeout(&mut self, limit: impl Into<Option<Duration>>) {
        self.deadlines.set_packet(millis(limit.into()));
        self.limits_changed();
    }

    /// Has a stream's items delivered as [`User`](crate::User) messages, as glisten's selector. May be called again to add
    /// another; a stream that ends is forgotten. While the connection takes in no messages the streams are not polled.
    pub fn add_stream(&mut self, stream: impl Items<Item = P::User> + 'static) {
        self.streams.get_or_insert_with(Default::default).push(Box::pin(stream));
        self.unpolled = true;
    }

    fn limits_changed(&self) {
        self.guard.request_tick(self.deadlines.shortest());
    }

    #[inline]
    pub(crate) fn buffers_mut(&mut self) -> &mut Buffers {
        self.buffers.get_or_insert_with(Buffers::borrow)
    }

    /// What was read and not yet understood.
    pub(crate) fn unread(&mut self) -> Option<&mut BytesMut> {
        self.buffers.as_mut().map(|buffers| &mut buffers.read).filter(|read| !read.is_empty())
    }
}

/// Spreads the ends of connections that began together over `max_age` ± `jitter`.
fn jittered(max_age: u32, jitter: u32, id: ConnectionId) -> u32 {
    use std::hash::BuildHasher;
    if max_age == 0 || jitter == 0 {
        return max_age;
    }
    let random = std::hash::RandomState::new().hash_one(id.get());
    let offset = (random % (2 * u64::from(jitter) + 1)) as i64 - i64::from(jitter);
    (i64::from(max_age) + offset).clamp(1, i64::from(u32::MAX)) as u32
}

impl<P: Protocol> fmt::Debug for Conn<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("id", &self.id()).field("peer", self.peer()).finish_non_exhaustive()
    }
}

/// Why a reply was not queued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is ending.
    #[error("the connection is closed")]
    Closed,
    /// The reply does not fit its length prefix.
    #[error("a reply of {length} bytes does not fit its prefix: {limit} is the most")]
    TooLong {
        /// The reply's length in bytes.
        length: u64,
        /// The most the prefix can say.
        limit: u64,
    },
    /// The codec refused.
    #[error("{0}")]
    Codec(#[source] BoxError),
}

impl SendError {
    pub(crate) fn from_codec(error: BoxError) -> Self {
        match error.downcast_ref() {
            Some(FramingError::ReplyTooLong { length, limit }) => SendError::TooLong { length: *length, limit: *limit },
            _ => SendError::Codec(error),
        }
    }
}
