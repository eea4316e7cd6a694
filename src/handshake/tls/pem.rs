//! The sources of certificates and keys.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
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

    /// The whole content, which is not empty.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, TlsError> {
        let bytes = self.pieces()?.concat();
        if bytes.is_empty() {
            return Err(self.invalid("it is empty"));
        }
        Ok(bytes)
    }

    /// The certificates in DER, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<Vec<u8>>, TlsError> {
        let mut certificates = Vec::new();
        for piece in self.pieces()?.iter() {
            if piece.is_empty() {
                return Err(self.invalid("it is empty"));
            }
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

/// The greatest length of a file, in bytes: several times that of the usual bundles of authorities.
const MAX_FILE: u64 = 4 * 1024 * 1024;

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    read_file(path).map_err(|source| TlsError::File { path: path.display().to_string(), source })
}

/// Reads a regular file of at most [`MAX_FILE`] bytes. Opening a pipe would wait for its other end.
pub(super) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PemSource::File(path) => path.display().fmt(f),
            PemSource::Memory(_) => f.write_str("memory"),
        }
    }
}
