//! [`Trigger`], why a callback was called.

use super::{Closed, Connection, Protocol};

/// Why a callback was called. Determines the close reason of a `Stop` that it returns.
#[derive(Clone, Copy)]
pub(super) enum Trigger {
    /// A packet or a message: the connection's own decision.
    Own,
    DecodeError,
    Idle,
    PacketTimeout,
    HalfClosed,
    Shutdown,
}

impl<P: Protocol> Connection<P> {
    /// The reason for a `Stop` that a callback has returned.
    pub(super) fn closed_by(&mut self, trigger: Trigger) -> Closed {
        match trigger {
            Trigger::Own => Closed::Local(None),
            Trigger::DecodeError => self.closed_by_decode_error(),
            Trigger::Idle => Closed::Idle,
            Trigger::PacketTimeout => Closed::PacketTimeout,
            Trigger::HalfClosed => Closed::Peer(None),
            Trigger::Shutdown => Closed::Shutdown,
        }
    }
}
