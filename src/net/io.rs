//! [`Io`], the trait of streams that are neither plain TCP nor a plain Unix socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Address, PeerCredentials, TransportKind};

/// A byte stream with additional information: TLS, or another layer.
///
/// [`Stream::from_io`](super::Stream::from_io) turns it into a [`Stream`](super::Stream). Every method has a default. For a
/// stream that needs no other, use [`Stream::other`](super::Stream::other). A layer on top of another stream forwards the
/// methods to it; [`Stream`](super::Stream) implements this trait for that purpose.
///
/// ```
/// use actix_acceptor::transport::{Io, Stream, TransportKind};
/// use std::io;
/// use std::pin::Pin;
/// use std::task::{Context, Poll};
/// use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
///
/// /// A stream that counts as TLS.
/// struct Tunnel(DuplexStream);
///
/// impl Io for Tunnel {
///     fn kind(&self) -> TransportKind {
///         TransportKind::Tls
///     }
/// }
///
/// impl AsyncRead for Tunnel {
///     fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
///         Pin::new(&mut self.0).poll_read(cx, buf)
///     }
/// }
///
/// impl AsyncWrite for Tunnel {
///     fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
///         Pin::new(&mut self.0).poll_write(cx, buf)
///     }
///     fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
///         Pin::new(&mut self.0).poll_flush(cx)
///     }
///     fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
///         Pin::new(&mut self.0).poll_shutdown(cx)
///     }
/// }
///
/// let stream = Stream::from_io(Tunnel(tokio::io::duplex(64).0));
/// assert_eq!(stream.kind(), TransportKind::Tls);
/// assert_eq!(stream.local_addr().unwrap_err().kind(), io::ErrorKind::Unsupported);
/// ```
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The kind of transport.
    ///
    /// With [`TransportKind::Tls`], a read that fails with `UnexpectedEof` means that the peer closed the connection
    /// without `close_notify`, which may be a truncation attack (RFC 8446, section 6.1).
    ///
    /// Default: [`TransportKind::Other`].
    fn kind(&self) -> TransportKind {
        TransportKind::Other
    }

    /// The address of the local end.
    ///
    /// # Errors
    /// Default: `Unsupported`.
    fn local_addr(&self) -> io::Result<Address> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The credentials of the peer's process when it connected.
    ///
    /// Default: `None`.
    fn peer_credentials(&self) -> Option<PeerCredentials> {
        None
    }

    /// The socket that carries the stream, for its options and statistics. `None` if there is none.
    ///
    /// Default: `None`.
    fn socket_ref(&self) -> Option<SockRef<'_>> {
        None
    }

    /// Takes the pending error of the socket (`SO_ERROR`) without reading.
    ///
    /// It reveals a reset that is hidden behind unread bytes.
    ///
    /// Default: `None`.
    fn take_error(&self) -> Option<io::Error> {
        None
    }

    /// Whether the peer has shut down its sending side, determined without reading. `None` if the stream cannot tell.
    ///
    /// It is called while a connection waits ([`Conn::wait`](crate::Conn::wait)) and does not read any further ahead, so
    /// that a FIN behind unread bytes bounds the wait. With `None`, such a wait is bounded as if the peer had left. It is
    /// also called while a connection is [passive](crate::Active::Passive) or slowed by its
    /// [`packet_rate`](crate::Builder::packet_rate); with `None`, a FIN does not bound that.
    ///
    /// Default: `None`.
    fn is_read_closed(&self) -> Option<bool> {
        None
    }

    /// Makes dropping the stream reset the connection (RST), if the stream can be reset.
    ///
    /// Default: sets `SO_LINGER` of the [socket](Io::socket_ref), if there is one, to zero.
    fn reset_on_drop(&self) {
        if let Some(socket) = self.socket_ref() {
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }

    /// Returns whether a read may yield bytes, the end of the stream or an error.
    ///
    /// Called after a read that left space in the buffer, because it is cheaper than another read that finds no bytes.
    ///
    /// `Pending` guarantees that neither the stream nor any layer below holds bytes that a read would return now, and
    /// that the task of `cx` is woken when that changes. `Ready` guarantees nothing; the caller reads again. A layer
    /// that may hold decoded bytes, or whose lower layer cannot tell, returns `Ready`.
    ///
    /// Default: `Ready`.
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }
}

/// Implements `AsyncWrite` for a newtype around a stream.
macro_rules! delegate_write {
    ([$($generics:tt)*] $stream:ty) => {
        impl<$($generics)*> tokio::io::AsyncWrite for $stream {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                self.0.is_write_vectored()
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().0).poll_flush(cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
            }
        }
    };
}
#[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
pub(crate) use delegate_write;

/// Any bidirectional byte stream, as an [`Io`] with all defaults.
pub(super) struct Opaque<T>(pub(super) T);

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for Opaque<T> {}

impl<T: AsyncRead + Unpin> AsyncRead for Opaque<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

delegate_write!([T: AsyncWrite + Unpin] Opaque<T>);
