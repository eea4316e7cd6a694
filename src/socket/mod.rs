//! An accepted socket on its way to whoever serves it, and as an async fn or an actor of one's own holds it.
//!
//! ```text
//! acceptor ── Incoming ──▶ door ──▶ Connection<P>                (its driver has the stream and the seat)
//!                            └────▶ Socket ──▶ async fn, actor   (orders act in its reads and writes)
//! ```

mod shared;
mod wakers;

use std::fmt;
use std::future::{poll_fn, Future};
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{select, Either, FutureExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_util::codec::Framed;

use crate::handshake::{Handshake, HandshakeChain, HandshakeError, HandshakeFailure, Negotiated, TlsInfo};
use crate::net::{Address, FileRange, PeerCredentials, Sending, Stream, TransportKind};
use crate::panic::{catch_panic, panic_text};
use crate::registry::ConnectionGuard;
use crate::telemetry::CloseReason;
use crate::telemetry::ConnectionId;

pub(crate) use shared::{SocketLimits, SocketState};

/// How long a socket that was dropped may take to send the rest and take its leave.
const LEAVE: Duration = Duration::from_secs(30);

/// How many bytes of a file are sent at once.
const FILE_BYTES: u64 = 256 * 1024;

/// A socket that was just accepted: nobody has said a word yet. It is in its arbiter's table, and counted.
pub(crate) struct Incoming {
    stream: Stream,
    guard: ConnectionGuard,
    steps: Option<Box<HandshakeChain>>,
}

impl Incoming {
    pub(crate) fn new(stream: Stream, guard: ConnectionGuard, steps: Option<Box<HandshakeChain>>) -> Self {
        Incoming { stream, guard, steps }
    }

    pub(crate) fn open(self) -> (Stream, ConnectionGuard, Option<Box<HandshakeChain>>) {
        (self.stream, self.guard, self.steps)
    }
}

/// An accepted connection in the hands of an async fn ([`serve`](crate::AcceptorPool::with_fn)) or of an actor of one's own
/// ([`start`](crate::AcceptorPool::with_actor)).
///
/// Plain [`AsyncRead`] and [`AsyncWrite`]; [`framed`](Socket::framed) makes packets of it. It stays on its arbiter's
/// thread. Dropping it closes the connection as dropping tokio's `TcpStream` does: where input is left unread the peer sees
/// a reset, which can overtake the last bytes written. Who has asked the peer to stop sending reads to the end first. Under
/// TLS what is left is still sent, and `close_notify` said, for 30 s at the most; the connection counts as alive meanwhile.
///
/// The pool's limits and orders act in its reads and writes. A peer silent for the idle timeout while it is being read, one
/// that takes nothing for the send timeout, and the maximum age make them fail with
/// [`TimedOut`](io::ErrorKind::TimedOut); being ended through the pool, or at the deadline of a shutdown, with
/// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted). A shutdown is told by [`draining`](Socket::draining).
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
    /// What it has to go through before it is anybody's.
    steps: Option<Box<HandshakeChain>>,
    negotiated: Negotiated,
    /// It has taken its leave.
    shut: bool,
}

impl Socket {
    pub(crate) fn accept(incoming: Incoming, limits: SocketLimits) -> Self {
        let (io, guard, steps) = incoming.open();
        Socket {
            io,
            shared: Rc::new(SocketState::new(guard, limits)),
            steps,
            negotiated: Negotiated::default(),
            shut: false,
        }
    }

    /// Whether it has no handshake before it.
    pub(crate) fn is_ready(&self) -> bool {
        self.steps.is_none()
    }

    /// Goes through the handshake. `None`: it failed, or the pool ended it; that is noted then.
    pub(crate) async fn shake(mut self) -> Option<Self> {
        let Some(steps) = self.steps.take() else { return Some(self) };
        let opening = AssertUnwindSafe(steps.begin(self.io.take(), self.shared.state().clone())).catch_unwind();
        let killed = self.shared.killed();
        let shaken = match select(opening, pin!(killed)).await {
            Either::Left((shaken, _)) => shaken,
            Either::Right(_) => return None,
        };
        match shaken {
            Ok(Ok(shaken)) => {
                self.io = shaken.stream;
                self.negotiated = shaken.negotiated;
                Some(self)
            }
            Ok(Err(HandshakeFailure::Refused(refusal))) => {
                self.shared.refuse(refusal);
                None
            }
            Ok(Err(HandshakeFailure::Failed(error))) => {
                self.shared.note(CloseReason::Handshake, Some(error.to_string()));
                None
            }
            Err(panic) => {
                self.shared.note(CloseReason::Panic, Some(panic_text(panic)));
                None
            }
        }
    }

    /// Goes through a handshake: STARTTLS, within the pool's [`handshake_timeout`](crate::Builder::handshake_timeout). Bytes
    /// that were read before, by whoever reads ahead, are not its business: refuse what came in clear behind the wish.
    ///
    /// # Errors
    /// Why it failed; the socket is gone then.
    pub async fn upgrade(mut self, handshake: impl Handshake) -> Result<Socket, HandshakeError> {
        let limits = self.shared.state().port().limits();
        let (limit, slots) = (limits.policy().handshake_timeout, limits.handshakes().clone());
        let Some(steps) = HandshakeChain::new(vec![Arc::new(handshake)], limit, slots) else { return Ok(self) };
        let opening = steps.begin(self.io.take(), self.shared.state().clone());
        match select(opening, pin!(self.shared.killed())).await {
            Either::Left((Ok(shaken), _)) => {
                self.io = shaken.stream;
                self.negotiated = shaken.negotiated.or(&self.negotiated);
                Ok(self)
            }
            Either::Left((Err(HandshakeFailure::Failed(error)), _)) => {
                self.shared.note(CloseReason::Handshake, Some(error.to_string()));
                Err(error)
            }
            Either::Left((Err(HandshakeFailure::Refused(refusal)), _)) => {
                self.shared.refuse(refusal);
                Err(HandshakeError::failed(format!("refused: {}", refusal.name())))
            }
            Either::Right(_) => {
                // What the pool did goes before what is made of this error.
                self.shared.check()?;
                Err(io::Error::from(io::ErrorKind::ConnectionAborted).into())
            }
        }
    }

    /// What its TLS handshake has agreed on; `None` without TLS.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.negotiated.tls.as_deref()
    }

    /// The PROXY header that was believed; `None` where there was none.
    #[cfg(feature = "proxy-protocol")]
    #[cfg_attr(docsrs, doc(cfg(feature = "proxy-protocol")))]
    pub fn proxy(&self) -> Option<&crate::handshake::ProxyHeader> {
        self.negotiated.proxy.as_deref()
    }

    /// The address of the socket itself, where [`peer`](Socket::peer) is the one a believed PROXY header claims.
    pub fn socket_peer(&self) -> &Address {
        self.shared.state().socket_peer()
    }

    /// What stays with the task: the place is given back when both the task and its socket are gone.
    pub(crate) fn shared(&self) -> Rc<SocketState> {
        self.shared.clone()
    }

    /// The connection's number.
    pub fn id(&self) -> ConnectionId {
        self.shared.state().id()
    }

    /// The peer's address.
    pub fn peer(&self) -> &Address {
        self.shared.state().peer()
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
        self.shared.listener()
    }

    /// Says how this connection is ending, for the counts and the log, where only its owner knows: an error of the
    /// protocol, a limit of one's own. The first word counts; what the pool itself did to the connection goes first.
    pub fn set_close_reason(&self, reason: CloseReason) {
        self.shared.note(reason, None);
    }

    /// Sends a file, or a range of it.
    ///
    /// # Errors
    /// As writing does; `InvalidData` when the file has become shorter meanwhile.
    pub async fn send_file(&mut self, file: FileRange) -> io::Result<()> {
        let mut file = Sending::new(file);
        while file.left() > 0 {
            let most = file.left().min(FILE_BYTES);
            poll_fn(|cx| self.write(cx, most as usize, |io, cx| file.poll(io, cx, most))).await?;
        }
        poll_fn(|cx| self.drive_out(cx, |io, cx| io.poll_flush(cx))).await
    }

    /// Packets instead of bytes: tokio-util's [`Framed`] with [`Framing`](crate::Framing) or any codec.
    pub fn framed<C>(self, codec: C) -> Framed<Socket, C> {
        Framed::new(self, codec)
    }

    /// Resolves when the pool has told the connection to shut down, when it ends it, or when the socket is gone. Borrows
    /// nothing.
    pub fn draining(&self) -> impl Future<Output = ()> + 'static {
        self.shared.draining()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.shared.check()?;
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Pending => this.shared.waits_to_read(cx),
            Poll::Ready(Ok(())) => {
                this.shared.has_read(buf.filled().len() - before, buf.remaining());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                if this.io.is_truncation(&error) {
                    this.shared.cut_short();
                }
                Poll::Ready(Err(this.shared.failed(error)))
            }
        }
    }
}

impl Socket {
    /// A layer of its own may keep back what was written: then flushing and shutting down wait as writing does.
    fn drive_out(
        &mut self,
        cx: &mut Context<'_>,
        drive: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        match drive(Pin::new(&mut self.io), cx) {
            Poll::Pending => self.shared.waits_to_write(cx),
            Poll::Ready(Ok(())) => {
                self.shared.is_out();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.shared.failed(error))),
        }
    }

    /// One write of so many bytes at the most.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.shared.check()?;
        let before = self.shared.is_writing(most);
        let outcome = write(Pin::new(&mut self.io), cx);
        let taken = if let Poll::Ready(Ok(bytes)) = &outcome { *bytes } else { 0 };
        self.shared.has_written(before, taken);
        match outcome {
            Poll::Pending => self.shared.waits_to_write(cx),
            Poll::Ready(Ok(bytes)) => Poll::Ready(Ok(bytes)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.shared.failed(error))),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write(cx, buf.len(), |io, cx| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let most = bufs.iter().map(|buf| buf.len()).sum();
        self.get_mut().write(cx, most, |io, cx| io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().drive_out(cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = this.drive_out(cx, |io, cx| io.poll_shutdown(cx));
        this.shut |= outcome.is_ready();
        outcome
    }
}

impl Drop for Socket {
    /// A plain socket sends by itself what was written. What lies above one must be flushed, and takes its leave: TLS says
    /// `close_notify`. The place is kept until then.
    fn drop(&mut self) {
        if self.shut || self.io.is_plain() || self.shared.check().is_err() || std::thread::panicking() {
            return;
        }
        let (mut io, shared) = (self.io.take(), self.shared.clone());
        let leave = async move {
            let killed = shared.killed();
            let left = pin!(tokio::time::timeout(LEAVE, io.shutdown()));
            // Whether it got through or not: the peer may be gone, or take nothing.
            let _ = select(left, pin!(killed)).await;
        };
        // An arbiter that is going down spawns nothing; then the peer sees the connection cut short.
        let _ = catch_panic(|| drop(actix_rt::spawn(leave)));
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.id()).field("peer", self.peer()).finish_non_exhaustive()
    }
}
