//! What is listened on, and how a peer is taken from it: the replaceable `accept`.
//!
//! ```text
//! AcceptorPool ── owns ──▶ Transport ── share() ──▶ Accept, one per acceptor, on the acceptor's own arbiter
//!                                                    poll_ready → (room) → try_accept ─▶ Accepted { stream, peer }
//!
//! in the connection:   init ─▶ PROXY header ─▶ the transport's steps ─▶ TLS, one's own steps ─▶ ack, packets
//!                              └────────── Handshake::handshake(Stream) -> Handshaken, within one limit of time ───┘
//! ```
//!
//! [`Tcp`] is the transport of [`bind`](crate::Builder::bind). [`Memory`], for tests, and one's own go to
//! [`listen`](crate::Builder::listen), Unix sockets and everything that can be set for a socket to
//! [`Listener`](crate::Listener).

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::handshake::Handshake;
use crate::net::{Address, Stream};

/// Something that can be listened on: it stays open in the pool while acceptors come and go.
///
/// Peers that come while an acceptor is down must wait in it (in the kernel's queue, for a socket). Dropping the
/// transport and all its shares closes it.
pub trait Transport: Send + Sync + 'static {
    /// The address that is listened on, with the real port where port 0 was asked for.
    fn local_addr(&self) -> Address;

    /// One acceptor's share of the listener.
    ///
    /// Called on the acceptor's own arbiter, inside its tokio runtime, once per acceptor and again for each successor.
    ///
    /// # Errors
    /// Counts as the acceptor's failure: before the pool has started it is [`StartError::AcceptorFailed`], later the
    /// acceptor is replaced within the pool's budget.
    ///
    /// [`StartError::AcceptorFailed`]: crate::StartError::AcceptorFailed
    fn share(&self) -> io::Result<Box<dyn Accept>>;

    /// What its peers go through before they are ready, in this order: said by a transport that always has it.
    fn handshake(&self) -> Vec<Arc<dyn Handshake>> {
        Vec::new()
    }

    /// Closes the listener for a while: peers are refused until it is resumed. The shares are gone by then.
    ///
    /// # Errors
    /// `Unsupported` unless overridden: then a pool can only be suspended with its port open.
    fn suspend(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens it again, at the same address.
    ///
    /// # Errors
    /// What the system says, when someone else has taken the address in the meantime for example.
    fn resume(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// So that one's own transport may be boxed.
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

/// One acceptor's share of a [`Transport`]: says when a peer may be waiting, then takes one without waiting.
///
/// The two steps are apart so that the acceptor can make sure of room in between.
pub trait Accept: 'static {
    /// Ready when a peer may be waiting.
    ///
    /// # Errors
    /// The listener itself is broken: the acceptor is replaced.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Takes one waiting peer, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when someone else was faster: the acceptor waits again. Other errors are classified as for
    /// `accept(2)`: one peer's trouble (it goes on), the machine's (it pauses), the listener's (it is replaced).
    fn try_accept(&mut self) -> io::Result<Accepted>;
}

/// An accepted stream, and who is at its other end.
#[derive(Debug)]
pub struct Accepted {
    /// The bytes.
    pub stream: Stream,
    /// The peer's address.
    pub peer: Address,
}
