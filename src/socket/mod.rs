//! [`Socket`], an accepted connection as owned by an async fn or a user-defined actor.
//!
//! ```text
//! acceptor ─▶ handler ─▶ Socket ─▶ async fn, actor      signals and deadlines act in its reads and writes
//!                          └─ SocketState ─▶ ConnectionGuard: shared with the task; dropping the last owner ends it
//! ```

mod detach;
mod env;
mod handshake;
mod pushes;
mod shared;
mod span;
mod wakers;

use std::fmt;
use std::future::{poll_fn, Future};
use std::io;
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use futures::future::select;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::codec::Framed;

use crate::handshake::{HandshakeChain, Negotiated, TlsInfo};
use crate::net::{Address, FileRange, PeerCredentials, Sending, Stream, TransportKind};
use crate::panic::catch_panic;
use crate::registry::{ConnectionGuard, ConnectionInfo};
use crate::telemetry::{CloseReason, ConnectionId};

pub use pushes::Pushes;
pub(crate) use shared::SocketState;

/// How long a dropped socket may take to send the remaining bytes and to shut down.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

/// How many bytes of a file are sent at once.
const FILE_CHUNK: u64 = 256 * 1024;

/// An accepted connection, owned by an async fn ([`with_fn`](crate::AcceptorPool::with_fn)) or by an actor
/// ([`with_actor`](crate::AcceptorPool::with_actor)).
///
/// It implements [`AsyncRead`] and [`AsyncWrite`]; [`framed`](Socket::framed) turns it into a stream and sink of packets. It
/// stays on the thread of its arbiter.
///
/// Dropping it closes the connection as dropping tokio's `TcpStream` does. If input is left unread, the peer sees a reset,
/// which can destroy the last bytes written, so read to the end first. Under TLS, the remaining bytes and `close_notify` are
/// sent in the background for at most 30 seconds; the connection counts as alive meanwhile.
///
/// The pool's timeouts and signals take effect in reads and writes. The idle timeout (while the socket is being read), the
/// send timeout and the maximum age make them fail with [`TimedOut`](io::ErrorKind::TimedOut). If the future of a read or
/// write is dropped (by `select!` or `timeout`), its timeout no longer applies; to detect this, the task is woken up to four
/// times within the timeout. The next read continues the idle time, which is counted from the last bytes of the peer. If the
/// connection is killed, replaced or a slow consumer, or at the deadline of a drain or of a requested close, they fail with
/// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted). [`draining`](Socket::draining) resolves when the pool shuts down,
/// [`closing`](Socket::closing) also when [`PoolHandle::close`](crate::Pool::close) is called for this connection.
///
/// A write returns when the stream has accepted the bytes. Without TLS they have then been handed to the kernel; with TLS only
/// after a [`flush`](tokio::io::AsyncWriteExt::flush), since TLS may hold encrypted records back. The peer may not have received
/// them yet.
///
/// [`shutdown`](tokio::io::AsyncWriteExt::shutdown) ends the sending side only: the socket can still be read until the peer
/// closes its side. After a shutdown the connection accepts no pushes and has left its topics and names.
///
/// In code that was written for a `TcpStream`, replace `into_split` with `tokio::io::split`, `peer_addr` with
/// [`peer`](Socket::peer), `set_nodelay` with [`Listener::nodelay`](crate::Listener::nodelay), and `tokio::spawn` with
/// `actix::spawn`, because a socket stays on its thread.
///
/// What other parts of the program send to the connection is not written to the socket automatically: the owner takes it from
/// [`pushes`](Socket::pushes) and writes it. If the owner does not take it, the outbox fills up, as with a peer that does not
/// read.
///
/// ```
/// use actix_acceptor::{AcceptorPool, Socket};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// async fn echo(mut socket: Socket) -> std::io::Result<()> {
///     let draining = socket.draining();
///     let mut draining = std::pin::pin!(draining);
///     let mut buffer = [0; 1024];
///     loop {
///         tokio::select! {
///             () = &mut draining => return socket.write_all(b"bye").await,
///             read = socket.read(&mut buffer) => match read? {
///                 0 => return Ok(()),
///                 n => socket.write_all(&buffer[..n]).await?,
///             }
///         }
///     }
/// }
///
/// # actix_rt::System::new().block_on(async {
/// let pool = AcceptorPool::with_fn(echo).bind("127.0.0.1:0").await?;
/// let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
/// peer.write_all(b"hello").await?;
/// peer.read_exact(&mut [0; 5]).await?;
/// let report = pool.stop(std::time::Duration::from_secs(5)).await;
/// assert_eq!((report.asked, report.finished), (1, 1));
/// let mut rest = String::new();
/// peer.read_to_string(&mut rest).await?;
/// assert_eq!(rest, "bye");
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
pub struct Socket {
    io: Stream,
    shared: Rc<SocketState>,
    /// The handshake that runs before the handler gets the socket.
    handshake: Option<Box<HandshakeChain>>,
    negotiated: Negotiated,
    /// Whether the shutdown of the socket has completed.
    shut_down: bool,
}

impl Socket {
    pub(crate) fn new(io: Stream, guard: ConnectionGuard, handshake: Option<Box<HandshakeChain>>) -> Self {
        let shared = Rc::new(SocketState::new(guard));
        Socket { io, shared, handshake, negotiated: Negotiated::default(), shut_down: false }
    }

    /// The result of the TLS handshake. `None` without TLS.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.negotiated.tls.as_deref()
    }

    /// The trusted PROXY header; `None` if there was none.
    #[cfg(feature = "proxy-protocol")]
    #[cfg_attr(docsrs, doc(cfg(feature = "proxy-protocol")))]
    pub fn proxy(&self) -> Option<&crate::handshake::ProxyHeader> {
        self.negotiated.proxy.as_deref()
    }

    /// The state that the socket shares with the task that serves the connection.
    pub(crate) fn shared(&self) -> Rc<SocketState> {
        self.shared.clone()
    }

    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.shared.state().id()
    }

    /// The peer's address: the one named by a trusted PROXY header, else the socket's.
    pub fn peer(&self) -> &Address {
        self.shared.state().peer()
    }

    /// The address of the socket's peer: the load balancer if [`peer`](Socket::peer) comes from a PROXY header.
    pub fn socket_peer(&self) -> &Address {
        self.shared.state().socket_peer()
    }

    /// The socket, for its options and statistics: below TLS, that of the connection. `None` for a transport without one.
    ///
    /// Options that the library relies on must not be changed: the socket must stay nonblocking.
    pub fn socket_ref(&self) -> Option<SockRef<'_>> {
        self.io.socket_ref()
    }

    /// The numbers of this connection, such as its age and bytes, as
    /// [`PoolHandle::connection_info`](crate::Pool::connection_info) returns them.
    pub fn info(&self) -> ConnectionInfo {
        let guard = self.guard();
        guard.registry().info(guard.state())
    }

    /// The local address of the socket.
    ///
    /// # Errors
    /// The system's error, for example for a socket that was reset.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.io.local_addr()
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
        self.shared.state().listener_name()
    }

    /// Sets the close reason for counts and the log, for example after a protocol error. The first call wins. If the
    /// pool ended the connection, its reason takes precedence.
    pub fn set_close_reason(&self, reason: CloseReason) {
        self.shared.set_close_reason(reason, None);
    }

    /// Sends a file, or a range of one.
    ///
    /// # Errors
    /// The errors of a write; `InvalidData` if the file has become shorter in the meantime, `Other` if it cannot be read.
    pub async fn send_file(&mut self, file: FileRange) -> io::Result<()> {
        let mut file = Sending::new(file);
        while file.left() > 0 {
            poll_fn(|cx| self.poll_send_file(cx, &mut file)).await?;
        }
        poll_fn(|cx| self.poll_flush_with(cx, |io, cx| io.poll_flush(cx))).await
    }

    /// Converts the socket to a stream and sink of packets: tokio-util's [`Framed`] with [`Framing`](crate::Framing) or any
    /// other codec.
    pub fn framed<C>(self, codec: C) -> Framed<Socket, C> {
        Framed::new(self, codec)
    }

    /// The bytes that other parts of the program send to this connection: see [`Pushes`].
    pub fn pushes(&self) -> Pushes {
        Pushes::new(&self.shared)
    }

    /// The connection's bookkeeping.
    pub(crate) fn guard(&self) -> &ConnectionGuard {
        self.shared.guard()
    }

    /// Resolves when the connection should end: when [`PoolHandle::close`](crate::Pool::close) is called for it, and whenever
    /// [`draining`](Socket::draining) resolves. The future does not borrow the socket.
    ///
    /// An owner that takes [`pushes`](Socket::pushes) should then call [`Pushes::close`] and send the rest.
    pub fn closing(&self) -> impl Future<Output = ()> + use<> + 'static {
        self.shared.closing()
    }

    /// Resolves when the pool shuts down, when it ends the connection, or when the socket is dropped. The future does not
    /// borrow the socket.
    pub fn draining(&self) -> impl Future<Output = ()> + use<> + 'static {
        self.shared.draining()
    }

    /// Flushes or shuts down. With a buffering stream (TLS), this may wait as a write does.
    fn poll_flush_with(
        &mut self,
        cx: &mut Context<'_>,
        flush: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        match flush(Pin::new(&mut self.io), cx) {
            Poll::Pending => self.shared.wait_to_write(cx),
            Poll::Ready(Ok(())) => {
                self.shared.count_progress();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.shared.record_error(error))),
        }
    }

    /// Sends the next bytes of a file. Time in which the file is read does not count towards the send timeout.
    fn poll_send_file(&mut self, cx: &mut Context<'_>, file: &mut Sending) -> Poll<io::Result<usize>> {
        let max = file.left().min(FILE_CHUNK);
        let sent = self.poll_write_with(cx, max, |io, cx| file.poll(io, cx, max));
        if sent.is_pending() && file.is_reading() {
            // The bytes written so far must not wait for the next piece.
            ready!(self.poll_flush_with(cx, |io, cx| io.poll_flush(cx)))?;
        }
        sent
    }

    /// One write of at most `max` bytes.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        max: u64,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.shared.handle_signals()?;
        match self.shared.state().count_write(max, || write(Pin::new(&mut self.io), cx)) {
            Poll::Pending => self.shared.wait_to_write(cx),
            Poll::Ready(Ok(bytes)) => {
                if bytes > 0 {
                    self.shared.count_progress();
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.shared.record_error(error))),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.shared.handle_signals()?;
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Pending => this.shared.wait_to_read(cx),
            Poll::Ready(Ok(())) => {
                this.shared.count_read(buf.filled().len() - before, buf.remaining());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                if this.io.is_truncation(&error) {
                    this.shared.record_truncation();
                }
                Poll::Ready(Err(this.shared.record_error(error)))
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_with(cx, buf.len() as u64, |io, cx| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let max = bufs.iter().map(|buf| buf.len() as u64).sum();
        self.get_mut().poll_write_with(cx, max, |io, cx| io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_flush_with(cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.shut_down {
            // The system's TLS library would wait for the peer's close_notify.
            return Poll::Ready(Ok(()));
        }
        // Nothing more can be sent.
        this.shared.begin_closing();
        let outcome = this.poll_flush_with(cx, |io, cx| io.poll_shutdown(cx));
        this.shut_down |= outcome.is_ready();
        outcome
    }
}

impl Drop for Socket {
    /// The kernel sends the bytes that were written to a plain socket. A buffering stream (TLS) must be flushed and shut down
    /// first; the connection stays registered until then.
    fn drop(&mut self) {
        // Checked first: a panic of a user-defined stream during unwinding would abort the process.
        if std::thread::panicking() {
            return;
        }
        self.shared.begin_closing();
        if self.shut_down || self.io.is_plain() || self.shared.handle_signals().is_err() {
            return;
        }
        let (mut io, shared) = (self.io.take(), self.shared.clone());
        let shutdown = async move {
            let closed = shared.closed_by_pool();
            let shutdown = pin!(tokio::time::timeout(SHUTDOWN_LIMIT, io.shutdown()));
            // The outcome does not matter: the peer may be gone, or may not read.
            let _ = select(shutdown, pin!(closed)).await;
        };
        // An arbiter that is shutting down does not run the task. The peer then sees a truncated connection.
        let _ = catch_panic(|| drop(actix_rt::spawn(shutdown)));
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.id()).field("peer", self.peer()).finish_non_exhaustive()
    }
}
