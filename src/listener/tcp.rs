//! Listening on TCP: one socket, shared by all acceptors.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;

use super::inherited::{check_listening, not_ours};
use super::{Accept, Accepted, SocketOptions, Transport};
use crate::net::Address;

/// A listening TCP socket.
///
/// Accepted sockets have `TCP_NODELAY` on. The backlog is 1,024 (the system may lower it). On Unix the address may be
/// bound again while old connections of it linger (`SO_REUSEADDR`). [`Listener::tcp`](crate::Listener::tcp) can have it
/// otherwise.
#[derive(Debug)]
pub struct Tcp {
    /// `None` while it is suspended.
    socket: Mutex<Option<TcpListener>>,
    addr: SocketAddr,
    inherited: bool,
    terms: Arc<AcceptOptions>,
}

/// What acceptors do with accepted sockets.
#[derive(Debug)]
struct AcceptOptions {
    options: SocketOptions,
    /// There may be peers in the queue from before the options were set, who have not taken them over: with an inherited
    /// socket, until its queue was empty once.
    early: AtomicBool,
}

impl Tcp {
    /// Opens the port. Port 0 lets the system choose one: [`local_addr`](Transport::local_addr) tells it.
    ///
    /// # Errors
    /// What the system says: the address is in use, not ours, or not allowed.
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

    fn of(socket: TcpListener, addr: SocketAddr, options: SocketOptions, inherited: bool) -> Self {
        let terms = Arc::new(AcceptOptions { options, early: AtomicBool::new(inherited) });
        Tcp { socket: Mutex::new(Some(socket)), addr, inherited, terms }
    }

    /// A socket that listens already. It can be suspended by [`Hold`](crate::SuspendMode::Hold) alone: others may have it
    /// open as well, and could not be kept from taking peers.
    ///
    /// # Errors
    /// `InvalidInput` when it is not a TCP socket that listens, else what the system says.
    pub fn inherited(socket: TcpListener) -> io::Result<Self> {
        Self::take_over(socket, SocketOptions::default())
    }

    pub(super) fn take_over(socket: TcpListener, options: SocketOptions) -> io::Result<Self> {
        let shown = SockRef::from(&socket);
        let addr = shown.local_addr()?.as_socket();
        let addr = addr.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is not a TCP socket"))?;
        check_listening(&shown)?;
        options.set_tcp(&shown)?;
        options.take_over(shown)?;
        Ok(Self::of(socket, addr, options, true))
    }

    fn socket(&self) -> MutexGuard<'_, Option<TcpListener>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Tcp {
    fn local_addr(&self) -> Address {
        Address::Tcp(self.addr)
    }

    fn share(&self) -> io::Result<Box<dyn Accept>> {
        let socket = self.socket();
        let socket = socket.as_ref().ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "suspended"))?;
        Ok(Box::new(platform::Share::new(socket.try_clone()?, self.terms.clone())?))
    }

    fn suspend(&self) -> io::Result<()> {
        if self.inherited {
            return Err(not_ours());
        }
        self.socket().take();
        Ok(())
    }

    fn resume(&self) -> io::Result<()> {
        let mut socket = self.socket();
        if socket.is_none() {
            *socket = Some(listen(self.addr, &self.terms.options)?);
        }
        Ok(())
    }
}

fn listen(addr: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows the same option would let a second program take over the port.
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
    fn is_early(&self) -> bool {
        self.early.load(Acquire)
    }

    /// An accept has found nobody.
    #[cfg(unix)]
    fn is_empty(&self) {
        self.early.store(false, Release);
    }

    /// Only Linux promises that options are inherited: elsewhere they are set once more.
    #[inline]
    fn accepted(&self, stream: TcpStream, peer: SocketAddr, early: bool) -> io::Result<Accepted> {
        if early || cfg!(not(target_os = "linux")) {
            let _ = self.options.set_tcp(&SockRef::from(&stream));
        }
        self.options.show_accepted(&stream)?;
        Ok(Accepted { stream: stream.into(), peer: Address::Tcp(peer) })
    }
}

#[cfg(unix)]
mod platform {
    use super::*;
    use crate::listener::readiness::Readiness;

    pub(super) struct Share {
        socket: Readiness<mio::net::TcpListener>,
        terms: Arc<AcceptOptions>,
    }

    impl Share {
        pub(super) fn new(socket: TcpListener, terms: Arc<AcceptOptions>) -> io::Result<Self> {
            Ok(Share { socket: Readiness::of(mio::net::TcpListener::from_std(socket))?, terms })
        }
    }

    impl Accept for Share {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.socket.poll(cx)
        }

        fn try_accept(&mut self) -> io::Result<Accepted> {
            let early = self.terms.is_early();
            let (stream, peer) = self.socket.accept(|socket| {
                let accepted = socket.accept();
                if early && accepted.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    self.terms.is_empty();
                }
                accepted
            })?;
            self.terms.accepted(TcpStream::from_std(stream.into())?, peer, early)
        }
    }
}

#[cfg(not(unix))]
mod platform {
    use super::*;
    use std::task::ready;

    /// Where readiness cannot be asked for alone, a peer is accepted to learn that there is one, and kept until taken.
    pub(super) struct Share {
        socket: tokio::net::TcpListener,
        terms: Arc<AcceptOptions>,
        waiting: Option<(TcpStream, SocketAddr)>,
    }

    impl Share {
        pub(super) fn new(socket: TcpListener, terms: Arc<AcceptOptions>) -> io::Result<Self> {
            Ok(Share { socket: tokio::net::TcpListener::from_std(socket)?, terms, waiting: None })
        }
    }

    impl Accept for Share {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.waiting.is_none() {
                self.waiting = Some(ready!(self.socket.poll_accept(cx))?);
            }
            Poll::Ready(Ok(()))
        }

        fn try_accept(&mut self) -> io::Result<Accepted> {
            let (stream, peer) = self.waiting.take().ok_or(io::ErrorKind::WouldBlock)?;
            self.terms.accepted(stream, peer, self.terms.is_early())
        }
    }
}
