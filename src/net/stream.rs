//! [`Stream`], the byte stream of one connection, for every kind of transport.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{pin, Pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use super::io::Opaque;
#[cfg(unix)]
use super::UnixAddress;
use super::{Address, Io, PeerCredentials};

/// The kind of transport that carries the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportKind {
    /// Plain TCP.
    Tcp,
    /// A Unix socket.
    Unix,
    /// TLS, over any transport.
    Tls,
    /// A user-defined transport.
    Other,
}

/// An accepted byte stream: one type for every kind of transport.
pub struct Stream(pub(super) Inner);

pub(super) enum Inner {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Dyn(Box<dyn Io>),
    /// Bytes that were put back are read before the stream.
    PutBack(Box<PutBack>),
    /// A handshake owns the stream.
    Taken,
}

pub(super) struct PutBack {
    pub(super) bytes: Bytes,
    pub(super) stream: Stream,
}

impl Stream {
    /// Creates a stream from any bidirectional byte stream, for example an in-memory duplex in a test.
    ///
    /// Its [`kind`](Stream::kind) is [`TransportKind::Other`], and it has no addresses. For a stream with more information,
    /// implement [`Io`] and use [`from_io`](Stream::from_io).
    pub fn other(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self::from_io(Opaque(stream))
    }

    /// Creates a stream from an [`Io`], for example a layer of encryption on top of another `Stream`.
    pub fn from_io(io: impl Io) -> Self {
        Stream(Inner::Dyn(Box::new(io)))
    }

    /// Puts bytes back. They are read again before the rest of the stream.
    ///
    /// Meant for a [`Handshake`](crate::transport::Handshake) that has to read beyond its own end to find it.
    pub fn put_back(self, bytes: impl Into<Bytes>) -> Self {
        match bytes.into() {
            bytes if bytes.is_empty() => self,
            bytes => Stream(Inner::PutBack(Box::new(PutBack { bytes, stream: self }))),
        }
    }

    /// Takes the stream out. The value left behind fails every read and write with `NotConnected`.
    pub(crate) fn take(&mut self) -> Stream {
        std::mem::replace(self, Stream(Inner::Taken))
    }

    /// The kind of transport.
    pub fn kind(&self) -> TransportKind {
        match &self.0 {
            Inner::Tcp(_) => TransportKind::Tcp,
            #[cfg(unix)]
            Inner::Unix(_) => TransportKind::Unix,
            Inner::Dyn(io) => io.kind(),
            Inner::PutBack(put_back) => put_back.stream.kind(),
            Inner::Taken => TransportKind::Other,
        }
    }

    /// The address of the local end.
    ///
    /// # Errors
    /// The error of the system, or `Unsupported` for a transport without addresses.
    pub fn local_addr(&self) -> io::Result<Address> {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.local_addr().map(Address::Tcp),
            #[cfg(unix)]
            Inner::Unix(unix) => {
                Ok(UnixAddress::from(&std::os::unix::net::SocketAddr::from(unix.local_addr()?)).into())
            }
            Inner::Dyn(io) => io.local_addr(),
            Inner::PutBack(put_back) => put_back.stream.local_addr(),
            Inner::Taken => Err(taken()),
        }
    }

    /// The credentials of the peer of a Unix socket when it connected. `None` for other kinds.
    ///
    /// Costs one system call.
    pub fn peer_credentials(&self) -> Option<PeerCredentials> {
        match &self.0 {
            #[cfg(unix)]
            Inner::Unix(unix) => unix.peer_cred().ok().map(PeerCredentials::from),
            Inner::Dyn(io) => io.peer_credentials(),
            Inner::PutBack(put_back) => put_back.stream.peer_credentials(),
            Inner::Tcp(_) | Inner::Taken => None,
        }
    }

    /// The socket that carries the stream: below TLS, that of the connection. `None` if there is none.
    pub fn socket_ref(&self) -> Option<SockRef<'_>> {
        match &self.0 {
            Inner::Tcp(tcp) => Some(tcp.into()),
            #[cfg(unix)]
            Inner::Unix(unix) => Some(unix.into()),
            Inner::Dyn(io) => io.socket_ref(),
            Inner::PutBack(put_back) => put_back.stream.socket_ref(),
            Inner::Taken => None,
        }
    }

    /// Takes the pending error of the socket without reading. It reveals a reset that is hidden behind unread bytes.
    pub(crate) fn take_error(&self) -> Option<io::Error> {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.take_error().ok().flatten(),
            #[cfg(unix)]
            Inner::Unix(unix) => unix.take_error().ok().flatten(),
            Inner::Dyn(io) => io.take_error(),
            Inner::PutBack(put_back) => put_back.stream.take_error(),
            Inner::Taken => None,
        }
    }

    /// See [`Io::is_read_closed`].
    pub(crate) fn is_read_closed(&self) -> Option<bool> {
        match &self.0 {
            Inner::Tcp(tcp) => Some(is_read_closed(tcp.ready(Interest::READABLE))),
            #[cfg(unix)]
            Inner::Unix(unix) => Some(is_read_closed(unix.ready(Interest::READABLE))),
            Inner::Dyn(io) => io.is_read_closed(),
            Inner::PutBack(put_back) => put_back.stream.is_read_closed(),
            Inner::Taken => Some(false),
        }
    }

    /// Sends what the kernel accepts now, outside the runtime. Returns the number of bytes sent.
    pub(crate) fn send_now(&self, bytes: &[u8]) -> usize {
        match &self.0 {
            Inner::Tcp(tcp) => socket2::SockRef::from(tcp).send(bytes).unwrap_or(0),
            Inner::PutBack(put_back) => put_back.stream.send_now(bytes),
            _ => 0,
        }
    }

    /// Sends a part of a file by `sendfile(2)`; `None` where the kernel cannot do that.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn poll_send_file(
        &self,
        cx: &mut Context<'_>,
        file: &std::fs::File,
        offset: &mut u64,
        limit: usize,
    ) -> Option<Poll<io::Result<usize>>> {
        use rustix::fs::sendfile;
        macro_rules! send {
            ($io:expr) => {
                loop {
                    match $io.poll_write_ready(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                        Poll::Pending => break Poll::Pending,
                    }
                    let sent = $io.try_io(Interest::WRITABLE, || Ok(sendfile($io, file, Some(offset), limit)?));
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
            Inner::PutBack(put_back) => put_back.stream.poll_send_file(cx, file, offset, limit),
            _ => None,
        }
    }

    /// Whether a read error means that the peer closed TLS without `close_notify`.
    pub(crate) fn is_truncation(&self, error: &io::Error) -> bool {
        self.kind() == TransportKind::Tls && error.kind() == io::ErrorKind::UnexpectedEof
    }

    /// Makes the connection end with a reset (RST): see [`Io::reset_on_drop`]. If that fails, it ends normally.
    pub(crate) fn reset_on_drop(&self) {
        match &self.0 {
            Inner::Dyn(io) => io.reset_on_drop(),
            Inner::PutBack(put_back) => put_back.stream.reset_on_drop(),
            _ => {
                if let Some(socket) = self.socket_ref() {
                    let _ = socket.set_linger(Some(Duration::ZERO));
                }
            }
        }
    }

    /// See [`Io::poll_read_ready`].
    #[inline]
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.poll_read_ready(cx).map(drop),
            #[cfg(unix)]
            Inner::Unix(unix) => unix.poll_read_ready(cx).map(drop),
            Inner::Dyn(io) => io.poll_read_ready(cx),
            Inner::PutBack(_) | Inner::Taken => Poll::Ready(()),
        }
    }

    /// Reads from the bytes that were put back. After the last of them, the original stream is restored.
    #[cold]
    fn read_put_back(&mut self, buf: &mut ReadBuf<'_>) {
        let Inner::PutBack(put_back) = &mut self.0 else { return };
        buf.put_slice(&put_back.bytes.split_to(put_back.bytes.len().min(buf.remaining())));
        if put_back.bytes.is_empty() {
            *self = put_back.stream.take();
        }
    }

    /// Whether closing the stream sends all written bytes.
    ///
    /// The kernel does that for a plain socket. Any other stream must be flushed and shut down first.
    pub(crate) fn is_plain(&self) -> bool {
        match &self.0 {
            Inner::Tcp(_) | Inner::Taken => true,
            #[cfg(unix)]
            Inner::Unix(_) => true,
            Inner::PutBack(put_back) => put_back.stream.is_plain(),
            Inner::Dyn(_) => false,
        }
    }
}

/// Whether the reactor has seen the end of the peer's stream. Does not wait, and reads nothing.
fn is_read_closed(ready: impl Future<Output = io::Result<Ready>>) -> bool {
    let ready = pin!(ready).poll(&mut Context::from_waker(Waker::noop()));
    matches!(ready, Poll::Ready(Ok(ready)) if ready.is_read_closed())
}

fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "a handshake is in progress")
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
            Inner::Dyn(io) => Pin::new(io).poll_read(cx, buf),
            Inner::PutBack(_) => {
                self.read_put_back(buf);
                Poll::Ready(Ok(()))
            }
            Inner::Taken => Poll::Ready(Err(taken())),
        }
    }
}

/// Evaluates one expression on the stream of any variant, and another one if a handshake owns the stream.
macro_rules! delegate {
    ($stream:expr, $io:ident => $done:expr, taken => $taken:expr) => {
        match $stream {
            Inner::Tcp($io) => $done,
            #[cfg(unix)]
            Inner::Unix($io) => $done,
            Inner::Dyn($io) => $done,
            Inner::PutBack(put_back) => {
                let $io = &mut put_back.stream;
                $done
            }
            Inner::Taken => $taken,
        }
    };
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(&mut self.get_mut().0, io => Pin::new(io).poll_write(cx, buf), taken => Poll::Ready(Err(taken())))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut self.get_mut().0;
        delegate!(stream, io => Pin::new(io).poll_write_vectored(cx, bufs), taken => Poll::Ready(Err(taken())))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::Tcp(tcp) => tcp.is_write_vectored(),
            #[cfg(unix)]
            Inner::Unix(unix) => unix.is_write_vectored(),
            Inner::Dyn(io) => io.is_write_vectored(),
            Inner::PutBack(put_back) => put_back.stream.is_write_vectored(),
            Inner::Taken => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.get_mut().0, io => Pin::new(io).poll_flush(cx), taken => Poll::Ready(Ok(())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.get_mut().0, io => Pin::new(io).poll_shutdown(cx), taken => Poll::Ready(Ok(())))
    }
}

/// Lets layers on top of a stream forward to it.
impl Io for Stream {
    fn kind(&self) -> TransportKind {
        Stream::kind(self)
    }

    fn local_addr(&self) -> io::Result<Address> {
        Stream::local_addr(self)
    }

    fn peer_credentials(&self) -> Option<PeerCredentials> {
        Stream::peer_credentials(self)
    }

    fn socket_ref(&self) -> Option<SockRef<'_>> {
        Stream::socket_ref(self)
    }

    fn take_error(&self) -> Option<io::Error> {
        Stream::take_error(self)
    }

    fn is_read_closed(&self) -> Option<bool> {
        Stream::is_read_closed(self)
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        Stream::poll_read_ready(self, cx)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.kind()).finish()
    }
}
