//! The bytes of one connection, whatever carries them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Address;

/// What carries the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Plain TCP.
    Tcp,
    /// A transport of one's own.
    Other,
}

/// Any two-way stream of bytes that a transport of one's own may hand over.
pub trait Bytestream: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Bytestream for T {}

/// An accepted stream: one type for every kind of transport.
pub struct Stream(Inner);

enum Inner {
    Tcp(TcpStream),
    Other(Box<dyn Bytestream>),
}

impl Stream {
    /// A stream of a transport of one's own, an in-memory duplex in a test for example.
    pub fn other(stream: impl Bytestream) -> Self {
        Stream(Inner::Other(Box::new(stream)))
    }

    /// What carries the bytes.
    pub fn kind(&self) -> Kind {
        match self.0 {
            Inner::Tcp(_) => Kind::Tcp,
            Inner::Other(_) => Kind::Other,
        }
    }

    /// Our own end's address.
    ///
    /// # Errors
    /// What the system says; `Unsupported` for a transport that has no addresses.
    pub fn local_addr(&self) -> io::Result<Address> {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.local_addr().map(Address::Tcp),
            Inner::Other(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The error that waits on the socket, without reading: how a reset is seen behind unread bytes.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.take_error().ok().flatten(),
            Inner::Other(_) => None,
        }
    }

    /// Closes with a reset (RST) where the transport knows such a thing.
    pub(crate) fn reset(self) {
        if let Inner::Tcp(tcp) = &self.0 {
            // Failing that, it is an ordinary close.
            let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }

    /// After a read that left room: makes sure that we are woken by what comes next. Cheaper than to read in vain.
    #[inline]
    pub(crate) fn is_drained(&self, cx: &mut Context<'_>) -> bool {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.poll_read_ready(cx).is_pending(),
            Inner::Other(_) => false,
        }
    }

    /// Whether closing sends what is written by itself: a plain socket does, a stream with a layer of its own must be
    /// flushed and shut down.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.0, Inner::Tcp(_))
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Stream(Inner::Tcp(tcp))
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Inner::Other(other) => Pin::new(other).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Inner::Other(other) => Pin::new(other).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Inner::Other(other) => Pin::new(other).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.is_write_vectored(),
            Inner::Other(other) => other.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Inner::Other(other) => Pin::new(other).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Inner::Other(other) => Pin::new(other).poll_shutdown(cx),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.kind()).finish()
    }
}
