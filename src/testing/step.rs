//! [`Step`], what a connection has done in one step.

use std::fmt;
use std::panic::Location;

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::report::{bytes_text, fail};
use crate::connection::{Callback, NextKind};
use crate::telemetry::CloseReason;

/// What a connection has done in one step of a [`Stepper`](super::Stepper).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The callbacks that were called, in order, each with what it returned. What runs after a wait counts as the callback that
    /// returned the wait.
    pub calls: Vec<(Callback, NextKind)>,
    /// What reached the peer: replies of the callbacks, and what others have sent to the connection.
    pub sent: Bytes,
    /// Why the connection has ended, with the text of [`Closed`](crate::Closed), if it ended in this step or before.
    pub closed: Option<(CloseReason, String)>,
}

impl Step {
    /// What the callbacks returned, in order.
    pub fn nexts(&self) -> Vec<NextKind> {
        self.calls.iter().map(|(_, next)| next.clone()).collect()
    }

    /// The replies that reached the peer, decoded by the peer's codec. If the codec is symmetric, as
    /// [`Framing`](crate::Framing) is, pass the same as to the server.
    ///
    /// # Panics
    /// If the codec cannot decode what was sent, or a part of a reply is left.
    #[track_caller]
    pub fn replies<C: Decoder<Error: fmt::Display>>(&self, mut codec: C) -> Vec<C::Item> {
        let (mut rest, mut replies) = (BytesMut::from(&self.sent[..]), Vec::new());
        loop {
            match codec.decode_eof(&mut rest) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) if rest.is_empty() => return replies,
                Ok(None) => fail(Location::caller(), format_args!("a part of a reply was sent: {}", bytes_text(&rest))),
                Err(error) => {
                    let sent = bytes_text(&self.sent);
                    fail(Location::caller(), format_args!("the codec could not decode {sent}: {error}"))
                }
            }
        }
    }

    /// Why the connection has ended. `None` if it has not.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.closed.as_ref().map(|(reason, _)| *reason)
    }
}
