//! What can be wrong with certificates and keys.

use std::io;

use crate::error::{BoxError, InvalidSetting};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which one.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// What was read is not what it should be.
    #[error("{path}: {why}")]
    Content {
        /// Which file; `memory` for what was not in one.
        path: String,
        /// What is wrong with it.
        why: BoxError,
    },
    /// The certificate and the key do not belong together.
    #[error("{certificates} and {key} do not match")]
    Mismatch {
        /// Where the certificate was read.
        certificates: String,
        /// Where the key was read.
        key: String,
    },
    /// A setting is invalid, or the back end does not support it.
    #[error(transparent)]
    InvalidSetting(#[from] InvalidSetting),
    /// There is no certificate, or the library refused the whole.
    #[error("{0}")]
    Refused(#[source] BoxError),
}
