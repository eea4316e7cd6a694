//! [`Detached`], the stream of a connection that has left its pool.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::handshake::{Negotiated, TlsInfo};
use crate::net::{Address, PeerCredentials, Stream, TransportKind};
use crate::registry::ConnectionState;
use crate::telemetry::ConnectionId;

/// The byte stream of a connection that has left its pool, through [`Next::detach`](crate::Next::detach) or
/// [`Socket::into_inner`](crate::Socket::into_inner). It is [`Send`], and implements [`AsyncRead`] and [`AsyncWrite`].
///
/// Reads first return the bytes that the connection had read and not delivered, then those of the stream. With TLS, the stream
/// is the TLS stream.
///
/// - For the pool, the connection has ended with [`CloseReason::Detached`](crate::telemetry::CloseReason::Detached). It counts
///   for no limit, is not listed, and has left its topics and names. Timeouts and rates do not apply to it, and a drain does not
///   wait for it.
/// - The socket stays registered with the runtime of its arbiter. Once the pool has stopped its arbiters, reads and writes fail;
///   a pool [on the current arbiter](crate::Builder::on_current_arbiter) leaves the runtime running. To move a plain socket to
///   another runtime, use [`into_tcp`](Detached::into_tcp), tokio's `into_std`, and `from_std` on the other runtime. A TLS stream
///   cannot be moved.
/// - Dropping it closes the connection, as dropping tokio's `TcpStream` does. Before a TLS stream is dropped, call
///   [`shutdown`](tokio::io::AsyncWriteExt::shutdown); otherwise the peer sees a truncated connection.
pub struct Detached {
    stream: Stream,
    unread: Bytes,
    about: Box<About>,
}

/// The data of the connection.
struct About {
    id: ConnectionId,
    peer: Address,
    socket_peer: Address,
    listener: Arc<str>,
    negotiated: Negotiated,
}

impl Detached {
    /// `unread` comes before what the stream yields.
    pub(crate) fn new(stream: Stream, unread: &[u8], state: &ConnectionState, negotiated: Negotiated) -> Self {
        let (stream, put_back) = stream.split_put_back();
        // Copied: a slice would keep the block that it was read into alive.
        let unread = BytesMut::from_iter(unread.iter().chain(&put_back)).freeze();
        let about = Box::new(About {
            id: state.id(),
            peer: state.peer().clone(),
            socket_peer: state.socket_peer().clone(),
            listener: state.listener_name().clone(),
            negotiated,
        });
        Detached { stream, unread, about }
    }

    /// The id that the connection had.
    pub fn id(&self) -> ConnectionId {
        self.about.id
    }

    /// The peer's address: the one named by a trusted PROXY header, else the socket's.
    pub fn peer(&self) -> &Address {
        &self.about.peer
    }

    /// The address of the socket's peer: the load balancer if [`peer`](Detached::peer) comes from a PROXY header.
    pub fn socket_peer(&self) -> &Address {
        &self.about.socket_peer
    }

    /// The name of the listener that accepted the connection.
    pub fn listener(&self) -> &str {
        &self.about.listener
    }

    /// The result of the TLS handshake. `None` without TLS.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.about.negotiated.tls.as_deref()
    }

    /// The trusted PROXY header; `None` if there was none.
    #[cfg(feature = "proxy-protocol")]
    #[cfg_attr(docsrs, doc(cfg(feature = "proxy-protocol")))]
    pub fn proxy(&self) -> Option<&crate::handshake::ProxyHeader> {
        self.about.negotiated.proxy.as_deref()
    }

    /// The kind of transport.
    pub fn transport(&self) -> TransportKind {
        self.stream.kind()
    }

    /// The local address of the socket.
    ///
    /// # Errors
    /// The system's error, for example for a socket that was reset.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.stream.local_addr()
    }

    /// The user, group and process of the peer of a Unix socket. `None` for other transports.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        self.stream.peer_credentials()
    }

    /// The socket, for its options and statistics; with TLS, the socket below TLS. `None` for a transport without one.
    pub fn socket_ref(&self) -> Option<SockRef<'_>> {
        self.stream.socket_ref()
    }

    /// The bytes that the connection had read and not delivered, without those that were read from this stream since.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Splits it into the stream and the [unread](Detached::unread) bytes, which precede those of the stream.
    /// [`Stream::put_back`](crate::transport::Stream::put_back) joins the two again.
    pub fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.unread)
    }

    /// Converts to the TCP stream of tokio.
    ///
    /// # Errors
    /// Returns itself if it is not a plain TCP stream, for example with TLS, or if there are [unread](Detached::unread) bytes,
    /// which would be lost.
    pub fn into_tcp(self) -> Result<TcpStream, Detached> {
        self.into_plain(Stream::into_tcp)
    }

    /// Converts to the Unix stream of tokio.
    ///
    /// # Errors
    /// As for [`into_tcp`](Detached::into_tcp).
    #[cfg(unix)]
    pub fn into_unix(self) -> Result<UnixStream, Detached> {
        self.into_plain(Stream::into_unix)
    }

    fn into_plain<T>(self, into: impl FnOnce(Stream) -> Result<T, Stream>) -> Result<T, Detached> {
        if !self.unread.is_empty() {
            return Err(self);
        }
        let Detached { stream, unread, about } = self;
        into(stream).map_err(|stream| Detached { stream, unread, about })
    }
}

impl AsyncRead for Detached {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let bytes = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..bytes]);
        self.unread.advance(bytes);
        if self.unread.is_empty() {
            self.unread = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Detached {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
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

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detached")
            .field("id", &self.id())
            .field("peer", self.peer())
            .field("unread", &self.unread.len())
            .finish_non_exhaustive()
    }
}
