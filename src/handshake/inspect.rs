//! [`Inspect`], a step that passes the bytes of each read and write to a closure.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tracing::error;

use super::{Handshake, HandshakeError, Handshaken, LocalBoxFuture};
use crate::net::{Address, Io, PeerCredentials, Stream, TransportKind};
use crate::panic::catch_panic;
use crate::telemetry::LogThrottle;

/// The bytes of one read or write of a connection, as [`Inspect`] reports them.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Inspected<'a> {
    /// The peer, as it was known when the step ran: with a PROXY header, the peer that the header names.
    pub peer: &'a Address,
    /// Whether the bytes were read or written.
    pub direction: Direction,
    /// The bytes that a read returned or that a write passed to the stream below. A write of several buffers is reported buffer by
    /// buffer. Never empty.
    pub bytes: &'a [u8],
}

/// The direction of [`Inspected`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the peer.
    Read,
    /// To the peer.
    Write,
}

/// A handshake step that passes the bytes of each read and write of a connection to a closure, for traces and audits.
///
/// Steps run in the order in which they were added to the [`Listener`](crate::Listener). If the step was added after
/// [`tls`](crate::Listener::tls), the closure receives plaintext, otherwise the encrypted bytes.
///
/// The closure runs on the arbiter of the connection and must not block. If it panics, the connection continues, and the panic is
/// logged at most once per second. An inspected connection needs one more allocation of about 100 bytes, and
/// [`Conn::send_file`](crate::Conn::send_file) copies instead of using `sendfile`.
///
/// ```
/// use actix_acceptor::transport::{Direction, Inspect};
/// use actix_acceptor::{AcceptorPool, Listener, Socket};
/// use std::sync::{mpsc, Mutex};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// async fn hello(mut socket: Socket) {
///     let _ = socket.write_all(b"hello").await;
/// }
///
/// # actix::System::new().block_on(async {
/// let (lines, seen) = mpsc::channel();
/// let trace = Inspect::new(move |inspected| {
///     let arrow = if inspected.direction == Direction::Read { "<-" } else { "->" };
///     let _ = lines.send(format!("{arrow} {}", inspected.bytes.escape_ascii()));
/// });
/// let pool = AcceptorPool::with_fn(hello).listener(Listener::tcp("127.0.0.1:0").handshake(trace)).start().await?;
/// let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
/// peer.read_to_end(&mut Vec::new()).await?;
/// assert_eq!(seen.recv()?, "-> hello");
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
pub struct Inspect(Arc<Shared>);

struct Shared {
    inspect: Box<dyn Fn(Inspected<'_>) + Send + Sync>,
    panics: LogThrottle,
}

impl Inspect {
    /// Creates a step that calls this closure.
    pub fn new(inspect: impl Fn(Inspected<'_>) + Send + Sync + 'static) -> Self {
        Inspect(Arc::new(Shared { inspect: Box::new(inspect), panics: LogThrottle::new() }))
    }
}

impl fmt::Debug for Inspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspect").finish_non_exhaustive()
    }
}

impl Handshake for Inspect {
    fn handshake(&self, stream: Stream, peer: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let stream = InspectedStream { stream, peer: peer.clone(), shared: self.0.clone() };
        Box::pin(async move { Ok(Handshaken::new(Stream::from_io(stream))) })
    }
}

struct InspectedStream {
    stream: Stream,
    peer: Address,
    shared: Arc<Shared>,
}

impl InspectedStream {
    fn inspect(&self, direction: Direction, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let (peer, shared) = (&self.peer, &*self.shared);
        if let Err(panic) = catch_panic(|| (shared.inspect)(Inspected { peer, direction, bytes })) {
            shared.panics.log(|left_out| error!(%peer, panic, left_out, "the closure of an `Inspect` panicked"));
        }
    }
}

impl Io for InspectedStream {
    fn kind(&self) -> TransportKind {
        Io::kind(&self.stream)
    }

    fn local_addr(&self) -> io::Result<Address> {
        Io::local_addr(&self.stream)
    }

    fn peer_credentials(&self) -> Option<PeerCredentials> {
        Io::peer_credentials(&self.stream)
    }

    fn socket_ref(&self) -> Option<SockRef<'_>> {
        Io::socket_ref(&self.stream)
    }

    fn take_error(&self) -> Option<io::Error> {
        Io::take_error(&self.stream)
    }

    fn is_read_closed(&self) -> Option<bool> {
        Io::is_read_closed(&self.stream)
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        Io::poll_read_ready(&self.stream, cx)
    }
}

impl AsyncRead for InspectedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.inspect(Direction::Read, &buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for InspectedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.inspect(Direction::Write, &buf[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let part = &buf[..left.min(buf.len())];
            self.inspect(Direction::Write, part);
            left -= part.len();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
