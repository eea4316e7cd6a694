//! Fields of X.509 certificates.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

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

    /// The subject alternative names in the peer's certificate (RFC 5280, section 4.2.1.6), in the order of the certificate.
    /// `None` if the peer sent no certificate, or if the names are malformed. Parsed at each call.
    ///
    /// Trust them only if client certificates are [verified](crate::tls::TlsBuilder::client_certificates), as they always are
    /// with a `TlsBuilder`.
    pub fn peer_alt_names(&self) -> Option<SubjectAltNames> {
        let (_, certificate) = X509Certificate::from_der(self.peer_certificates.first()?).ok()?;
        let mut names = SubjectAltNames::default();
        for name in certificate.subject_alternative_name().ok()?.iter().flat_map(|list| &list.value.general_names) {
            match name {
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => names.emails.push((*name).to_owned()),
                GeneralName::URI(name) => names.uris.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.ips.extend(ip(bytes)),
                _ => {}
            }
        }
        Some(names)
    }
}

/// The subject alternative names of a certificate. Names of other kinds than these are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubjectAltNames {
    /// Host names, for example `client.example.org` or `*.example.org`.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ips: Vec<IpAddr>,
    /// Email addresses.
    pub emails: Vec<String>,
    /// URIs, for example the `spiffe://` identity of a workload.
    pub uris: Vec<String>,
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}
