//! What can happen to a connection, as one value.

use std::fmt;
use std::time::Instant;

use bytes::Bytes;

use super::{Next, Packet, Protocol};

/// What happened: the callbacks of [`Protocol`] as one value, for the [`events`](crate::AcceptorPool::with_events) door.
#[non_exhaustive]
pub enum Event<P: Protocol> {
    /// The connection is ready.
    Ack,
    /// The peer sent a packet.
    Packet(Packet<P>),
    /// The program sent a message, or a stream yielded one.
    User(P::User),
    /// The peer was silent, or left a packet half-sent.
    Timeout(Timeout),
    /// The peer has shut its sending side.
    HalfClosed,
    /// The last of a [`Count`](crate::Active::Count) of packets was delivered.
    Passive,
    /// The pool shuts down; what goes on is ended at this time.
    Shutdown(Option<Instant>),
}

impl<P: Protocol> Event<P> {
    /// What a [`Protocol`] answers that does not override the callback: `Timeout` and `Shutdown` stop, all else goes on.
    /// For the last arm of a `match`.
    pub fn default_next(self) -> Next<P> {
        match self {
            Event::Timeout(_) | Event::Shutdown(_) => Next::Stop,
            _ => Next::Continue,
        }
    }
}

impl<P: Protocol> fmt::Debug for Event<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Ack => f.write_str("Ack"),
            Event::Packet(_) => f.write_str("Packet(..)"),
            Event::User(_) => f.write_str("User(..)"),
            Event::Timeout(timeout) => f.debug_tuple("Timeout").field(timeout).finish(),
            Event::HalfClosed => f.write_str("HalfClosed"),
            Event::Passive => f.write_str("Passive"),
            Event::Shutdown(deadline) => f.debug_tuple("Shutdown").field(deadline).finish(),
        }
    }
}

/// Which time ran out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timeout {
    /// The peer sent nothing for the idle timeout.
    Idle,
    /// A packet was begun and not finished within the packet timeout, counted from its first byte.
    ///
    /// With [`Framing`](crate::Framing) these are the bytes received so far, prefix included; with another codec what it
    /// has not taken out of the buffer. If the connection goes on they are forgotten and the codec is made anew.
    Packet(Bytes),
}
