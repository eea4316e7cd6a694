//! Listening on TCP: all acceptors share one socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;

use super::change_options::{fixed, rejected, OptionResult};
use super::inherited::{cannot_reopen, check_listening};
use super::{Accept, Accepted, ListenerOptions, OwnedListener, SocketOptions, Transport};
use crate::net::Address;

/// A listening TCP socket.
///
/// Accepted sockets have `TCP_NODELAY` on. The backlog is 1,024 (the system may lower it). On Unix the address can be bound
/// again while old connections to it linger (`SO_REUSEADDR`). [`Listener::tcp`](crate::Listener::tcp) has settings for
/// these options.
#[derive(Debug)]
pub struct Tcp {
    /// `None` while suspended.
    socket: Mutex<Option<Arc<TcpListener>>>,
    addr: SocketAddr,
    is_inherited: bool,
    has_system_port: bool,
    accept_options: Arc<AcceptOptions>,
}

/// The options of accepted sockets.
#[derive(Debug)]
struct AcceptOptions {
    options: ArcSwap<SocketOptions>,
    /// Not 0 if the queue may hold connections that arrived before the options were set and did not inherit them: for an
    /// inherited socket, and after a change, until the queue has been empty once. Each change sets another number.
    early: AtomicUsize,
    changes: AtomicUsize,
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
        let bound = socket.local_addr()?;
        Ok(Tcp { has_system_port: addr.port() == 0, ..Self::of(socket, bound, options, false) })
    }

    fn of(socket: TcpListener, addr: SocketAddr, options: SocketOptions, is_inherited: bool) -> Self {
        let accept_options = Arc::new(AcceptOptions {
            options: ArcSwap::from_pointee(options),
            early: AtomicUsize::new(usize::from(is_inherited)),
            changes: AtomicUsize::new(1),
        });
        Tcp { socket: Mutex::new(Some(Arc::new(socket))), addr, is_inherited, has_system_port: false, accept_options }
    }

    /// Records that the system chose the port, for a socket bound to the port of another one.
    pub(super) fn with_system_port(self) -> Self {
        Tcp { has_system_port: true, ..self }
    }

    pub(super) fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    pub(super) fn has_system_port(&self) -> bool {
        self.has_system_port
    }

    pub(super) fn options(&self) -> Arc<SocketOptions> {
        self.accept_options.options.load_full()
    }

    pub(super) fn options_in_force(&self) -> ListenerOptions {
        let socket = self.socket.lock().clone();
        socket.map_or_else(ListenerOptions::default, |socket| {
            ListenerOptions::of_tcp(&SockRef::from(&*socket), &self.options(), self.is_inherited)
        })
    }

    pub(super) fn duplicate(&self) -> io::Result<Option<OwnedListener>> {
        let socket = self.socket.lock().clone();
        socket.map(|socket| OwnedListener::tcp(&socket)).transpose()
    }

    /// Whether the options can be changed to these while the socket is open. A suspended listener opens a new one.
    pub(super) fn check_options(&self, options: &SocketOptions) -> OptionResult {
        let Some(socket) = self.socket.lock().clone() else { return Ok(()) };
        let before = self.options();
        let (reuse, reused) = (options.reuse_port.unwrap_or(false), before.reuse_port.unwrap_or(false));
        if reuse != reused {
            return Err(fixed("reuse_port", reused, reuse));
        }
        if self.addr.is_ipv6() && self.addr.ip().is_unspecified() {
            let only = SockRef::from(&*socket).only_v6().map_err(rejected("only_v6"))?;
            let asked = match options.only_v6 {
                Some(asked) => asked,
                None if self.is_inherited => only,
                None => system_only_v6().map_err(rejected("only_v6"))?,
            };
            if asked != only {
                return Err(fixed("only_v6", only, asked));
            }
        }
        options.check_unset(&before, true)
    }

    pub(super) fn set_options(&self, before: &SocketOptions, options: &SocketOptions) -> OptionResult {
        let socket = self.socket.lock().clone();
        if let Some(socket) = &socket {
            options.change_tcp(before, &SockRef::from(&**socket))?;
            options.change_listening(before, SockRef::from(&**socket), self.is_inherited)?;
        }
        self.accept_options.set(options, socket.is_some() && options.changes_accepted(before));
        Ok(())
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
        if self.socket.lock().is_none() {
            // Outside the lock: it calls the user's hook.
            let socket = listen(self.addr, &self.options())?;
            *self.socket.lock() = Some(Arc::new(socket));
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

/// What the system chooses for new IPv6 sockets.
fn system_only_v6() -> io::Result<bool> {
    Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?.only_v6()
}

impl AcceptOptions {
    /// Replaces the options, after those of the listening socket were set.
    fn set(&self, options: &SocketOptions, changes_accepted: bool) {
        self.options.store(Arc::new(options.clone()));
        if changes_accepted {
            self.early.store(self.changes.fetch_add(1, Relaxed) + 1, Release);
        }
    }

    fn early(&self) -> usize {
        self.early.load(Acquire)
    }

    /// Records that the queue was empty, unless the options have changed since `early` was read.
    #[cfg(unix)]
    fn clear_early(&self, early: usize) {
        let _ = self.early.compare_exchange(early, 0, AcqRel, Relaxed);
    }

    /// Only Linux guarantees that accepted sockets inherit the options. Elsewhere they are set again.
    #[inline]
    fn accepted(&self, stream: TcpStream, peer: SocketAddr, early: usize) -> io::Result<Accepted> {
        let options = self.options.load();
        if early != 0 || cfg!(not(target_os = "linux")) {
            options.set_early(&SockRef::from(&stream), early > 1);
        }
        options.call_on_accept(&stream)?;
        Ok(Accepted { stream: stream.into(), peer: Address::Tcp(peer) })
    }
}

impl SocketOptions {
    /// Sets the options of an accepted socket that has not inherited them. An error of the system leaves the rest as it is.
    #[cold]
    fn set_early(&self, socket: &SockRef<'_>, is_after_change: bool) {
        let _ = self.set_tcp(socket);
        if is_after_change && self.keepalive.is_none() {
            let _ = socket.set_keepalive(false);
        }
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
            let early = self.accept_options.early();
            let (stream, peer) = self.socket.accept(|socket| {
                let accepted = socket.accept();
                if early != 0 && accepted.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    self.accept_options.clear_early(early);
                }
                accepted
            })?;
            self.accept_options.accepted(TcpStream::from_std(stream.into())?, peer, early)
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
            self.accept_options.accepted(stream, peer, self.accept_options.early())
        }
    }
}
