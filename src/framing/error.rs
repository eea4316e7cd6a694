//! Errors of framings.

use std::io;

/// Why decoding or encoding failed.
///
/// ```
/// use actix_acceptor::framing::FramingError;
/// let error = FramingError::TooLong { length: 1001, limit: 1000 };
/// assert_eq!(error.to_string(), "received a packet of at least 1001 bytes, the limit is 1000");
/// ```
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum FramingError {
    /// An incoming packet is longer than [`max_frame`](crate::Framing::max_frame).
    #[error("received a packet of at least {length} bytes, the limit is {limit}")]
    TooLong {
        /// The length announced by its prefix, in bytes. Without a prefix, one more than the limit: decoding stops
        /// there, and the real length is not known.
        length: u64,
        /// The greatest length that is accepted, in bytes.
        limit: u64,
    },
    /// An outgoing packet is longer than its prefix can express. Nothing was written.
    #[error("a reply of {length} bytes does not fit its length prefix, the limit is {limit}")]
    ReplyTooLong {
        /// The length of the packet, in bytes.
        length: u64,
        /// The greatest length that this framing can send, in bytes.
        limit: u64,
    },
    /// An outgoing packet contains the delimiter of its framing (with [`lines`](crate::Framing::lines), a line feed), so that
    /// the peer would receive several packets. Nothing was written. Send the parts as separate packets, or use a length
    /// prefix.
    #[error("a reply must not contain the delimiter of its framing, which begins at byte {position}")]
    DelimiterInReply {
        /// The number of bytes before the delimiter. A delimiter that begins in the packet and ends in the bytes appended to
        /// it counts as well.
        position: u64,
    },
    /// The underlying stream failed. [`Framing`](crate::Framing) itself never returns this variant.
    #[error("reading or writing failed")]
    Io(#[from] io::Error),
}

impl FramingError {
    #[cold]
    pub(super) fn announced(length: u64, max: usize) -> Self {
        Self::TooLong { length, limit: max as u64 }
    }

    #[cold]
    pub(super) fn delimiter_at(position: usize) -> Self {
        Self::DelimiterInReply { position: position as u64 }
    }

    /// The error for more than `max` bytes without an end. It does not depend on how the bytes were split into reads.
    #[cold]
    pub(super) fn received_above(max: usize) -> Self {
        Self::announced(max as u64 + 1, max)
    }
}

/// The text is not the name of a [`Framing`](crate::Framing).
///
/// ```
/// use actix_acceptor::Framing;
/// let error = "len3".parse::<Framing>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"unknown framing "len3": expected raw, lines, len1, len2, len4 or len8"#,
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown framing {name:?}: expected raw, lines, len1, len2, len4 or len8")]
pub struct ParseFramingError {
    name: String,
}

impl ParseFramingError {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into() }
    }
}
