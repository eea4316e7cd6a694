//! [`SendError`], why a reply was not queued.

use crate::error::BoxError;
use crate::framing::FramingError;

/// Why a reply was not queued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closing. For methods of [`Pool`](crate::Pool): the pool has ended.
    #[error("the connection is closed, or the pool has ended")]
    Closed,
    /// The connection has shut down its sending side with [`Conn::shutdown_write`](crate::Conn::shutdown_write).
    #[error("the connection has shut down its sending side")]
    ShutDown,
    /// The reply does not fit its length prefix.
    #[error("a reply of {length} bytes does not fit its length prefix: at most {limit} bytes are allowed")]
    TooLong {
        /// The reply's length in bytes.
        length: u64,
        /// The longest length that the prefix can express.
        limit: u64,
    },
    /// The reply contains the delimiter of its framing, such as a line feed with [`Framing::lines`](crate::Framing::lines),
    /// so the peer would receive several packets. Send the parts as separate replies, or use a length prefix.
    #[error("a reply must not contain the delimiter of its framing, which begins at byte {position}")]
    Delimiter {
        /// The number of bytes of the reply before the delimiter.
        position: u64,
    },
    /// The codec of a connection depends on its peer, so no bytes are right for all connections. Returned by
    /// [`Pool::encode`](crate::Pool::encode).
    #[error(
        "the codec depends on the peer, so a reply cannot be encoded for all connections: use an outbox, `send_to`, \
         `broadcast` or a topic instead of `encode`"
    )]
    PeerDependentCodec,
    /// The codec failed to encode the reply.
    #[error(transparent)]
    Codec(BoxError),
}

impl SendError {
    pub(crate) fn from_codec(error: BoxError) -> Self {
        match error.downcast_ref() {
            Some(FramingError::ReplyTooLong { length, limit }) => SendError::TooLong { length: *length, limit: *limit },
            Some(FramingError::DelimiterInReply { position }) => SendError::Delimiter { position: *position },
            _ => SendError::Codec(error),
        }
    }
}
