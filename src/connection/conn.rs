//! [`Conn`], the connection as its callbacks see it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio_util::codec::Encoder;

use super::phase::{Flags, Paused, Phase};
use super::{Background, Protocol, ProtocolFactory, SendError};
use crate::config::{Active, Config};
use crate::handshake::{HandshakeChain, Negotiated, TlsInfo};
use crate::net::{Address, Buffers, FileRange, PeerCredentials, Sending, Stream, TransportKind};
use crate::registry::{ConnectionGuard, ConnectionInfo, ConnectionPhase, OutboxQueue};
use crate::telemetry::ConnectionId;
use crate::time::{limit_millis, millis};

/// A connection, as passed to its callbacks: information about the peer, and methods to send to it.
pub struct Conn<P: Protocol> {
    pub(crate) io: Stream,
    pub(crate) codec: P::Codec,
    pub(crate) buffers: Option<Box<Buffers>>,
    pub(super) background: Option<Box<Background<P>>>,
    pub(crate) factory: Arc<ProtocolFactory<P>>,
    pub(crate) config: Arc<Config>,
    pub(crate) active: Active,
    phase: Phase,
    /// Why packets and messages are not handled at present. Checked before every packet.
    pub(crate) paused: Paused,
    pub(crate) flags: Flags,
    /// The handshake before `ack`, until it starts.
    pub(crate) handshake: Option<Box<HandshakeChain>>,
    /// The results of the handshakes.
    pub(crate) negotiated: Option<Box<Negotiated>>,
    /// The last field, so that the connection is reported as ended after its socket is closed.
    pub(crate) guard: ConnectionGuard,
}

impl<P: Protocol> Conn<P> {
    pub(crate) fn new(
        io: Stream,
        handshake: Option<Box<HandshakeChain>>,
        codec: P::Codec,
        factory: Arc<ProtocolFactory<P>>,
        config: Arc<Config>,
        guard: ConnectionGuard,
    ) -> Self {
        let active = config.settings.active;
        let mut flags = Flags::empty();
        flags.set(Flags::RATED, config.settings.packet_rate.is_some());
        Conn {
            io,
            codec,
            buffers: None,
            background: None,
            factory,
            config,
            active,
            phase: Phase::New,
            paused: Paused::NOT_READY,
            flags,
            handshake,
            negotiated: None,
            guard,
        }
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Enters a phase, which must be later than the current one.
    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        match phase {
            Phase::Ready => self.guard.state().set_phase(ConnectionPhase::Open),
            Phase::Receiving | Phase::Closing | Phase::Closed => self.guard.begin_closing(),
            Phase::New | Phase::Handshaking => {}
        }
        self.paused.set(Paused::NOT_READY, !matches!(phase, Phase::Ready | Phase::Receiving));
    }

    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.guard.state().id()
    }

    /// The peer's address: the one named by a trusted PROXY header, else the socket's.
    pub fn peer(&self) -> &Address {
        self.guard.state().peer()
    }

    /// The address of the socket's peer: the load balancer if [`peer`](Conn::peer) comes from a PROXY header.
    pub fn socket_peer(&self) -> &Address {
        self.guard.state().socket_peer()
    }

    /// The result of the TLS handshake. `None` without TLS and before the handshake.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.negotiated.as_ref()?.tls.as_deref()
    }

    /// The trusted PROXY header; `None` if there was none, and before it was read.
    #[cfg(feature = "proxy-protocol")]
    #[cfg_attr(docsrs, doc(cfg(feature = "proxy-protocol")))]
    pub fn proxy(&self) -> Option<&crate::handshake::ProxyHeader> {
        self.negotiated.as_ref()?.proxy.as_deref()
    }

    /// The local address of the socket.
    ///
    /// # Errors
    /// The system's error, for example for a socket that was reset.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.io.local_addr()
    }

    /// The socket, for its options and statistics: below TLS, that of the connection. `None` for a transport without one, and
    /// during a handshake.
    ///
    /// Options that the library relies on must not be changed: the socket must stay nonblocking.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # struct Game;
    /// # impl Protocol for Game {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///     if let Some(socket) = conn.socket_ref() {
    ///         // An error is not worth the connection.
    ///         let _ = socket.set_tcp_nodelay(packet == "fast");
    /// #       assert_eq!(socket.tcp_nodelay().ok(), Some(true));
    ///     }
    ///     Next::send("ok")
    /// }
    /// # }
    /// # actix_rt::System::new().block_on(async {
    /// # let pool = AcceptorPool::with_protocol(|_| Game).framing(Framing::lines()).bind("127.0.0.1:0").await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # peer.write_all(b"fast\n").await?;
    /// # let mut received = [0; 3];
    /// # peer.read_exact(&mut received).await?;
    /// # assert_eq!(&received, b"ok\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn socket_ref(&self) -> Option<SockRef<'_>> {
        self.io.socket_ref()
    }

    /// The numbers of this connection, such as its age and bytes, as [`Pool::connection_info`](crate::Pool::connection_info)
    /// returns them. In a callback, packets that were delivered and bytes that were queued since the last write may not be
    /// counted yet.
    pub fn info(&self) -> ConnectionInfo {
        self.guard.registry().info(self.guard.state())
    }

    /// The kind of transport.
    pub fn transport(&self) -> TransportKind {
        self.io.kind()
    }

    /// The user, group and process of the peer of a Unix socket. `None` for other transports.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.io.peer_credentials()
    }

    /// The name of the listener that accepted the connection.
    pub fn listener(&self) -> &str {
        self.guard.state().listener_name()
    }

    /// Whether the pool has notified this connection that it shuts down.
    pub fn is_draining(&self) -> bool {
        self.flags.contains(Flags::DRAINING)
    }

    /// Queues a reply. It is sent after the callback has returned, together with the other replies of this turn. For other types
    /// that convert to a reply, such as strings, and without errors to handle, use [`push`](Conn::push).
    ///
    /// # Errors
    /// [`SendError::Closed`] if the connection is closing, [`SendError::ShutDown`] after
    /// [`shutdown_write`](Conn::shutdown_write), [`SendError::TooLong`] if the reply does not fit its length
    /// prefix, [`SendError::Delimiter`] if it contains the delimiter of its framing, else the codec's error. On an error
    /// nothing is queued, and the connection stays open.
    pub fn send(&mut self, reply: P::Reply) -> Result<(), SendError> {
        self.check_sending()?;
        self.encode(reply).map_err(|error| SendError::from_codec(error.into()))
    }

    /// Queues a reply as [`send`](Conn::send) does, for callbacks that do not handle its errors.
    ///
    /// A reply that cannot be encoded ends the connection with [`Closed::Error`](crate::Closed::Error) after the callback,
    /// as with [`Next::Send`](crate::Next::Send): the replies before it are sent, those after it and the one that the
    /// callback returns are not. If the connection is closing, nothing is queued.
    ///
    /// ```
    /// # use actix_acceptor::{Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # struct Greeter;
    /// # impl Protocol for Greeter {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
    ///     conn.push(format!("welcome, {}", conn.peer()));
    ///     if conn.is_draining() {
    ///         conn.push("the server shuts down soon");
    ///     }
    ///     Next::Continue
    /// }
    /// #     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> { Next::Send(packet) }
    /// # }
    /// ```
    pub fn push(&mut self, reply: impl Into<P::Reply>) {
        match self.check_sending() {
            Err(SendError::Closed) => {}
            Err(error) => self.fail(error.into()),
            Ok(()) => {
                if let Err(error) = self.encode(reply.into()) {
                    self.fail(error.into());
                }
            }
        }
    }

    /// Queues a reply. On an error nothing is queued.
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
    pub(crate) fn is_closing(&self) -> bool {
        self.phase >= Phase::Closing
    }

    /// Queues encoded bytes, bypassing the codec.
    pub(crate) fn send_encoded(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.check_sending()?;
        self.buffers_mut().write.extend_from_slice(bytes);
        Ok(())
    }

    /// Queues a file, or a range of one, after the bytes that are already queued. The file is sent unchanged, without
    /// the codec.
    ///
    /// Until it is sent, the connection handles neither packets nor messages. Waits, timeouts and signals are not
    /// affected.
    ///
    /// If the file has become shorter in the meantime, the connection ends with
    /// [`Closed::Error`](crate::Closed::Error).
    ///
    /// # Errors
    /// [`SendError::Closed`] if the connection is closing, [`SendError::ShutDown`] after
    /// [`shutdown_write`](Conn::shutdown_write).
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
    ///         Err(error) => return Next::send(error.to_string()),
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
        self.check_sending()?;
        self.queue_file(file);
        Ok(())
    }

    pub(crate) fn queue_file(&mut self, file: FileRange) {
        if !file.is_empty() {
            let buffers = self.buffers_mut();
            let before = buffers.write.split();
            buffers.files.get_or_insert_default().push_back((before, Sending::new(file)));
            self.paused.insert(Paused::SENDING_FILE);
        }
    }

    /// The number of bytes that are queued and not yet accepted by the socket, including files and what others have sent to
    /// the [outbox](Conn::outbox).
    #[inline]
    pub fn unsent(&self) -> usize {
        let before = if self.paused.contains(Paused::SENDING_FILE) { self.before_write() } else { 0 };
        self.queued() + before + self.in_outbox()
    }

    /// Like [`unsent`](Conn::unsent), without files and the bytes before them.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| buffers.write.len())
    }

    /// The unsent bytes that did not come from the outbox.
    #[cold]
    pub(super) fn own_unsent(&self) -> usize {
        let others = self.guard.state().outbox().map_or(0, OutboxQueue::pending);
        self.unsent().saturating_sub(others)
    }

    #[cold]
    pub(super) fn before_write(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| buffers.before_write())
    }

    /// Sets how many packets the connection delivers from now on, including packets that have already been read.
    pub fn set_active(&mut self, active: Active) {
        self.active = match (self.active, active) {
            (Active::Count(left), Active::Count(more)) => Active::Count(left.saturating_add(more)),
            (_, active) => active,
        };
    }

    /// The current mode, with the packets left of a [`Count`](Active::Count).
    pub fn active(&self) -> Active {
        self.active
    }

    /// Sets the idle timeout from now on. `None` or zero disables it.
    pub fn set_idle_timeout(&mut self, limit: impl Into<Option<Duration>>) {
        let now = self.guard.registry().clock().exact();
        self.guard.deadlines.set_idle(limit_millis(limit.into()), now);
        self.guard.timeouts_changed();
    }

    /// Overrides the idle timeout until the peer next sends something.
    ///
    /// It is like the timeout in gen_server's `{noreply, State, Timeout}`, except that messages do not end it. A limit of
    /// zero does not disable the timeout; it counts as 1 ms.
    pub fn idle_timeout_once(&mut self, limit: Duration) {
        let now = self.guard.registry().clock().exact();
        self.guard.deadlines.set_idle_once(millis(limit), now);
        self.guard.timeouts_changed();
    }

    /// Sets the packet timeout from now on. `None` or zero disables it.
    pub fn set_packet_timeout(&mut self, limit: impl Into<Option<Duration>>) {
        self.guard.deadlines.set_packet(limit_millis(limit.into()));
        self.guard.timeouts_changed();
    }

    #[inline]
    pub(crate) fn buffers_mut(&mut self) -> &mut Buffers {
        self.buffers.get_or_insert_with(Buffers::borrow)
    }

    /// The bytes that were read and not yet decoded.
    pub(crate) fn unread(&mut self) -> Option<&mut BytesMut> {
        self.buffers.as_mut().map(|buffers| &mut buffers.read).filter(|read| !read.is_empty())
    }
}

impl<P: Protocol> fmt::Debug for Conn<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("id", &self.id()).field("peer", self.peer()).finish_non_exhaustive()
    }
}
