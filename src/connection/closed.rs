//! Why a connection ended.

use std::borrow::Cow;
use std::fmt;
use std::io;

use tokio_util::codec::{AnyDelimiterCodecError, LinesCodecError};

use crate::error::{with_sources, BoxError};
use crate::framing::FramingError;
use crate::handshake::HandshakeError;
use crate::telemetry::{CloseReason, RefusalReason};

/// Why a connection ended; passed to [`closed`](crate::Protocol::closed).
///
/// It is also an error type: an async fn ([`with_fn`](crate::AcceptorPool::with_fn)) that enforces its own limits may
/// return one, and the connection then counts as ended for that reason.
#[derive(Debug)]
#[non_exhaustive]
pub enum Closed {
    /// The program closed it gracefully: [`Next::Stop`](crate::Next::Stop), a [`Close`](crate::messages::Close) message, or
    /// [`Pool::close`](crate::Pool::close). `Some`: the reason that was passed to
    /// [`Next::stop_because`](crate::Next::stop_because).
    Local(Option<Cow<'static, str>>),
    /// The peer left. `None`: it shut down its sending side (FIN). `Some`: the system's error (a reset, a broken pipe), or,
    /// with the kind [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), the error of a codec that needed more bytes when the
    /// peer shut down its sending side.
    Peer(Option<io::Error>),
    /// The peer was silent for as long as the idle timeout.
    Idle,
    /// A packet was started and not completed within the packet timeout.
    PacketTimeout,
    /// The peer accepted no bytes for as long as the send timeout. Unsent bytes are lost.
    SendTimeout,
    /// The peer's packet was longer than allowed.
    TooLong {
        /// The packet's length as far as it is known: announced by its prefix, or received so far. 0 if the codec does
        /// not report it.
        length: u64,
        /// The longest length allowed. 0 if the codec does not report it.
        limit: u64,
    },
    /// The peer exceeded a [`packet_rate`](crate::Builder::packet_rate) with
    /// [`OverRate::Close`](crate::limits::OverRate::Close).
    PacketRate,
    /// The connection reached its maximum age. Bytes that are unsent half a second later are lost.
    MaxAge,
    /// The PROXY header or the TLS handshake failed or timed out.
    Handshake(HandshakeError),
    /// The peer left a TLS connection without `close_notify`: its data may be incomplete.
    Truncated,
    /// The connection was admitted, then refused because of the peer that its PROXY header names. It counts as refused,
    /// not as closed.
    Refused(RefusalReason),
    /// An I/O error that does not mean that the peer left, an error of the codec, or [`Next::Fail`](crate::Next::Fail).
    Error(BoxError),
    /// A callback panicked with this text.
    Panic(String),
    /// The connection ended after the pool notified it of the shutdown.
    Shutdown,
    /// The connection's [`Outbox`](crate::Outbox) was full, because the peer reads too slowly. Unsent bytes are lost. See
    /// [`SlowConsumer`](crate::limits::SlowConsumer).
    SlowConsumer,
    /// Another connection took over its name with [`Conn::register_replacing`](crate::Conn::register_replacing). Unsent bytes
    /// are lost.
    Replaced,
    /// [`Next::detach`](crate::Next::detach) took the connection out of the pool.
    Detached,
    /// Ended from outside: by [`Pool::kill`](crate::Pool::kill), at the deadline of a drain, or because its arbiter stopped.
    Killed,
}

impl Closed {
    /// The reason without details, as it is counted. (A refusal is counted separately; here it is an error.)
    pub fn reason(&self) -> CloseReason {
        match self {
            Closed::Local(_) => CloseReason::Local,
            Closed::Peer(_) => CloseReason::Peer,
            Closed::Idle => CloseReason::Idle,
            Closed::PacketTimeout => CloseReason::PacketTimeout,
            Closed::SendTimeout => CloseReason::SendTimeout,
            Closed::TooLong { .. } => CloseReason::TooLong,
            Closed::PacketRate => CloseReason::PacketRate,
            Closed::MaxAge => CloseReason::MaxAge,
            Closed::Handshake(_) => CloseReason::Handshake,
            Closed::Truncated => CloseReason::Truncated,
            Closed::Error(_) | Closed::Refused(_) => CloseReason::Error,
            Closed::Panic(_) => CloseReason::Panic,
            Closed::Shutdown => CloseReason::Shutdown,
            Closed::SlowConsumer => CloseReason::SlowConsumer,
            Closed::Replaced => CloseReason::Replaced,
            Closed::Detached => CloseReason::Detached,
            Closed::Killed => CloseReason::Killed,
        }
    }

    /// The reason for a connection that was ended from outside.
    pub(super) fn killed(cause: CloseReason) -> Self {
        match cause {
            CloseReason::SlowConsumer => Closed::SlowConsumer,
            CloseReason::Replaced => Closed::Replaced,
            _ => Closed::Killed,
        }
    }

    /// The details that [`reason`](Closed::reason) leaves out, for the log.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Closed::Peer(Some(error)) => Some(with_sources(error)),
            Closed::TooLong { .. } => Some(self.to_string()),
            Closed::Handshake(error) => Some(with_sources(error)),
            Closed::Error(error) => Some(with_sources(&**error)),
            Closed::Panic(text) => Some(text.clone()),
            Closed::Local(Some(reason)) => Some(reason.to_string()),
            _ => None,
        }
    }

    /// The reason for an error of the codec that only the end of input has caused: the peer left in the middle of a packet.
    #[cold]
    pub(super) fn at_end_of_input(self) -> Self {
        match self {
            Closed::Error(error) => Closed::Peer(Some(io::Error::new(io::ErrorKind::UnexpectedEof, error))),
            why => why,
        }
    }

    /// The reason for an error of an async fn whose peer has left: reading beyond the end of input is a consequence of that.
    pub(crate) fn after_end_of_input(self) -> Self {
        match self {
            Closed::Error(error) => match error.downcast::<io::Error>() {
                Ok(error) if error.kind() == io::ErrorKind::UnexpectedEof => Closed::Peer(Some(*error)),
                Ok(error) => Closed::Error(error),
                Err(error) => Closed::Error(error),
            },
            why => why,
        }
    }

    /// The reason that an error of a read or write stands for.
    pub(crate) fn from_io(error: io::Error) -> Self {
        if peer_left(&error) {
            Closed::Peer(Some(error))
        } else {
            Closed::Error(error.into())
        }
    }
}

/// Converts an error of a codec or an async fn: a failed handshake, a packet that is too long, and a peer that left
/// keep their reason. Any other error becomes [`Closed::Error`].
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

/// Whether an error means that the peer is gone.
fn peer_left(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(error.kind(), ConnectionReset | BrokenPipe | ConnectionAborted | NotConnected)
}

/// The messages include those of the errors inside, so `source` continues with their sources.
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
            Closed::Local(None) => f.write_str("closed by the program"),
            Closed::Local(Some(reason)) => write!(f, "closed by the program: {reason}"),
            Closed::Peer(None) => f.write_str("closed by the peer"),
            Closed::Peer(Some(error)) => write!(f, "lost the peer: {error}"),
            Closed::Idle => f.write_str("idle timeout"),
            Closed::PacketTimeout => f.write_str("packet timeout"),
            Closed::SendTimeout => f.write_str("send timeout"),
            Closed::TooLong { length: 0, limit: 0 } => f.write_str("packet too long"),
            Closed::TooLong { length, limit } => {
                write!(f, "packet too long: {length} bytes (at most {limit} bytes are allowed)")
            }
            Closed::PacketRate => f.write_str("packet rate exceeded"),
            Closed::MaxAge => f.write_str("maximum age reached"),
            Closed::Handshake(error) => write!(f, "handshake failed: {error}"),
            Closed::Truncated => f.write_str("TLS connection closed without close_notify"),
            Closed::Refused(reason) => write!(f, "refused: {}", reason.name()),
            Closed::Error(error) => error.fmt(f),
            Closed::Panic(text) => write!(f, "a callback panicked: {text}"),
            Closed::Shutdown => f.write_str("pool shut down"),
            Closed::SlowConsumer => f.write_str("slow consumer: outbox full"),
            Closed::Replaced => f.write_str("replaced: another connection took over its name"),
            Closed::Detached => f.write_str("detached by the program"),
            Closed::Killed => f.write_str("ended by the pool: killed, drain deadline, or stopped arbiter"),
        }
    }
}
