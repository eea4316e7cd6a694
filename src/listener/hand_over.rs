//! Duplicates of listening sockets, for another pool or process.

use std::io;
use std::net::TcpListener;
#[cfg(unix)]
use std::os::fd::OwnedFd;
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use super::Inherited;
use crate::net::Address;

/// A listening socket of a pool: see [`Pool::listening_sockets`](crate::Pool::listening_sockets).
#[derive(Debug)]
#[non_exhaustive]
pub struct ListeningSocket {
    /// The name of the listener.
    pub name: Arc<str>,
    /// The address that it is bound to.
    pub address: Address,
    /// A duplicate of the descriptor. It is non-blocking.
    pub socket: OwnedListener,
}

/// A listening socket of `std`.
#[derive(Debug)]
pub enum OwnedListener {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(UnixListener),
}

impl OwnedListener {
    pub(super) fn tcp(socket: &TcpListener) -> io::Result<Self> {
        socket.try_clone().map(OwnedListener::Tcp)
    }
}

/// For [`Listener::from_socket`](crate::Listener::from_socket).
impl From<OwnedListener> for Inherited {
    fn from(socket: OwnedListener) -> Self {
        match socket {
            OwnedListener::Tcp(socket) => socket.into(),
            #[cfg(unix)]
            OwnedListener::Unix(socket) => socket.into(),
        }
    }
}

/// For a child process, for example as its standard input.
#[cfg(unix)]
impl From<OwnedListener> for OwnedFd {
    fn from(socket: OwnedListener) -> Self {
        match socket {
            OwnedListener::Tcp(socket) => socket.into(),
            OwnedListener::Unix(socket) => socket.into(),
        }
    }
}
