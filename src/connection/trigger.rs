//! [`Trigger`], the callback that was called.

use super::{Closed, Connection, Protocol};

/// Which callback was called. Determines the close reason of a `Stop` that it returns.
#[derive(Clone, Copy)]
pub(super) enum Trigger {
    Init,
    Ack,
    Packet,
    User,
    Passive,
    /// A message handler or the result of a future: the connection's own decision, as with the callbacks above.
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
            Trigger::Init | Trigger::Ack | Trigger::Packet | Trigger::User | Trigger::Passive | Trigger::Own => {
                Closed::Local(None)
            }
            Trigger::DecodeError => self.closed_by_decode_error(),
            Trigger::Idle => Closed::Idle,
            Trigger::PacketTimeout => Closed::PacketTimeout,
            Trigger::HalfClosed => Closed::Peer(None),
            Trigger::Shutdown => Closed::Shutdown,
        }
    }
}
