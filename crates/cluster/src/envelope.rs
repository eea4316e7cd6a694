//! What is sent between nodes: a version, a kind, and a body in the format of the cluster.

use std::cell::Cell;

use actix_acceptor::BoxError;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::Format;

/// The version of the envelope. Nodes refuse other versions.
const VERSION: u8 = 1;

thread_local! {
    /// Where messages of this thread are written, so that each is allocated once, and is no larger than needed.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A larger scratch is freed after use.
const KEPT: usize = 64 * 1024;

/// What a message of a topic asks of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A reply that is sent to the peers.
    Reply = 0,
    /// A message for the protocol's `user`.
    Message = 1,
}

/// Why a message of another node was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("unknown version {0} of a message")]
    Version(u8),
    #[error("unknown kind {0} of message")]
    Kind(u8),
    #[error("empty message")]
    Empty,
    #[error("panic while the message was handled")]
    Panic,
    #[error("cannot read the body of a message: {0}")]
    Body(BoxError),
}

pub(crate) fn encode(format: &impl Format, kind: Kind, body: &impl Serialize) -> Result<Bytes, BoxError> {
    // Taken, not borrowed: the value may encode other messages meanwhile.
    let mut envelope = SCRATCH.take();
    envelope.clear();
    envelope.extend([VERSION, kind as u8]);
    let envelope = format.append(body, envelope)?;
    let message = Bytes::copy_from_slice(&envelope);
    if envelope.capacity() <= KEPT {
        SCRATCH.set(envelope);
    }
    Ok(message)
}

/// The kind and the body of a message.
pub(crate) fn open(envelope: &[u8]) -> Result<(Kind, &[u8]), Refused> {
    let (version, rest) = envelope.split_first().ok_or(Refused::Empty)?;
    if *version != VERSION {
        return Err(Refused::Version(*version));
    }
    let (kind, body) = rest.split_first().ok_or(Refused::Empty)?;
    match kind {
        0 => Ok((Kind::Reply, body)),
        1 => Ok((Kind::Message, body)),
        other => Err(Refused::Kind(*other)),
    }
}

pub(crate) fn decode<T: DeserializeOwned>(format: &impl Format, body: &[u8]) -> Result<T, Refused> {
    format.decode(body).map_err(Refused::Body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Postcard;

    #[test]
    fn what_is_not_an_envelope_is_refused() {
        let envelope = encode(&Postcard, Kind::Message, &"hello").expect("a string");
        let (kind, body) = open(&envelope).expect("its own envelope");
        assert_eq!((kind, decode::<String>(&Postcard, body).expect("a string")), (Kind::Message, "hello".to_owned()));
        assert!(matches!(open(&[]), Err(Refused::Empty)));
        assert!(matches!(open(&[VERSION]), Err(Refused::Empty)));
        assert!(matches!(open(&[VERSION + 1, 0]), Err(Refused::Version(_))));
        assert!(matches!(open(&[VERSION, 9]), Err(Refused::Kind(9))));
        assert!(matches!(decode::<String>(&Postcard, &[5, b'a']), Err(Refused::Body(_))));
        assert!(matches!(decode::<u8>(&Postcard, &[5, 6]), Err(Refused::Body(_))));
    }
}
