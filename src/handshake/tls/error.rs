//! The errors of TLS settings, certificates and keys.

use std::io;

use crate::error::{BoxError, InvalidSetting};

/// Why TLS could not be built or reloaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The path of the file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// A file, or a value in memory, has invalid content.
    #[error("{path}: {why}")]
    Content {
        /// The path of the file, or `memory`.
        path: String,
        /// What is invalid.
        why: BoxError,
    },
    /// A key is encrypted, but no password is set.
    #[error("the key in {key} is encrypted; set its password with `key_password`")]
    PasswordMissing {
        /// Where the key was read from: the path of the file, or `memory`.
        key: String,
    },
    /// A key cannot be decrypted with the password.
    #[error("cannot decrypt the key in {key}; check `key_password`")]
    PasswordWrong {
        /// Where the key was read from: the path of the file, or `memory`.
        key: String,
        /// The error of the decryption.
        source: BoxError,
    },
    /// The certificate and the key do not match.
    #[error("the certificate in {certificates} and the key in {key} do not match")]
    Mismatch {
        /// Where the certificate was read from.
        certificates: String,
        /// Where the key was read from.
        key: String,
    },
    /// The files of a directory cannot be watched.
    #[error("cannot watch {path}")]
    Watch {
        /// The path of the directory.
        path: String,
        /// The error of the system, for example that a limit on watches or descriptors is reached.
        source: BoxError,
    },
    /// `rustls` has no crypto provider: only feature `rustls-no-provider` is enabled, and the program has not installed one.
    #[error(
        "rustls has no crypto provider: enable feature `rustls-ring` or `rustls-aws-lc-rs` of actix-acceptor, or call \
         `CryptoProvider::install_default` before this"
    )]
    NoCryptoProvider,
    /// A setting is invalid, or the back end does not support it.
    #[error(transparent)]
    InvalidSetting(#[from] InvalidSetting),
    /// The TLS library rejected the configuration.
    #[error(transparent)]
    Refused(BoxError),
}
