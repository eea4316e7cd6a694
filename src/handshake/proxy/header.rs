//! The content of a PROXY header.

use ppp::v2::Type;

use super::parse::fields;
use crate::net::Address;

/// A PROXY header of a trusted sender. Returned by [`Conn::proxy`](crate::Conn::proxy) and
/// [`Socket::proxy`](crate::Socket::proxy).
///
/// The content comes from the load balancer and is not verified. Texts may contain any characters.
///
/// A program that connects to a server on behalf of a peer writes a header itself, before it sends anything else and before TLS.
/// Receivers may limit its length: [`ProxyProtocol::max_header`](super::ProxyProtocol::max_header) is 4,096 bytes by default.
///
/// ```
/// # #[cfg(feature = "proxy-protocol")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use actix_acceptor::proxy::ProxyHeader;
/// use std::net::SocketAddr;
///
/// let (peer, server): (SocketAddr, SocketAddr) = ("203.0.113.7:4711".parse()?, "198.51.100.1:443".parse()?);
/// let header = ProxyHeader::new(peer, server);
/// assert_eq!(header.encode_v1()?, "PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n");
/// let header = header.with_authority("example.org")?.with_checksum();
/// assert_eq!(header.encode_v2()?.len(), 16 + 12 + (3 + 11) + (3 + 4));
/// # Ok(()) }
/// # #[cfg(not(feature = "proxy-protocol"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyHeader {
    /// The version of the header that was received, 1 or 2.
    pub version: u8,
    /// Whether the load balancer connected on its own behalf (`LOCAL`), for example for a health check.
    pub is_local: bool,
    /// The address of the peer that connected to the load balancer.
    ///
    /// `None` if the header has no address (`UNKNOWN`, `LOCAL`) or is for datagrams. The peer is the load balancer then.
    pub source: Option<Address>,
    /// The address that the peer connected to, usually one of the load balancer.
    pub destination: Option<Address>,
    /// The fields as they were received, and valid. Stored apart, they would take up more memory than their bytes.
    pub(super) tlvs: Box<[u8]>,
}

impl ProxyHeader {
    /// The additional fields of version 2 in their order, each a type and a value (TLV), including checksum and padding.
    pub fn tlvs(&self) -> impl Iterator<Item = (u8, &[u8])> {
        fields(&self.tlvs)
    }

    /// The first value of this type. `0xE0` to `0xEF` are for custom use; AWS uses `0xEA`.
    pub fn value(&self, kind: u8) -> Option<&[u8]> {
        self.tlvs().find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The application protocol that the load balancer negotiated with the peer (`PP2_TYPE_ALPN`).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.value(Type::ALPN as u8)
    }

    /// The host that the peer requested, for example by SNI (`PP2_TYPE_AUTHORITY`).
    pub fn authority(&self) -> Option<String> {
        self.value(Type::Authority as u8).map(text)
    }

    /// The load balancer's identifier of this connection, up to 128 bytes (`PP2_TYPE_UNIQUE_ID`).
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.value(Type::UniqueId as u8)
    }

    /// The name of the network namespace (`PP2_TYPE_NETNS`).
    pub fn namespace(&self) -> Option<String> {
        self.value(Type::NetworkNamespace as u8).map(text)
    }

    /// The TLS between the peer and the load balancer (`PP2_TYPE_SSL`), if the header has that field.
    pub fn tls(&self) -> Option<ProxyTls> {
        let (fixed, rest) = self.value(Type::SSL as u8)?.split_first_chunk::<5>()?;
        let [client, verified @ ..] = *fixed;
        let value = |kind: Type| fields(rest).find_map(|(found, value)| (found == kind as u8).then(|| text(value)));
        Some(ProxyTls {
            is_tls: client & 1 != 0,
            certificate_shown: client & 6 != 0,
            certificate_verified: client & 6 != 0 && u32::from_be_bytes(verified) == 0,
            version: value(Type::SSLVersion),
            common_name: value(Type::SSLCommonName),
            cipher: value(Type::SSLCipher),
            signature_algorithm: value(Type::SSLSignatureAlgorithm),
            key_algorithm: value(Type::SSLKeyAlgorithm),
        })
    }
}

/// The TLS between the peer and the load balancer, as the load balancer reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyTls {
    /// Whether the peer connected over TLS.
    pub is_tls: bool,
    /// Whether the peer presented a certificate, on this connection or earlier in the same TLS session.
    pub certificate_shown: bool,
    /// Whether the peer presented a certificate that the load balancer verified.
    pub certificate_verified: bool,
    /// The version, for example `TLSv1.3`.
    pub version: Option<String>,
    /// The common name in the peer's certificate.
    pub common_name: Option<String>,
    /// The cipher.
    pub cipher: Option<String>,
    /// The algorithm that signed the certificate of the load balancer.
    pub signature_algorithm: Option<String>,
    /// The algorithm of the key in that certificate.
    pub key_algorithm: Option<String>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
