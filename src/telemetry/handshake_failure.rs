//! Why a handshake failed, as a label.

use std::fmt;

use super::counts::{sealed, Label};

/// Why a handshake failed: the kind of a [`HandshakeError`](crate::transport::HandshakeError). Counted in
/// [`PoolInfo::handshake_failures`](crate::info::PoolInfo::handshake_failures).
///
/// A peer that must send a PROXY header and is not trusted gets no handshake. It is refused as
/// [`Denied`](crate::telemetry::RefusalReason::Denied).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum HandshakeFailure {
    /// The handshake took longer than [`handshake_timeout`](crate::Builder::handshake_timeout): the peer was silent or slow,
    /// or waited for one of [`max_handshakes`](crate::Builder::max_handshakes).
    Timeout,
    /// The peer closed or reset the connection before the handshake was done, or the socket failed. Port scanners and health
    /// checks that send nothing are counted here.
    PeerLeft,
    /// A required PROXY header is missing: the load balancer does not send one, or the peer is not the load balancer.
    ProxyMissing,
    /// The PROXY header is malformed or too long.
    ProxyInvalid,
    /// The first bytes are not TLS, for example those of a plaintext client.
    NotTls,
    /// Peer and server have no TLS version, cipher suite or application protocol (ALPN) in common.
    TlsParameters,
    /// The client certificate is missing, or the server rejected it.
    ClientCertificate,
    /// The peer rejected the server's certificate: it is expired, issued by an unknown authority, or for another name.
    CertificateRejected,
    /// Another failure of TLS: an alert of the peer, or a violation of the protocol.
    Tls,
    /// Plaintext followed the request for TLS (STARTTLS), which may be an injection attack.
    PlaintextAfterStartTls,
    /// A user-defined step failed, or `on_client_hello` rejected the peer.
    Rejected,
}

const ALL: [HandshakeFailure; 11] = [
    HandshakeFailure::Timeout,
    HandshakeFailure::PeerLeft,
    HandshakeFailure::ProxyMissing,
    HandshakeFailure::ProxyInvalid,
    HandshakeFailure::NotTls,
    HandshakeFailure::TlsParameters,
    HandshakeFailure::ClientCertificate,
    HandshakeFailure::CertificateRejected,
    HandshakeFailure::Tls,
    HandshakeFailure::PlaintextAfterStartTls,
    HandshakeFailure::Rejected,
];

impl HandshakeFailure {
    /// Every kind, in the order of declaration.
    pub const ALL: &'static [HandshakeFailure] = &ALL;

    /// The kind in snake case, as in logs and metrics.
    ///
    /// ```
    /// assert_eq!(actix_acceptor::telemetry::HandshakeFailure::NotTls.name(), "not_tls");
    /// assert_eq!(actix_acceptor::telemetry::HandshakeFailure::PeerLeft.to_string(), "peer_left");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            HandshakeFailure::Timeout => "timeout",
            HandshakeFailure::PeerLeft => "peer_left",
            HandshakeFailure::ProxyMissing => "proxy_missing",
            HandshakeFailure::ProxyInvalid => "proxy_invalid",
            HandshakeFailure::NotTls => "not_tls",
            HandshakeFailure::TlsParameters => "tls_parameters",
            HandshakeFailure::ClientCertificate => "client_certificate",
            HandshakeFailure::CertificateRejected => "certificate_rejected",
            HandshakeFailure::Tls => "tls",
            HandshakeFailure::PlaintextAfterStartTls => "plaintext_after_starttls",
            HandshakeFailure::Rejected => "rejected",
        }
    }
}

impl Label for HandshakeFailure {
    const ALL: &'static [Self] = &ALL;

    fn name(self) -> &'static str {
        HandshakeFailure::name(self)
    }
}

impl fmt::Display for HandshakeFailure {
    /// Writes the [`name`](HandshakeFailure::name).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl sealed::Label for HandshakeFailure {
    type Array = [u64; ALL.len()];

    fn index(self) -> usize {
        self as usize
    }
}
