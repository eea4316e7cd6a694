//! Why a connection ended.

use std::fmt;
use std::io;

use tokio_util::codec::{AnyDelimiterCodecError, LinesCodecError};

use crate::error::BoxError;
use crate::framing::FramingError;
use crate::handshake::HandshakeError;
use crate::telemetry::{CloseReason, RefusalReason};

/// Why a connection ended; [`closed`](crate::Protocol::closed) is given it.
///
/// It is an error, too: an async fn of the door [`serve`](crate::AcceptorPool::with_fn) that keeps limits of its own may return
/// one, and its connection counts as ended by that.
#[derive(Debug)]
#[non_exhaustive]
pub enum Closed {
    /// The connection's own code ended it: [`Next::Stop`](crate::Next::Stop), or a [`Close`](crate::messages::Close).
    Local,
    /// The peer left. `None`: it shut its side in order (FIN); else what the system said (a reset, a broken pipe).
    Peer(Option<io::Error>),
    /// The peer was silent for the idle timeout.
    Idle,
    /// A packet was begun and not finished within the packet timeout.
    PacketTimeout,
    /// The peer took nothing for the send timeout; what was not yet sent is lost.
    SendTimeout,
    /// The peer's packet was longer than allowed.
    TooLong {
        /// How long it is, as far as is known: announced by its prefix, or received so far. 0 where the codec does not tell.
        length: u64,
        /// How long it may be. 0 where the codec does not tell.
        limit: u64,
    },
    /// The connection reached its maximum age.
    MaxAge,
    /// It did not become ready: the PROXY header or the TLS handshake failed, or took too long.
    Handshake(HandshakeError),
    /// The peer left a TLS connection without `close_notify`: what it sent may have been cut off.
    Truncated,
    /// It was let in, and refused for whom its PROXY header claims to be. It counts as refused, not as closed.
    Refused(RefusalReason),
    /// An I/O error other than the peer's leaving, an error of the codec, or [`Next::Fail`](crate::Next::Fail).
    Error(BoxError),
    /// A callback panicked, with this text.
    Panic(String),
    /// The pool had told the connection to shut down, and it ended before the deadline.
    Shutdown,
    /// Ended from outside: through the pool's handle, at the deadline of a shutdown, or because its arbiter stopped.
    Killed,
}

impl Closed {
    /// The reason without what came with it, as it is counted. (A refusal is counted apart; it would be an error.)
    pub fn reason(&self) -> CloseReason {
        match self {
            Closed::Local => CloseReason::Local,
            Closed::Peer(_) => CloseReason::Peer,
            Closed::Idle => CloseReason::Idle,
            Closed::PacketTimeout => CloseReason::PacketTimeout,
            Closed::SendTimeout => CloseReason::SendTimeout,
            Closed::TooLong { .. } => CloseReason::TooLong,
            Closed::MaxAge => CloseReason::MaxAge,
            Closed::Handshake(_) => CloseReason::Handshake,
            Closed::Truncated => CloseReason::Truncated,
            Closed::Error(_) | Closed::Refused(_) => CloseReason::Error,
            Closed::Panic(_) => CloseReason::Panic,
            Closed::Shutdown => CloseReason::Shutdown,
            Closed::Killed => CloseReason::Killed,
        }
    }

    /// What a failed read or write says about the peer.
    pub(crate) fn from_io(error: io::Error) -> Self {
        if peer_left(&error) {
            Closed::Peer(Some(error))
        } else {
            Closed::Error(error.into())
        }
    }
}

/// What an error of a codec, or of an async fn, stands for: a failed upgrade, too long a packet, the peer's
/// leaving, or an error.
impl From<BoxError> for Closed {
    fn from(error: BoxError) -> Self {
        let error = match error.downcast::<Closed>() {
            Ok(closed) => return *closed,
            Err(error) => error,
        };
        let error = match error.downcast::<HandshakeError>() {
            Ok(failed) => return Closed::Handshake(*failed),
            Err(error) => error,
        };
        let error = match error.downcast::<FramingError>().map(|error| *error) {
            Ok(FramingError::TooLong { length, limit }) => return Closed::TooLong { length, limit },
            Ok(FramingError::Io(error)) => return Closed::from_io(error),
            Ok(error) => error.into(),
            Err(error) => error,
        };
        if matches!(error.downcast_ref(), Some(LinesCodecError::MaxLineLengthExceeded))
            || matches!(error.downcast_ref(), Some(AnyDelimiterCodecError::MaxChunkLengthExceeded))
        {
            return Closed::TooLong { length: 0, limit: 0 };
        }
        match error.downcast::<io::Error>() {
            Ok(error) => Closed::from_io(*error),
            Err(error) => Closed::Error(error),
        }
    }
}

/// Errors that mean no more than that the other side is gone.
pub(crate) fn peer_left(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), ConnectionReset | BrokenPipe | ConnectionAborted | NotConnected)
}

impl std::error::Error for Closed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Closed::Peer(Some(error)) => error.source(),
            Closed::Handshake(error) => error.source(),
            Closed::Error(error) => error.source(),
            _ => None,
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Closed::Local => f.write_str("ended by the connection itself"),
            Closed::Peer(None) => f.write_str("the peer closed"),
            Closed::Peer(Some(error)) => write!(f, "the peer is gone: {error}"),
            Closed::Idle => f.write_str("the peer was silent for too long"),
            Closed::PacketTimeout => f.write_str("a packet was not finished in time"),
            Closed::SendTimeout => f.write_str("the peer took nothing for too long"),
            Closed::TooLong { length, limit } => write!(f, "a packet of {length} bytes, {limit} are allowed"),
            Closed::MaxAge => f.write_str("the connection reached its maximum age"),
            Closed::Handshake(error) => write!(f, "the handshake failed: {error}"),
            Closed::Truncated => f.write_str("the peer left without close_notify"),
            Closed::Refused(refusal) => write!(f, "refused: {}", refusal.name()),
            Closed::Error(error) => write!(f, "{error}"),
            Closed::Panic(text) => write!(f, "a callback panicked: {text}"),
            Closed::Shutdown => f.write_str("the pool shut down"),
            Closed::Killed => f.write_str("ended from outside"),
        }
    }
}
