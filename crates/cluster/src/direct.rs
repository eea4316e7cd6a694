//! Requests from one node to another about one connection.

use actix_acceptor::BoxError;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::lease::Incarnation;

/// The version of requests and answers. Nodes refuse other versions.
const VERSION: u8 = 1;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) incarnation: Incarnation,
    pub(crate) connection: u64,
    pub(crate) asks: Asks,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Asks {
    /// The body is a reply for the peer.
    Reply,
    /// The body is a message for the protocol's `user`.
    Message,
    /// The body is a message with a result, of the type with this name.
    Question(String),
    /// Another connection has taken over this name.
    Replaced(String),
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// With the result of a question.
    Done,
    /// There is no such connection.
    Gone,
    /// Its outbox or mailbox is full.
    Full,
    /// The request cannot be understood.
    Refused(String),
}

pub(crate) fn encode(head: &impl Serialize, body: &[u8]) -> Result<Bytes, BoxError> {
    let mut bytes = vec![VERSION];
    bytes = postcard::to_extend(head, bytes)?;
    bytes.extend_from_slice(body);
    Ok(bytes.into())
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), BoxError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(postcard::take_from_bytes(rest)?),
        Some((version, _)) => Err(format!("unknown version {version} of a request").into()),
        None => Err("empty request".into()),
    }
}
