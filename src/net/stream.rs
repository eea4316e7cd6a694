//! The bytes of one connection, whatever carries them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

#[cfg(unix)]
use super::UnixAddress;
use super::{Address, PeerCredentials};
#[cfg(any(feature = "native-tls", feature = "rustls"))]
use crate::handshake::tls;

/// What carries the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// Plain TCP.
    Tcp,
    /// A Unix socket.
    Unix,
    /// TLS, whatever is below it.
    Tls,
    /// A transport of one's own.
    Other,
}

/// Any two-way stream of bytes that a transport of one's own may hand over.
pub trait Io: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Io for T {}

/// An accepted stream: one type for every kind of transport.
pub struct Stream(Inner);

enum Inner {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Other(Box<dyn Io>),
    #[cfg(feature = "native-tls")]
    Native(Box<tokio_native_tls::TlsStream<tls::NativeIo>>),
    #[cfg(feature = "rustls")]
    Rustls(Box<tokio_rustls::server::TlsStream<Stream>>),
    /// Bytes were read too many, and put back.
    PutBack(Box<PutBack>),
    /// It is in the hands of a handshake.
    Taken,
}

struct PutBack {
    bytes: Bytes,
    stream: Stream,
}

impl Stream {
    /// A stream of a transport of one's own, an in-memory duplex in a test for example.
    pub fn other(stream: impl Io) -> Self {
        Stream(Inner::Other(Box::new(stream)))
    }

    /// Puts bytes back that were read too many: they are read first again. For a [`Handshake`](super::Handshake) that
    /// cannot know where its part ends before it has read beyond.
    pub fn put_back(self, bytes: impl Into<Bytes>) -> Self {
        match bytes.into() {
            bytes if bytes.is_empty() => self,
            bytes => Stream(Inner::PutBack(Box::new(PutBack { bytes, stream: self }))),
        }
    }

    #[cfg(feature = "native-tls")]
    pub(crate) fn native(tls: tokio_native_tls::TlsStream<tls::NativeIo>) -> Self {
        Stream(Inner::Native(Box::new(tls)))
    }

    #[cfg(feature = "rustls")]
    pub(crate) fn rustls(tls: tokio_rustls::server::TlsStream<Stream>) -> Self {
        Stream(Inner::Rustls(Box::new(tls)))
    }

    /// Takes the stream out: what is left is away.
    pub(crate) fn take(&mut self) -> Stream {
        std::mem::replace(self, Stream(Inner::Taken))
    }

    /// What carries the bytes.
    pub fn kind(&self) -> TransportKind {
        match self.0 {
            Inner::Tcp(_) => TransportKind::Tcp,
            #[cfg(unix)]
            Inner::Unix(_) => TransportKind::Unix,
            #[cfg(feature = "native-tls")]
            Inner::Native(_) => TransportKind::Tls,
            #[cfg(feature = "rustls")]
            Inner::Rustls(_) => TransportKind::Tls,
            Inner::PutBack(ref put_back) => put_back.stream.kind(),
            Inner::Other(_) | Inner::Taken => TransportKind::Other,
        }
    }

    /// Our own end's address.
    ///
    /// # Errors
    /// What the system says; `Unsupported` for a transport that has no addresses.
    pub fn local_addr(&self) -> io::Result<Address> {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.local_addr().map(Address::Tcp),
            #[cfg(unix)]
            Inner::Unix(unix) => {
                Ok(UnixAddress::from(&std::os::unix::net::SocketAddr::from(unix.local_addr()?)).into())
            }
            #[cfg(feature = "native-tls")]
            Inner::Native(tls) => tls.get_ref().get_ref().get_ref().stream.local_addr(),
            #[cfg(feature = "rustls")]
            Inner::Rustls(tls) => tls.get_ref().0.local_addr(),
            Inner::PutBack(put_back) => put_back.stream.local_addr(),
            Inner::Other(_) => Err(io::ErrorKind::Unsupported.into()),
            Inner::Taken => Err(taken()),
        }
    }

    /// Who is at the other end of a Unix socket, as it was when it connected: one system call. `None` for other kinds.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        match &self.0 {
            #[cfg(unix)]
            Inner::Unix(unix) => unix.peer_cred().ok().map(PeerCredentials::from),
            #[cfg(feature = "native-tls")]
            Inner::Native(tls) => tls.get_ref().get_ref().get_ref().stream.peer_credentials(),
            #[cfg(feature = "rustls")]
            Inner::Rustls(tls) => tls.get_ref().0.peer_credentials(),
            Inner::PutBack(put_back) => put_back.stream.peer_credentials(),
            _ => None,
        }
    }

    /// The error that waits on the socket, without reading: how a reset is seen behind unread bytes.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.take_error().ok().flatten(),
            #[cfg(unix)]
            Inner::Unix(unix) => unix.take_error().ok().flatten(),
            #[cfg(feature = "native-tls")]
            Inner::Native(tls) => tls.get_ref().get_ref().get_ref().stream.take_error(),
            #[cfg(feature = "rustls")]
            Inner::Rustls(tls) => tls.get_ref().0.take_error(),
            Inner::PutBack(put_back) => put_back.stream.take_error(),
            Inner::Other(_) | Inner::Taken => None,
        }
    }

    /// Sends what the socket takes at this very moment, without the arbiter's help; how much that was.
    pub(crate) fn send_now(&self, bytes: &[u8]) -> usize {
        match &self.0 {
            Inner::Tcp(tcp) => socket2::SockRef::from(tcp).send(bytes).unwrap_or(0),
            Inner::PutBack(put_back) => put_back.stream.send_now(bytes),
            _ => 0,
        }
    }

    /// Has the kernel send a part of a file; `None` where it cannot.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        file: &std::fs::File,
        offset: &mut u64,
        most: usize,
    ) -> Option<Poll<io::Result<usize>>> {
        use rustix::fs::sendfile;
        use tokio::io::Interest;
        macro_rules! send {
            ($io:expr) => {
                loop {
                    match $io.poll_write_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                        Poll::Pending => break Poll::Pending,
                    }
                    let sent = $io.try_io(Interest::WRITABLE, || Ok(sendfile($io, file, Some(offset), most)?));
                    match sent.as_ref().map_err(io::Error::kind) {
                        Err(io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                        _ => break Poll::Ready(sent),
                    }
                }
            };
        }
        match &self.0 {
            Inner::Tcp(tcp) => Some(send!(tcp)),
            Inner::Unix(unix) => Some(send!(unix)),
            Inner::PutBack(put_back) => put_back.stream.poll_send_file(cx, file, offset, most),
            _ => None,
        }
    }

    /// Whether an error of a read means that the peer cut a layer short that has an end of its own: TLS without
    /// `close_notify`.
    pub(crate) fn is_truncation(&self, error: &io::Error) -> bool {
        self.kind() == TransportKind::Tls && error.kind() == io::ErrorKind::UnexpectedEof
    }

    /// Closes with a reset (RST) where the transport knows such a thing.
    pub(crate) fn reset(self) {
        match self.0 {
            // Failing that, it is an ordinary close.
            Inner::Tcp(tcp) => drop(socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO))),
            Inner::PutBack(put_back) => put_back.stream.reset(),
            _ => {}
        }
    }

    /// After a read that left room: makes sure that we are woken by what comes next. Cheaper than to read in vain.
    #[inline]
    pub(crate) fn is_drained(&self, cx: &mut Context<'_>) -> bool {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.poll_read_ready(cx).is_pending(),
            #[cfg(unix)]
            Inner::Unix(unix) => unix.poll_read_ready(cx).is_pending(),
            #[cfg(feature = "native-tls")]
            Inner::Native(tls) => tls::native::is_drained(tls, cx),
            #[cfg(feature = "rustls")]
            Inner::Rustls(tls) => tls::rustls::is_drained(tls, cx),
            // What lies below may be empty while there is plaintext left: only a read tells.
            _ => false,
        }
    }

    /// What was put back goes first; with its last byte the stream is as it was.
    #[cold]
    fn read_ahead(&mut self, buf: &mut ReadBuf<'_>) {
        let Inner::PutBack(put_back) = &mut self.0 else { return };
        buf.put_slice(&put_back.bytes.split_to(put_back.bytes.len().min(buf.remaining())));
        if put_back.bytes.is_empty() {
            *self = put_back.stream.take();
        }
    }

    /// Whether closing sends what is written by itself: a plain socket does, a stream with a layer of its own must be
    /// flushed and shut down.
    pub(crate) fn is_plain(&self) -> bool {
        match self.0 {
            Inner::Tcp(_) | Inner::Taken => true,
            #[cfg(unix)]
            Inner::Unix(_) => true,
            Inner::PutBack(ref put_back) => put_back.stream.is_plain(),
            _ => false,
        }
    }
}

fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "a handshake is under way")
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Stream(Inner::Tcp(tcp))
    }
}

#[cfg(unix)]
impl From<UnixStream> for Stream {
    fn from(unix: UnixStream) -> Self {
        Stream(Inner::Unix(unix))
    }
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Inner::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            #[cfg(unix)]
            Inner::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            #[cfg(feature = "native-tls")]
            Inner::Native(tls) => tls::native::poll_read(tls, cx, buf),
            #[cfg(feature = "rustls")]
            Inner::Rustls(tls) => tls::rustls::poll_read(tls, cx, buf),
            Inner::Other(other) => Pin::new(other).poll_read(cx, buf),
            Inner::PutBack(_) => {
                self.read_ahead(buf);
                Poll::Ready(Ok(()))
            }
            Inner::Taken => Poll::Ready(Err(taken())),
        }
    }
}

/// Does the same to whatever carries the bytes.
macro_rules! delegate {
    ($stream:expr, $io:ident => $done:expr, away => $away:expr) => {
        match $stream {
            Inner::Tcp($io) => $done,
            #[cfg(unix)]
            Inner::Unix($io) => $done,
            #[cfg(feature = "native-tls")]
            Inner::Native($io) => $done,
            #[cfg(feature = "rustls")]
            Inner::Rustls($io) => $done,
            Inner::Other($io) => $done,
            Inner::PutBack(put_back) => {
                let $io = &mut put_back.stream;
                $done
            }
            Inner::Taken => $away,
        }
    };
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(&mut self.get_mut().0, io => Pin::new(io).poll_write(cx, buf), away => Poll::Ready(Err(taken())))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut self.get_mut().0;
        delegate!(stream, io => Pin::new(io).poll_write_vectored(cx, bufs), away => Poll::Ready(Err(taken())))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.is_write_vectored(),
            #[cfg(unix)]
            Inner::Unix(unix) => unix.is_write_vectored(),
            #[cfg(feature = "native-tls")]
            Inner::Native(tls) => tls.is_write_vectored(),
            #[cfg(feature = "rustls")]
            Inner::Rustls(tls) => tls.is_write_vectored(),
            Inner::Other(other) => other.is_write_vectored(),
            Inner::PutBack(put_back) => put_back.stream.is_write_vectored(),
            Inner::Taken => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.get_mut().0, io => Pin::new(io).poll_flush(cx), away => Poll::Ready(Ok(())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.get_mut().0, io => Pin::new(io).poll_shutdown(cx), away => Poll::Ready(Ok(())))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.kind()).finish()
    }
}
