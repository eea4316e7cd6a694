//! Where certificates and keys come from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::TlsError;
use crate::error::BoxError;

/// A file, read anew each time, or bytes.
#[derive(Clone)]
pub(super) enum Source {
    File(PathBuf),
    Memory(Arc<[u8]>),
}

impl Source {
    pub(super) fn memory(bytes: impl Into<Vec<u8>>) -> Self {
        Source::Memory(bytes.into().into())
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            Source::Memory(bytes) => Ok(bytes.to_vec()),
            Source::File(path) => {
                std::fs::read(path).map_err(|source| TlsError::File { path: path.display().to_string(), source })
            }
        }
    }

    pub(super) fn wrong(&self, why: impl Into<BoxError>) -> TlsError {
        TlsError::Content { path: self.to_string(), why: why.into() }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => path.display().fmt(f),
            Source::Memory(_) => f.write_str("memory"),
        }
    }
}
