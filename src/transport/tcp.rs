//! Listening on TCP: one socket, shared by all acceptors.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;

use super::{Accept, Accepted, Address, Transport};

/// How many peers the kernel queues before an acceptor takes them.
const BACKLOG: i32 = 1024;

/// Unsent bytes above which the kernel says "no room": makes the progress of a slow reader visible.
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: u32 = 64 * 1024;

/// A listening TCP socket.
///
/// Accepted sockets have `TCP_NODELAY` on. The backlog is 1,024 (the system may lower it). On Unix the address may be
/// bound again while old connections of it linger (`SO_REUSEADDR`).
#[derive(Debug)]
pub struct Tcp {
    /// `None` while it is suspended.
    socket: Mutex<Option<TcpListener>>,
    addr: SocketAddr,
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
        let socket = listen(addr)?;
        let addr = socket.local_addr()?;
        Ok(Tcp { socket: Mutex::new(Some(socket)), addr })
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
        Ok(Box::new(platform::Share::new(socket.try_clone()?)?))
    }

    fn suspend(&self) -> io::Result<()> {
        self.socket().take();
        Ok(())
    }

    fn resume(&self) -> io::Result<()> {
        let mut socket = self.socket();
        if socket.is_none() {
            *socket = Some(listen(self.addr)?);
        }
        Ok(())
    }
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows the same option would let a second program take over the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    inherited_options(SockRef::from(&socket))?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from(socket))
}

/// Options that accepted sockets take over from the listening one, so that `accept` costs no extra system call.
fn inherited_options(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    Ok(())
}

/// Only Linux promises that options are inherited: elsewhere they are set once more.
fn accepted(stream: TcpStream, peer: SocketAddr) -> Accepted {
    #[cfg(not(target_os = "linux"))]
    let _ = stream.set_nodelay(true);
    Accepted { stream: stream.into(), peer: Address::Tcp(peer) }
}

#[cfg(unix)]
mod platform {
    use super::*;
    use std::task::ready;
    use tokio::io::{unix::AsyncFd, Interest};

    /// Readiness and accept apart, both without a system call more than needed.
    pub(super) struct Share(AsyncFd<mio::net::TcpListener>);

    impl Share {
        pub(super) fn new(socket: TcpListener) -> io::Result<Self> {
            let socket = mio::net::TcpListener::from_std(socket);
            // Deprecated for its unsafe successor, which asks for what holds here: the descriptor is the listener's own
            // and does not change.
            #[allow(deprecated)]
            Ok(Share(AsyncFd::with_interest(socket, Interest::READABLE)?))
        }
    }

    impl Accept for Share {
        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            ready!(self.0.poll_read_ready(cx))?.retain_ready();
            Poll::Ready(Ok(()))
        }

        fn try_accept(&mut self) -> io::Result<Accepted> {
            let (stream, peer) = self.0.try_io(Interest::READABLE, |socket| socket.accept())?;
            Ok(accepted(TcpStream::from_std(stream.into())?, peer))
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
        waiting: Option<(TcpStream, SocketAddr)>,
    }

    impl Share {
        pub(super) fn new(socket: TcpListener) -> io::Result<Self> {
            Ok(Share { socket: tokio::net::TcpListener::from_std(socket)?, waiting: None })
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
            Ok(accepted(stream, peer))
        }
    }
}
