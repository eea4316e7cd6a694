//! What can be wrong with a packet, or with the name of a framing.

use std::io;

/// Why bytes did not become a packet, or a packet not bytes.
///
/// ```
/// use actix_acceptor::framing::FramingError;
/// let error = FramingError::TooLong { length: 1001, limit: 1000 };
/// assert_eq!(error.to_string(), "a packet of at least 1001 bytes came in, 1000 are allowed");
/// ```
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum FramingError {
    /// An incoming packet is longer than [`max_frame`](crate::Framing::max_frame).
    #[error("a packet of at least {length} bytes came in, {limit} are allowed")]
    TooLong {
        /// The length its prefix announced, in bytes. Where there is no prefix: one more than the
        /// limit, for that is all that is known when the packet is given up.
        length: u64,
        /// The longest that is accepted, in bytes.
        limit: u64,
    },
    /// An outgoing packet is longer than its prefix can tell. Nothing of it was written.
    #[error("a packet of {length} bytes does not fit its prefix, which can tell up to {limit}")]
    ReplyTooLong {
        /// The length of the packet, in bytes.
        length: u64,
        /// The longest that this framing can send, in bytes.
        limit: u64,
    },
    /// The stream underneath failed; a [`Framing`](crate::Framing) by itself never says this.
    #[error("reading or writing failed")]
    Io(#[from] io::Error),
}

impl FramingError {
    #[cold]
    pub(super) fn announced(length: u64, max: usize) -> Self {
        Self::TooLong { length, limit: max as u64 }
    }

    /// More than `max` bytes are there, and no end in sight. The same however much came at once.
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
