//! Listening on TCP: all acceptors share one socket, or each has its own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::change_options::{fixed, rejected, OptionResult};
use super::inherited::{cannot_reopen, check_listening};
use super::listen::{listen_all, system_only_v6};
use super::own_sockets::{assigned, AllQueues, Assignment, Queue, SeveralSockets};
use super::{Accept, Accepted, ListenerOptions, OwnedListener, SocketOptions, Transport};
use crate::net::Address;

/// A listening TCP socket.
///
/// Accepted sockets have `TCP_NODELAY` on. The backlog is 1,024 (the system may lower it). On Unix the address can be bound
/// again while old connections to it linger (`SO_REUSEADDR`). [`Listener::tcp`](crate::Listener::tcp) has settings for
/// these options.
#[derive(Debug)]
pub struct Tcp {
    sockets: Mutex<Sockets>,
    addr: SocketAddr,
    is_inherited: bool,
    has_system_port: bool,
    /// One for each socket. More than one if acceptors have their own sockets.
    accept_options: Vec<Arc<AcceptOptions>>,
}

/// The open sockets, all bound to one address.
#[derive(Debug)]
struct Sockets {
    /// Empty while suspended.
    open: Vec<Arc<TcpListener>>,
    /// How many times they were opened.
    opened: usize,
}

/// A socket, to empty its queue.
struct TcpQueue {
    socket: Arc<TcpListener>,
    accept_options: Arc<AcceptOptions>,
}

/// The options of the sockets that are accepted from one listening socket.
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
        Self::open(addr, SocketOptions::default(), 1)
    }

    /// With the option for it, opens as many sockets as there are acceptors.
    pub(crate) fn open(addr: SocketAddr, options: SocketOptions, acceptors: usize) -> io::Result<Self> {
        let count = if options.has_socket_per_acceptor() { acceptors.max(1) } else { 1 };
        let sockets = listen_all(addr, &options, count)?;
        let bound = sockets[0].local_addr()?;
        Ok(Tcp { has_system_port: addr.port() == 0, ..Self::of(sockets, bound, options, false) })
    }

    fn of(open: Vec<Arc<TcpListener>>, addr: SocketAddr, options: SocketOptions, is_inherited: bool) -> Self {
        let options = Arc::new(options);
        let accept_options = open.iter().map(|_| {
            Arc::new(AcceptOptions {
                options: ArcSwap::new(options.clone()),
                early: AtomicUsize::new(usize::from(is_inherited)),
                changes: AtomicUsize::new(1),
            })
        });
        let accept_options = accept_options.collect();
        let sockets = Mutex::new(Sockets { open, opened: 1 });
        Tcp { sockets, addr, is_inherited, has_system_port: false, accept_options }
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
        self.accept_options[0].options.load_full()
    }

    fn open_sockets(&self) -> Vec<Arc<TcpListener>> {
        self.sockets.lock().open.clone()
    }

    pub(super) fn options_in_force(&self) -> ListenerOptions {
        let sockets = self.open_sockets();
        sockets.first().map_or_else(ListenerOptions::default, |socket| ListenerOptions {
            sockets: Some(sockets.len()),
            ..ListenerOptions::of_tcp(&SockRef::from(&**socket), &self.options(), self.is_inherited)
        })
    }

    pub(super) fn duplicates(&self) -> io::Result<Vec<OwnedListener>> {
        self.open_sockets().iter().map(|socket| OwnedListener::tcp(socket)).collect()
    }

    /// Whether acceptors have sockets of their own, each with its own queue.
    pub(super) fn has_own_sockets(&self) -> bool {
        self.accept_options.len() > 1
    }

    /// The sockets of this acceptor.
    pub(super) fn assignment(&self, slot: usize, acceptors: usize) -> Assignment {
        self.assignment_of(&self.sockets.lock(), slot, acceptors)
    }

    fn assignment_of(&self, sockets: &Sockets, slot: usize, acceptors: usize) -> Assignment {
        Assignment { opened: sockets.opened, sockets: assigned(slot, acceptors, self.accept_options.len()) }
    }

    /// The handle of the sockets of this acceptor, where acceptors have sockets of their own.
    pub(super) fn share_own(&self, slot: usize, acceptors: usize) -> io::Result<(Box<dyn Accept>, Assignment)> {
        let sockets = self.sockets.lock();
        let assignment = self.assignment_of(&sockets, slot, acceptors);
        Ok((self.handle_of(&sockets, assignment.sockets.iter().copied())?, assignment))
    }

    fn handle_of(&self, sockets: &Sockets, positions: impl Iterator<Item = usize>) -> io::Result<Box<dyn Accept>> {
        let suspended = || io::Error::new(io::ErrorKind::NotConnected, "the listener is suspended");
        let handle = |position: usize| {
            let socket = sockets.open.get(position).ok_or_else(suspended)?;
            platform::TcpAccept::new(socket.try_clone()?, self.accept_options[position].clone())
        };
        let mut handles = positions.map(handle).collect::<io::Result<Vec<_>>>()?;
        Ok(match handles.len() {
            1 => Box::new(handles.remove(0)),
            _ => Box::new(SeveralSockets::new(handles)),
        })
    }

    /// The queues of all sockets, if acceptors have sockets of their own. The queues of this acceptor come first.
    pub(super) fn all_queues(&self, slot: usize) -> Option<Box<dyn Accept>> {
        let sockets = self.open_sockets();
        if !self.has_own_sockets() || sockets.is_empty() {
            return None;
        }
        let queues = sockets.into_iter().zip(&self.accept_options);
        let queues =
            queues.map(|(socket, options)| TcpQueue { socket, accept_options: options.clone() }).collect::<Vec<_>>();
        Some(Box::new(AllQueues::new(queues, slot)))
    }

    /// Whether the options can be changed to these while the socket is open. A suspended listener opens a new one.
    pub(super) fn check_options(&self, options: &SocketOptions) -> OptionResult {
        let before = self.options();
        let (asked, is) = (options.has_socket_per_acceptor(), before.has_socket_per_acceptor());
        if asked != is {
            return Err(fixed("reuse_port_per_acceptor", is, asked));
        }
        let Some(socket) = self.open_sockets().into_iter().next() else { return Ok(()) };
        let (reuse, reused) = (options.reuse_port.unwrap_or(false), before.reuse_port.unwrap_or(false));
        if reuse != reused {
            return Err(fixed("reuse_port", reused, reuse));
        }
        let (asked, set) = (options.multipath_tcp.unwrap_or_default(), before.multipath_tcp.unwrap_or_default());
        if asked != set {
            return Err(fixed("multipath_tcp", set, asked));
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
        let sockets = self.open_sockets();
        for socket in &sockets {
            options.change_tcp(before, &SockRef::from(&**socket))?;
            options.change_listening(before, SockRef::from(&**socket), self.is_inherited)?;
        }
        let changes_accepted = !sockets.is_empty() && options.changes_accepted(before);
        self.accept_options.iter().for_each(|accept_options| accept_options.set(options, changes_accepted));
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
        Ok(Self::of(vec![Arc::new(socket)], addr, options, true))
    }
}

impl Transport for Tcp {
    fn local_addr(&self) -> Address {
        Address::Tcp(self.addr)
    }

    fn share(&self) -> io::Result<Box<dyn Accept>> {
        self.handle_of(&self.sockets.lock(), 0..self.accept_options.len())
    }

    fn suspend(&self) -> io::Result<()> {
        if self.is_inherited {
            return Err(cannot_reopen());
        }
        let open = std::mem::take(&mut self.sockets.lock().open);
        drop(open);
        Ok(())
    }

    fn resume(&self) -> io::Result<()> {
        if self.sockets.lock().open.is_empty() {
            // Outside the lock: it calls the user's hook.
            let open = listen_all(self.addr, &self.options(), self.accept_options.len())?;
            let mut sockets = self.sockets.lock();
            *sockets = Sockets { open, opened: sockets.opened + 1 };
        }
        Ok(())
    }
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

impl Queue for TcpQueue {
    fn accept_now(&self) -> io::Result<Accepted> {
        let early = self.accept_options.early();
        let accepted = self.socket.accept();
        if early != 0 && accepted.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.accept_options.clear_early(early);
        }
        let (stream, peer) = accepted?;
        stream.set_nonblocking(true)?;
        self.accept_options.accepted(TcpStream::from_std(stream)?, peer, early)
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
