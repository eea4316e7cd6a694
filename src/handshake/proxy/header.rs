//! What a PROXY header has said.

use bytes::Bytes;
use ppp::v2::Type;

use super::parse::tlvs;
use crate::net::Address;

/// A PROXY header that was believed: from [`Conn::proxy`](crate::Conn::proxy) or [`Socket::proxy`](crate::Socket::proxy).
///
/// What is in it, the load balancer says: the texts may be anything that fits the length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyHeader {
    /// The protocol's version, 1 or 2.
    pub version: u8,
    /// The load balancer speaks for itself (`LOCAL`), as it does to see whether we are alive.
    pub is_local: bool,
    /// Who has connected to the load balancer. `None` where it does not say (`UNKNOWN`, `LOCAL`) or speaks of datagrams: then
    /// the peer is the load balancer.
    pub source: Option<Address>,
    /// Where to: an address of the load balancer's, mostly.
    pub destination: Option<Address>,
    pub(super) tlvs: Vec<(u8, Bytes)>,
}

impl ProxyHeader {
    /// Everything else that version 2 has said, in its order: a type and its value (TLV), those of the checksum and of
    /// padding among them.
    pub fn tlvs(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.tlvs.iter().map(|(kind, value)| (*kind, &value[..]))
    }

    /// The value of this type, the first if there are several. `0xEA` is what AWS tells, `0xE0` to `0xEF` are anybody's.
    pub fn value(&self, kind: u8) -> Option<&[u8]> {
        self.tlvs().find_map(|(its, value)| (its == kind).then_some(value))
    }

    /// The application protocol that the load balancer has agreed on with the peer (`PP2_TYPE_ALPN`).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.value(Type::ALPN as u8)
    }

    /// The host that the peer asked for, as by SNI (`PP2_TYPE_AUTHORITY`).
    pub fn authority(&self) -> Option<String> {
        self.value(Type::Authority as u8).map(text)
    }

    /// What the load balancer calls this connection, up to 128 bytes of anything (`PP2_TYPE_UNIQUE_ID`).
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.value(Type::UniqueId as u8)
    }

    /// The network namespace's name (`PP2_TYPE_NETNS`).
    pub fn namespace(&self) -> Option<String> {
        self.value(Type::NetworkNamespace as u8).map(text)
    }

    /// What there is between peer and load balancer (`PP2_TYPE_SSL`); `None` where it says nothing of it.
    pub fn tls(&self) -> Option<ProxyTls> {
        let (fixed, rest) = self.value(Type::SSL as u8)?.split_first_chunk::<5>()?;
        let [client, verified @ ..] = *fixed;
        let told = tlvs(rest).ok()?;
        let value = |kind: Type| told.iter().find_map(|(its, value)| (*its == kind as u8).then(|| text(value)));
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

/// The TLS between the peer and the load balancer, as that one tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyTls {
    /// The peer came by TLS.
    pub is_tls: bool,
    /// It has shown a certificate, on this connection or earlier in the same session.
    pub certificate_shown: bool,
    /// It has, and the load balancer found it good.
    pub certificate_verified: bool,
    /// The version, `TLSv1.3` for example.
    pub version: Option<String>,
    /// The common name in the certificate it has shown.
    pub common_name: Option<String>,
    /// The cipher.
    pub cipher: Option<String>,
    /// What the load balancer's own certificate is signed with.
    pub signature_algorithm: Option<String>,
    /// What the key in it is.
    pub key_algorithm: Option<String>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
