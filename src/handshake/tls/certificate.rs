//! Fields of X.509 certificates.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::handshake::TlsInfo;

/// When a certificate expires.
pub(super) fn expiry(certificate: &[u8]) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

impl TlsInfo {
    /// The name in the peer's certificate: its common name, or else its whole subject.
    pub fn peer_subject(&self) -> Option<String> {
        let (_, certificate) = X509Certificate::from_der(self.peer_certificates.first()?).ok()?;
        let subject = certificate.subject();
        let common_name = subject.iter_common_name().find_map(|name| name.as_str().ok());
        Some(common_name.map_or_else(|| subject.to_string(), str::to_owned))
    }
}
