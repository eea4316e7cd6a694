//! Requests from one node to another: about one connection, or the node itself.

use std::time::Duration;

use actix_acceptor::BoxError;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::envelope::Refused;
use crate::incarnation::Incarnation;

/// The version of requests and answers. Nodes refuse other versions.
const VERSION: u8 = 1;

/// The number of one run of a node's process. It stays the same if the lease is lost and taken again.
pub(crate) type Life = u64;

/// The node that a request is for: the name alone does not tell restarts of a node apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Expects {
    /// The one that has its lease for this incarnation.
    Lease(Incarnation),
    /// This run of the process: ids of connections are valid in it.
    Life(Life),
}

impl Expects {
    /// Whether the node is the one with this lease.
    pub(crate) fn allows(self, now: Incarnation) -> bool {
        match self {
            Expects::Lease(incarnation) => incarnation == now,
            Expects::Life(life) => life == now.life,
        }
    }

    /// The process.
    pub(crate) fn life(self) -> Life {
        match self {
            Expects::Lease(incarnation) => incarnation.life,
            Expects::Life(life) => life,
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) expects: Expects,
    /// How long the asker waits, in milliseconds.
    pub(crate) within: u32,
    pub(crate) asks: Asks,
}

/// What a request asks for. The numbers are the ids of connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Asks {
    /// The body is a reply for the peer.
    Reply(u64),
    /// The body is a message for the protocol's `user`.
    Message(u64),
    /// The body is a message with a result, of the type with this name.
    Question(u64, String),
    /// Another connection has taken over this name.
    Replaced(u64, String),
    /// The body is a question for the node, of the type with this name.
    NodeQuestion(String),
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// With the result of a question.
    Done,
    /// There is no such connection, or the node is another one than expected.
    Gone,
    /// Its outbox or mailbox is full.
    Full,
    /// The request cannot be handled.
    Refused(String),
    /// The node handles as many questions as it can.
    Busy,
    /// The time limit has passed.
    Late,
    /// The answer has this size, and this is the limit.
    TooLarge(usize, usize),
}

pub(crate) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

pub(crate) fn encode(head: &impl Serialize, body: &[u8]) -> Result<Bytes, BoxError> {
    let mut bytes = vec![VERSION];
    bytes = postcard::to_extend(head, bytes)?;
    bytes.extend_from_slice(body);
    Ok(bytes.into())
}

/// A value without a body.
pub(crate) fn decode_owned<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    decode(bytes).map(|(value, _)| value)
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), Refused> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::take_from_bytes(rest).map_err(|error| Refused::Body(error.into())),
        Some((version, _)) => Err(Refused::Version(*version)),
        None => Err(Refused::Empty),
    }
}
