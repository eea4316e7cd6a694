//! The kind of a [`HandshakeError`].

use std::error::Error;
use std::fmt;
use std::io;

use super::HandshakeError;
use crate::error::BoxError;
use crate::telemetry::HandshakeFailure;

impl HandshakeError {
    /// The kind under which the failure is counted in [`PoolInfo`](crate::info::PoolInfo::handshake_failures).
    ///
    /// ```
    /// use actix_acceptor::{telemetry::HandshakeFailure, transport::HandshakeError};
    /// use std::io;
    ///
    /// let left = HandshakeError::Io(io::ErrorKind::UnexpectedEof.into());
    /// assert_eq!(left.kind(), HandshakeFailure::PeerLeft);
    /// assert_eq!(HandshakeError::failed("unknown protocol").kind(), HandshakeFailure::Rejected);
    /// ```
    pub fn kind(&self) -> HandshakeFailure {
        match self {
            HandshakeError::Timeout(_) => HandshakeFailure::Timeout,
            // Created by a handshake step; the socket does not return these kinds.
            HandshakeError::Io(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other) => {
                HandshakeFailure::Rejected
            }
            HandshakeError::Io(_) => HandshakeFailure::PeerLeft,
            HandshakeError::PlaintextAfterStartTls(_) => HandshakeFailure::PlaintextAfterStartTls,
            HandshakeError::Failed(error) => match error.downcast_ref::<OfKind>() {
                Some(error) => error.kind,
                None => HandshakeFailure::Rejected,
            },
        }
    }

    /// A [`HandshakeError::Failed`] of this kind, with the text and the sources of `error`.
    #[cfg(any(feature = "native-tls", feature = "proxy-protocol", feature = "rustls-no-provider"))]
    pub(super) fn of_kind(kind: HandshakeFailure, error: impl Into<BoxError>) -> Self {
        HandshakeError::Failed(Box::new(OfKind { kind, error: error.into() }))
    }
}

/// An error whose kind is known where it occurs.
#[derive(Debug)]
struct OfKind {
    kind: HandshakeFailure,
    error: BoxError,
}

impl fmt::Display for OfKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for OfKind {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
