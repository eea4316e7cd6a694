//! The traits of open listeners: [`Transport`], owned by the pool, and [`Accept`], one per acceptor.
//!
//! ```text
//! AcceptorPool ── owns ──▶ Transport ── share() ──▶ Accept, one per acceptor, on the acceptor's arbiter
//!                                                    poll_ready → (permit) → try_accept ─▶ Accepted { stream, peer }
//!
//! in the connection:   init ─▶ PROXY header ─▶ the transport's steps ─▶ TLS, user-defined steps ─▶ ack, packets
//!                              └────────── Handshake::handshake(Stream) -> Handshaken, within one time limit ──────┘
//! ```
//!
//! [`Tcp`](super::Tcp) is the transport of [`bind`](crate::Builder::bind). [`Memory`](super::Memory), for tests, and
//! user-defined transports go to [`listen`](crate::Builder::listen). Unix sockets, and all socket options, go to
//! [`Listener`](crate::Listener).

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::handshake::Handshake;
use crate::net::{Address, Stream};

/// An open listener. It stays open in the pool while acceptors are started and stopped.
///
/// Connections that arrive while an acceptor is down must be queued (for a socket, by the kernel). Dropping the transport and
/// all its [`Accept`] handles closes it.
pub trait Transport: Send + Sync + 'static {
    /// The address that is listened on. With port 0, it has the port that the system chose.
    fn local_addr(&self) -> Address;

    /// Creates the handle with which one acceptor accepts.
    ///
    /// Called on the acceptor's own arbiter, inside its tokio runtime, once for each acceptor and again for each
    /// replacement.
    ///
    /// # Errors
    /// An error counts as a failure of the acceptor: before the pool has started, the start fails with
    /// [`StartError::AcceptorFailed`]; later the acceptor is replaced within the pool's restart budget.
    ///
    /// [`StartError::AcceptorFailed`]: crate::StartError::AcceptorFailed
    fn share(&self) -> io::Result<Box<dyn Accept>>;

    /// The handshake steps that every connection of this transport passes, in this order.
    ///
    /// Default: none.
    fn handshake(&self) -> Vec<Arc<dyn Handshake>> {
        Vec::new()
    }

    /// Closes the listener until it is resumed. Connections are refused meanwhile. All handles were dropped before.
    ///
    /// # Errors
    /// Default: `Unsupported`. Then the pool can only be suspended with the listener open.
    fn suspend(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens the listener again, at the same address.
    ///
    /// # Errors
    /// The error of the system, for example when another process has taken the address in the meantime. Default:
    /// `Unsupported`.
    fn resume(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Allows user-defined transports in a box.
impl<T: Transport + ?Sized> Transport for Box<T> {
    fn local_addr(&self) -> Address {
        (**self).local_addr()
    }

    fn share(&self) -> io::Result<Box<dyn Accept>> {
        (**self).share()
    }

    fn handshake(&self) -> Vec<Arc<dyn Handshake>> {
        (**self).handshake()
    }

    fn suspend(&self) -> io::Result<()> {
        (**self).suspend()
    }

    fn resume(&self) -> io::Result<()> {
        (**self).resume()
    }
}

/// One acceptor's handle of a [`Transport`]. It reports when a connection may be waiting, then accepts it without blocking.
///
/// The two steps are separate so that the acceptor can get a permit in between.
pub trait Accept: 'static {
    /// Returns `Ready` when a connection may be waiting.
    ///
    /// # Errors
    /// The listener has failed; the acceptor is replaced.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Accepts a waiting connection without blocking.
    ///
    /// # Errors
    /// `WouldBlock` when another acceptor was faster; this one waits again. Other errors are classified as for `accept(2)`.
    /// After an error of one connection the acceptor continues, after one of the machine it pauses, and after one of the
    /// listener it is replaced.
    fn try_accept(&mut self) -> io::Result<Accepted>;
}

/// An accepted stream and the address of its peer.
#[derive(Debug)]
pub struct Accepted {
    /// The byte stream.
    pub stream: Stream,
    /// The peer's address.
    pub peer: Address,
}
