//! The sources of certificates and keys.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::TlsError;
use crate::error::BoxError;

/// A file that is read again each time, or values in memory. PEM and DER are distinguished by the content.
#[derive(Clone)]
pub(super) enum PemSource {
    File(PathBuf),
    Memory(Arc<[Vec<u8>]>),
}

impl PemSource {
    pub(super) fn memory(pieces: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        PemSource::Memory(pieces.into_iter().map(Into::into).collect())
    }

    /// The path, if it is a file.
    #[cfg(feature = "watch")]
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            PemSource::File(path) => Some(path),
            PemSource::Memory(_) => None,
        }
    }

    fn pieces(&self) -> Result<Arc<[Vec<u8>]>, TlsError> {
        match self {
            PemSource::Memory(pieces) => Ok(pieces.clone()),
            PemSource::File(path) => read(path).map(|bytes| [bytes].into()),
        }
    }

    /// The whole content.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, TlsError> {
        self.pieces().map(|pieces| pieces.concat())
    }

    /// The certificates in DER, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        let mut certificates = Vec::new();
        for piece in self.pieces()?.iter() {
            if !is_pem(piece) {
                certificates.push(piece.clone());
                continue;
            }
            for block in Pem::iter_from_buffer(piece) {
                let block = block.map_err(|error| self.invalid(error))?;
                if block.label == "CERTIFICATE" {
                    certificates.push(block.contents);
                }
            }
        }
        if certificates.is_empty() {
            return Err(self.invalid("there is no certificate in it"));
        }
        for certificate in &certificates {
            X509Certificate::from_der(certificate)
                .map_err(|error| self.invalid(format!("not a certificate: {error}")))?;
        }
        Ok(certificates)
    }

    pub(super) fn invalid(&self, why: impl Into<BoxError>) -> TlsError {
        TlsError::Content { path: self.to_string(), why: why.into() }
    }
}

pub(super) fn is_pem(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"-----BEGIN ").is_some()
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File { path: path.display().to_string(), source })
}

impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PemSource::File(path) => path.display().fmt(f),
            PemSource::Memory(_) => f.write_str("memory"),
        }
    }
}
