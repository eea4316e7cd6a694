//! Listening on TCP: all acceptors share one socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;

use super::inherited::{cannot_reopen, check_listening};
use super::{Accept, Accepted, SocketOptions, Transport};
use crate::net::Address;

/// A listening TCP socket.
///
/// Accepted sockets have `TCP_NODELAY` on. The backlog is 1,024 (the system may lower it). On Unix the address can be bound
/// again while old connections to it linger (`SO_REUSEADDR`). [`Listener::tcp`](crate::Listener::tcp) has settings for
/// these options.
#[derive(Debug)]
pub struct Tcp {
    /// `None` while suspended.
    socket: Mutex<Option<TcpListener>>,
    addr: SocketAddr,
    is_inherited: bool,
    accept_options: Arc<AcceptOptions>,
}

/// The options of accepted sockets.
#[derive(Debug)]
struct AcceptOptions {
    options: SocketOptions,
    /// Whether the queue may hold connections that arrived before the options were set and did not inherit them. True for an
    /// inherited socket until its queue was empty once.
    has_early: AtomicBool,
}

impl Tcp {
    /// Listens on this address. With port 0 the system chooses a port, which [`local_addr`](Transport::local_addr) returns.
    ///
    /// # Errors
    /// The error of the system: the address is in use, not local, or not permitted.
    ///
    /// ```
    /// use actix_acceptor::transport::{Tcp, Transport};
    /// let tcp = Tcp::bind("127.0.0.1:0".parse().expect("an address"))?;
    /// assert_ne!(tcp.local_addr().socket().expect("TCP").port(), 0);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::open(addr, SocketOptions::default())
    }

    pub(crate) fn open(addr: SocketAddr, options: SocketOptions) -> io::Result<Self> {
        let socket = listen(addr, &options)?;
        let addr = socket.local_addr()?;
        Ok(Self::of(socket, addr, options, false))
    }

    fn of(socket: TcpListener, addr: SocketAddr, options: SocketOptions, is_inherited: bool) -> Self {
        let accept_options = Arc::new(AcceptOptions { options, has_early: AtomicBool::new(is_inherited) });
        Tcp { socket: Mutex::new(Some(socket)), addr, is_inherited, accept_options }
    }

    /// Uses a socket that already listens.
    ///
    /// It can be suspended only with [`Hold`](crate::SuspendMode::Hold), because other processes may have it open as well and
    /// continue to accept.
    ///
    /// # Errors
    /// `InvalidInput` if it is not a listening TCP socket, else the error of the system.
    pub fn inherited(socket: TcpListener) -> io::Result<Self> {
        Self::take_over(socket, SocketOptions::default())
    }

    pub(super) fn take_over(socket: TcpListener, options: SocketOptions) -> io::Result<Self> {
        let socket_ref = SockRef::from(&socket);
        let addr = socket_ref.local_addr()?.as_socket();
        let addr = addr.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not a TCP socket"))?;
        check_listening(&socket_ref)?;
        options.set_tcp(&socket_ref)?;
        options.take_over(socket_ref)?;
        Ok(Self::of(socket, addr, options, true))
    }
}

impl Transport for Tcp {
    fn local_addr(&self) -> Address {
        Address::Tcp(self.addr)
    }

    fn share(&self) -> io::Result<Box<dyn Accept>> {
        let socket = self.socket.lock();
        let socket =
            socket.as_ref().ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the listener is suspended"))?;
        Ok(Box::new(platform::TcpAccept::new(socket.try_clone()?, self.accept_options.clone())?))
    }

    fn suspend(&self) -> io::Result<()> {
        if self.is_inherited {
            return Err(cannot_reopen());
        }
        self.socket.lock().take();
        Ok(())
    }

    fn resume(&self) -> io::Result<()> {
        let mut socket = self.socket.lock();
        if socket.is_none() {
            *socket = Some(listen(self.addr, &self.accept_options.options)?);
        }
        Ok(())
    }
}

fn listen(addr: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows the same option would let another program bind the port as well.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    if options.reuse_port == Some(true) {
        socket.set_reuse_port(true)?;
    }
    if let (SocketAddr::V6(_), Some(only)) = (addr, options.only_v6) {
        socket.set_only_v6(only)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    options.set_tcp(&SockRef::from(&socket))?;
    options.listen(&socket)?;
    Ok(TcpListener::from(socket))
}

impl AcceptOptions {
    fn has_early(&self) -> bool {
        self.has_early.load(Acquire)
    }

    /// Records that the queue was empty.
    #[cfg(unix)]
    fn clear_early(&self) {
        self.has_early.store(false, Release);
    }

    /// Only Linux guarantees that accepted sockets inherit the options. Elsewhere they are set again.
    #[inline]
    fn accepted(&self, stream: TcpStream, peer: SocketAddr, may_be_early: bool) -> io::Result<Accepted> {
        if may_be_early || cfg!(not(target_os = "linux")) {
            let _ = self.options.set_tcp(&SockRef::from(&stream));
        }
        self.options.call_on_accept(&stream)?;
        Ok(Accepted { stream: stream.into(), peer: Address::Tcp(peer) })
    }
}

#[cfg(unix)]
mod platform {
    use super::*;
    use crate::listener::readiness::Readiness;

    pub(super) struct TcpAccept {
        socket: Readiness<mio::net::TcpListener>,
        accept_options: Arc<AcceptOptions>,
    }

    impl TcpAccept {
        pub(super) fn new(socket: TcpListener, accept_options: Arc<AcceptOptions>) -> io::Result<Self> {
            Ok(TcpAccept { socket: Readiness::of(mio::net::TcpListener::from_std(socket))?, accept_options })
        }
    }

    impl Accept for TcpAccept {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.socket.poll(cx)
        }

        fn try_accept(&mut self) -> io::Result<Accepted> {
            let may_be_early = self.accept_options.has_early();
            let (stream, peer) = self.socket.accept(|socket| {
                let accepted = socket.accept();
                if may_be_early && accepted.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    self.accept_options.clear_early();
                }
                accepted
            })?;
            self.accept_options.accepted(TcpStream::from_std(stream.into())?, peer, may_be_early)
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use super::*;
    use std::task::ready;

    /// The accept handle on systems without a separate readiness check: a connection is accepted to detect readiness,
    /// and kept until it is taken.
    pub(super) struct TcpAccept {
        socket: tokio::net::TcpListener,
        accept_options: Arc<AcceptOptions>,
        waiting: Option<(TcpStream, SocketAddr)>,
    }

    impl TcpAccept {
        pub(super) fn new(socket: TcpListener, accept_options: Arc<AcceptOptions>) -> io::Result<Self> {
            Ok(TcpAccept { socket: tokio::net::TcpListener::from_std(socket)?, accept_options, waiting: None })
        }
    }

    impl Accept for TcpAccept {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.waiting.is_none() {
                self.waiting = Some(ready!(self.socket.poll_accept(cx))?);
            }
            Poll::Ready(Ok(()))
        }

        fn try_accept(&mut self) -> io::Result<Accepted> {
            let (stream, peer) = self.waiting.take().ok_or(io::ErrorKind::WouldBlock)?;
            self.accept_options.accepted(stream, peer, self.accept_options.has_early())
        }
    }
}
