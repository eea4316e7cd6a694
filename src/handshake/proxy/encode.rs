//! Writes PROXY headers, for a program that connects to a server on behalf of a peer.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use ppp::v2::{AddressFamily, Command, Protocol, Type, Version, PROTOCOL_PREFIX};

use super::parse::{checksum_of, fields};
use super::{ProxyHeader, ProxyTls};
use crate::net::Address;

/// The longest identifier of a connection, in bytes.
const MAX_UNIQUE_ID: usize = 128;

/// The size of a `sun_path`, in bytes.
#[cfg(unix)]
const UNIX_PATH: usize = 108;

/// Why a PROXY header cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyEncodeError {
    /// Only one of the two addresses is set.
    #[error("a PROXY header needs `source` and `destination`, or neither; `{missing}` is `None`")]
    OneAddress {
        /// The field without an address, `source` or `destination`.
        missing: &'static str,
    },
    /// The version has no representation of these addresses.
    #[error("version {version} of the PROXY protocol cannot represent {source_address} and {destination}; {allowed}")]
    Addresses {
        /// The version, 1 or 2.
        version: u8,
        /// The source.
        source_address: Address,
        /// The destination.
        destination: Address,
        /// What the version allows.
        allowed: &'static str,
    },
    /// The value of an additional field is too long.
    #[error("the value of field {kind:#04x} of a PROXY header must have at most {allowed} bytes (got {length})")]
    ValueTooLong {
        /// The type of the field.
        kind: u8,
        /// The length of its value, in bytes.
        length: usize,
        /// The greatest length, in bytes.
        allowed: usize,
    },
    /// Addresses and additional fields are too long together.
    #[error("the addresses and fields of a PROXY header must have at most 65535 bytes (got {length}); remove fields")]
    TooLong {
        /// Their length, in bytes.
        length: usize,
    },
}

impl ProxyHeader {
    /// A header for a connection on behalf of this peer, which connected to this address. Two TCP addresses or two Unix
    /// addresses.
    pub fn new(source: impl Into<Address>, destination: impl Into<Address>) -> Self {
        ProxyHeader {
            version: 2,
            source: Some(source.into()),
            destination: Some(destination.into()),
            ..ProxyHeader::default()
        }
    }

    /// A header for a connection of the sender's own (`LOCAL`), for example for a health check. Version 1 writes `UNKNOWN`.
    pub fn local() -> Self {
        ProxyHeader { version: 2, is_local: true, ..ProxyHeader::default() }
    }

    /// A header for a connection on behalf of a peer without an address.
    pub fn unknown() -> Self {
        ProxyHeader { version: 2, ..ProxyHeader::default() }
    }

    /// Sets an additional field, which only version 2 has, in place of all fields of this type.
    ///
    /// # Errors
    /// The value is longer than 65,535 bytes.
    pub fn with_value(mut self, kind: u8, value: impl AsRef<[u8]>) -> Result<Self, ProxyEncodeError> {
        let value = value.as_ref();
        let Ok(length) = u16::try_from(value.len()) else {
            return Err(ProxyEncodeError::ValueTooLong { kind, length: value.len(), allowed: u16::MAX.into() });
        };
        let mut tlvs = Vec::with_capacity(self.tlvs.len() + 3 + value.len());
        for (other, value) in self.tlvs().filter(|(other, _)| *other != kind) {
            // The length of a value that is there already fits.
            put_field(&mut tlvs, other, value.len() as u16, value);
        }
        put_field(&mut tlvs, kind, length, value);
        self.tlvs = tlvs.into();
        Ok(self)
    }

    /// Sets the application protocol that was negotiated with the peer (`PP2_TYPE_ALPN`).
    ///
    /// # Errors
    /// The name is longer than 65,535 bytes.
    pub fn with_alpn(self, name: impl AsRef<[u8]>) -> Result<Self, ProxyEncodeError> {
        self.with_value(Type::ALPN as u8, name)
    }

    /// Sets the host that the peer requested (`PP2_TYPE_AUTHORITY`).
    ///
    /// # Errors
    /// The name is longer than 65,535 bytes.
    pub fn with_authority(self, host: impl AsRef<str>) -> Result<Self, ProxyEncodeError> {
        self.with_value(Type::Authority as u8, host.as_ref())
    }

    /// Sets the identifier of this connection (`PP2_TYPE_UNIQUE_ID`).
    ///
    /// # Errors
    /// The identifier is longer than 128 bytes.
    pub fn with_unique_id(self, id: impl AsRef<[u8]>) -> Result<Self, ProxyEncodeError> {
        let (kind, length) = (Type::UniqueId as u8, id.as_ref().len());
        if length > MAX_UNIQUE_ID {
            return Err(ProxyEncodeError::ValueTooLong { kind, length, allowed: MAX_UNIQUE_ID });
        }
        self.with_value(kind, id)
    }

    /// Sets the name of the network namespace (`PP2_TYPE_NETNS`).
    ///
    /// # Errors
    /// The name is longer than 65,535 bytes.
    pub fn with_namespace(self, name: impl AsRef<str>) -> Result<Self, ProxyEncodeError> {
        self.with_value(Type::NetworkNamespace as u8, name.as_ref())
    }

    /// Sets the TLS between the peer and the sender (`PP2_TYPE_SSL`).
    ///
    /// # Errors
    /// The texts are longer than 65,535 bytes together.
    pub fn with_tls(self, tls: &ProxyTls) -> Result<Self, ProxyEncodeError> {
        let kind = Type::SSL as u8;
        let is_verified = tls.certificate_shown && tls.certificate_verified;
        let mut value = vec![u8::from(tls.is_tls) | u8::from(tls.certificate_shown) << 1];
        value.extend(u32::from(!is_verified).to_be_bytes());
        for (inner, text) in [
            (Type::SSLVersion, &tls.version),
            (Type::SSLCommonName, &tls.common_name),
            (Type::SSLCipher, &tls.cipher),
            (Type::SSLSignatureAlgorithm, &tls.signature_algorithm),
            (Type::SSLKeyAlgorithm, &tls.key_algorithm),
        ] {
            let Some(text) = text else { continue };
            let Ok(length) = u16::try_from(text.len()) else {
                return Err(ProxyEncodeError::ValueTooLong { kind, length: text.len(), allowed: u16::MAX.into() });
            };
            put_field(&mut value, inner as u8, length, text.as_bytes());
        }
        self.with_value(kind, value)
    }

    /// Adds a checksum (`PP2_TYPE_CRC32C`), which [`encode_v2`](ProxyHeader::encode_v2) computes.
    pub fn with_checksum(mut self) -> Self {
        let mut tlvs = Vec::with_capacity(self.tlvs.len() + 7);
        for (kind, value) in self.tlvs().filter(|(kind, _)| *kind != Type::CRC32C as u8) {
            put_field(&mut tlvs, kind, value.len() as u16, value);
        }
        put_field(&mut tlvs, Type::CRC32C as u8, 4, &[0; 4]);
        self.tlvs = tlvs.into();
        self
    }

    /// The header in version 1, a line of text. The additional fields are left out, because this version has none; without
    /// addresses it is `UNKNOWN`. An IPv4 and an IPv6 address are both written as IPv6 addresses.
    ///
    /// # Errors
    /// Only one address is set, or one is not a TCP address.
    pub fn encode_v1(&self) -> Result<Bytes, ProxyEncodeError> {
        let allowed = "it allows TCP addresses; use version 2 for Unix sockets";
        let (source, destination) = match self.ends()? {
            None => return Ok(Bytes::from_static(b"PROXY UNKNOWN\r\n")),
            Some((Address::Tcp(source), Address::Tcp(destination))) => same_family(*source, *destination),
            Some((source, destination)) => return Err(unavailable(1, source, destination, allowed)),
        };
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (source.ip(), destination.ip());
        Ok(format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into())
    }

    /// The header in version 2, which is binary. If it has a checksum, that is computed again. An IPv4 and an IPv6 address
    /// are both written as IPv6 addresses.
    ///
    /// # Errors
    /// Only one address is set; the addresses are neither both TCP addresses nor both addresses of Unix sockets, or the path
    /// of a socket is longer than 108 bytes; the header is longer than the protocol allows.
    pub fn encode_v2(&self) -> Result<Bytes, ProxyEncodeError> {
        let mut ends = BytesMut::new();
        let family = match self.ends()? {
            None => AddressFamily::Unspecified as u8 | Protocol::Unspecified as u8,
            Some((Address::Tcp(source), Address::Tcp(destination))) => {
                let (source, destination) = same_family(*source, *destination);
                put_ip(&mut ends, source.ip());
                put_ip(&mut ends, destination.ip());
                ends.put_u16(source.port());
                ends.put_u16(destination.port());
                let family = if source.is_ipv4() { AddressFamily::IPv4 } else { AddressFamily::IPv6 };
                family as u8 | Protocol::Stream as u8
            }
            #[cfg(unix)]
            Some((source @ Address::Unix(from), destination @ Address::Unix(to))) => {
                let allowed = "a path may have 108 bytes, an abstract name 107";
                let too_long = |()| unavailable(2, source, destination, allowed);
                put_unix(&mut ends, from).map_err(too_long)?;
                put_unix(&mut ends, to).map_err(too_long)?;
                AddressFamily::Unix as u8 | Protocol::Stream as u8
            }
            Some((source, destination)) => {
                let allowed = "it allows two TCP addresses or two addresses of Unix sockets";
                return Err(unavailable(2, source, destination, allowed));
            }
        };
        let length = ends.len() + self.tlvs.len();
        let wire_length = u16::try_from(length).map_err(|_| ProxyEncodeError::TooLong { length })?;
        let command = if self.is_local { Command::Local } else { Command::Proxy };
        let mut header = BytesMut::with_capacity(PROTOCOL_PREFIX.len() + 4 + length);
        header.put_slice(PROTOCOL_PREFIX);
        header.put_u8(Version::Two | command);
        header.put_u8(family);
        header.put_u16(wire_length);
        header.put_slice(&ends);
        let fields_at = header.len();
        header.put_slice(&self.tlvs);
        if let Some(at) = checksum_position(&self.tlvs) {
            let at = fields_at + at;
            let checksum = checksum_of(&header, at);
            header[at..at + 4].copy_from_slice(&checksum.to_be_bytes());
        }
        Ok(header.freeze())
    }

    /// Both addresses, if the header has any.
    fn ends(&self) -> Result<Option<(&Address, &Address)>, ProxyEncodeError> {
        match (&self.source, &self.destination) {
            _ if self.is_local => Ok(None),
            (None, None) => Ok(None),
            (Some(source), Some(destination)) => Ok(Some((source, destination))),
            (None, Some(_)) => Err(ProxyEncodeError::OneAddress { missing: "source" }),
            (Some(_), None) => Err(ProxyEncodeError::OneAddress { missing: "destination" }),
        }
    }
}

fn unavailable(version: u8, source: &Address, destination: &Address, allowed: &'static str) -> ProxyEncodeError {
    ProxyEncodeError::Addresses { version, source_address: source.clone(), destination: destination.clone(), allowed }
}

/// The header has one family for both addresses.
fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let wide = |at: SocketAddr| match at.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), at.port()),
        IpAddr::V6(_) => at,
    };
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (wide(source), wide(destination))
    }
}

fn put_ip(bytes: &mut BytesMut, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => bytes.put_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes.put_slice(&ip.octets()),
    }
}

/// Writes a `sun_path`. Fails if the path or the name is too long.
#[cfg(unix)]
fn put_unix(bytes: &mut BytesMut, address: &crate::net::UnixAddress) -> Result<(), ()> {
    use crate::net::UnixAddress;
    use std::os::unix::ffi::OsStrExt;

    let end = bytes.len() + UNIX_PATH;
    match address {
        UnixAddress::Path(path) => bytes.put_slice(path.as_os_str().as_bytes()),
        UnixAddress::Abstract(name) => {
            bytes.put_u8(0);
            bytes.put_slice(name);
        }
        UnixAddress::Unnamed => {}
    }
    if bytes.len() > end {
        return Err(());
    }
    bytes.resize(end, 0);
    Ok(())
}

fn put_field(bytes: &mut Vec<u8>, kind: u8, length: u16, value: &[u8]) {
    bytes.push(kind);
    bytes.extend(length.to_be_bytes());
    bytes.extend(value);
}

/// Where the value of the checksum starts among the fields, if there is one of the right length.
fn checksum_position(tlvs: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (kind, value) in fields(tlvs) {
        if kind == Type::CRC32C as u8 {
            return (value.len() == 4).then_some(at + 3);
        }
        at += 3 + value.len();
    }
    None
}
