//! [`Event`], the callbacks of a [`Protocol`] as one value, and [`Timeout`].

use std::fmt;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Next, Packet, Protocol};

/// The callbacks of [`Protocol`] as one value, for [`AcceptorPool::with_events`](crate::AcceptorPool::with_events).
#[non_exhaustive]
pub enum Event<P: Protocol> {
    /// The connection is ready.
    Ack,
    /// The peer sent a packet.
    Packet(Packet<P>),
    /// The codec cannot decode what the peer sent: the text of the error. See [`Protocol::decode_error`].
    DecodeError(String),
    /// The program sent a message, a stream yielded one, or one of a timer is due.
    User(P::User),
    /// The peer was silent, or did not complete a packet in time.
    Timeout(Timeout),
    /// The peer has shut down its sending side.
    HalfClosed,
    /// The last packet of a [`Count`](crate::Active::Count) was delivered.
    Passive,
    /// The pool is shutting down. A connection that stays open is ended at this time; `None` means that there is no
    /// deadline.
    Shutdown(Option<Instant>),
}

impl<P: Protocol> Event<P> {
    /// Returns what a [`Protocol`] without that callback returns: [`Next::Stop`] for `DecodeError`, `Timeout` and
    /// `Shutdown`, [`Next::Continue`] for the others. Meant for the last arm of a `match`.
    pub fn default_next(self) -> Next<P> {
        match self {
            Event::DecodeError(_) | Event::Timeout(_) | Event::Shutdown(_) => Next::Stop,
            _ => Next::Continue,
        }
    }
}

impl<P: Protocol> fmt::Debug for Event<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Ack => f.write_str("Ack"),
            Event::Packet(_) => f.write_str("Packet(..)"),
            Event::DecodeError(error) => f.debug_tuple("DecodeError").field(error).finish(),
            Event::User(_) => f.write_str("User(..)"),
            Event::Timeout(timeout) => f.debug_tuple("Timeout").field(timeout).finish(),
            Event::HalfClosed => f.write_str("HalfClosed"),
            Event::Passive => f.write_str("Passive"),
            Event::Shutdown(deadline) => f.debug_tuple("Shutdown").field(deadline).finish(),
        }
    }
}

/// Which timeout expired.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Timeout {
    /// The peer sent nothing for the idle timeout.
    Idle,
    /// A packet was not completed within the packet timeout, counted from its first byte.
    ///
    /// Contains the bytes that the codec has not consumed. With [`Framing`](crate::Framing) these are all bytes of the
    /// packet received so far, including a length prefix. If the connection stays open, the bytes are discarded, and a
    /// codec other than `Framing` is made anew.
    Packet(Bytes),
}
