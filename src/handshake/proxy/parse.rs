//! The parser of PROXY headers. It works on the bytes received so far and does no I/O.

use ppp::v2::{Addresses, Command, Header, ParseError, Protocol, Type, TypeLengthValues};
use ppp::{v1, v2};

use super::ProxyHeader;
use crate::net::Address;

const SIGNATURE_V1: &[u8] = b"PROXY ";
const SIGNATURE_V2: &[u8] = v2::PROTOCOL_PREFIX;

/// The longest line of version 1, CRLF included.
const MAX_LINE: usize = 107;

/// The fixed part of a header of version 2, which ends with the length of the rest.
const FIXED: usize = 16;

/// The result of parsing the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A prefix of a signature: either a header or data.
    Undecided,
    /// A prefix of a header.
    Incomplete,
    /// A complete header and its length.
    Header(ProxyHeader, usize),
    /// Not a header.
    Data,
}

/// Why bytes that start like a header are not a valid header.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the PROXY header is longer than {0} bytes")]
    TooLong(usize),
    #[error("malformed PROXY header: {0}")]
    Line(v1::BinaryParseError),
    #[error("malformed PROXY header: {0}")]
    Binary(ParseError),
    #[error("malformed PROXY header: the line ends without CR")]
    Ending,
    #[error("malformed PROXY header: reserved family and protocol {0:#04x}")]
    Reserved(u8),
    #[error("malformed PROXY header: a checksum of {0} bytes, expected 4")]
    ChecksumLength(usize),
    #[error("the PROXY header's checksum is {received:#010x}, expected {computed:#010x}")]
    Checksum { received: u32, computed: u32 },
    #[error("malformed PROXY header: a TLS field of {0} bytes, expected at least 5")]
    Tls(usize),
}

/// `max_header` limits headers of version 2.
pub(super) fn parse(bytes: &[u8], max_header: usize) -> Result<Parsed, Malformed> {
    if bytes.starts_with(SIGNATURE_V1) {
        line(bytes)
    } else if bytes.starts_with(SIGNATURE_V2) {
        binary(bytes, max_header)
    } else if SIGNATURE_V1.starts_with(bytes) || SIGNATURE_V2.starts_with(bytes) {
        Ok(Parsed::Undecided)
    } else {
        Ok(Parsed::Data)
    }
}

fn line(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let available = bytes.len().min(MAX_LINE);
    let Some(end) = bytes[..available].iter().position(|byte| *byte == b'\n') else {
        return if available < MAX_LINE { Ok(Parsed::Incomplete) } else { Err(Malformed::TooLong(MAX_LINE)) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(Malformed::Ending)?;
    let mut header = ProxyHeader { version: 1, ..ProxyHeader::default() };
    // Section 2.1: the receiver must ignore anything after UNKNOWN.
    if line != b"PROXY UNKNOWN" && !line.starts_with(b"PROXY UNKNOWN ") {
        let parsed = v1::Header::try_from(&bytes[..=end]).map_err(Malformed::Line)?;
        let between = |source: (_, u16), destination: (_, u16)| (Some(ip(source)), Some(ip(destination)));
        (header.source, header.destination) = match parsed.addresses {
            v1::Addresses::Unknown => (None, None),
            v1::Addresses::Tcp4(at) => between(
                (at.source_address.into(), at.source_port),
                (at.destination_address.into(), at.destination_port),
            ),
            v1::Addresses::Tcp6(at) => between(
                (at.source_address.into(), at.source_port),
                (at.destination_address.into(), at.destination_port),
            ),
        };
    }
    Ok(Parsed::Header(header, end + 1))
}

fn binary(bytes: &[u8], max_header: usize) -> Result<Parsed, Malformed> {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else { return Ok(Parsed::Incomplete) };
    let length = FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if length > max_header {
        return Err(Malformed::TooLong(max_header));
    }
    // Section 2.2: for LOCAL the receiver ignores the family and everything after it.
    if fixed[12] == v2::Version::Two | Command::Local {
        let header = ProxyHeader { version: 2, is_local: true, ..ProxyHeader::default() };
        return Ok(if bytes.len() < length { Parsed::Incomplete } else { Parsed::Header(header, length) });
    }
    let parsed = match Header::try_from(bytes) {
        Err(ParseError::Partial(..)) => return Ok(Parsed::Incomplete),
        parsed => parsed.map_err(Malformed::Binary)?,
    };
    let is_unspecified = (parsed.addresses == Addresses::Unspecified, parsed.protocol == Protocol::Unspecified);
    if is_unspecified.0 != is_unspecified.1 {
        return Err(Malformed::Reserved(fixed[13]));
    }
    let mut header = ProxyHeader { version: 2, ..ProxyHeader::default() };
    // A datagram address is not the address of this stream's peer.
    if parsed.protocol == Protocol::Stream {
        (header.source, header.destination) = addresses(&parsed.addresses);
    }
    header.tlvs = match is_unspecified {
        // Without addresses their length is unknown, so the rest may not be TLVs.
        (true, _) => check_fields(&bytes[FIXED..length]).unwrap_or_default(),
        _ => check_fields(parsed.tlv_bytes())?,
    }
    .into();
    checksum(&header, &bytes[..length])?;
    if let Some(tls) = header.value(Type::SSL as u8) {
        check_fields(tls.get(5..).ok_or(Malformed::Tls(tls.len()))?)?;
    }
    Ok(Parsed::Header(header, length))
}

fn ip((ip, port): (std::net::IpAddr, u16)) -> Address {
    Address::Tcp((ip, port).into())
}

fn addresses(addresses: &Addresses) -> (Option<Address>, Option<Address>) {
    match addresses {
        Addresses::Unspecified => (None, None),
        Addresses::IPv4(at) => (
            Some(ip((at.source_address.into(), at.source_port))),
            Some(ip((at.destination_address.into(), at.destination_port))),
        ),
        Addresses::IPv6(at) => (
            Some(ip((at.source_address.into(), at.source_port))),
            Some(ip((at.destination_address.into(), at.destination_port))),
        ),
        Addresses::Unix(at) => (unix(&at.source), unix(&at.destination)),
    }
}

/// Reads a `sun_path`: a path up to the first zero byte, or an abstract name after a leading zero byte.
#[cfg(unix)]
fn unix(path: &[u8; 108]) -> Option<Address> {
    use crate::net::UnixAddress;
    use std::os::unix::ffi::OsStrExt;
    let until_zero = |bytes: &[u8]| bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let address = match path {
        [0, 0, ..] => UnixAddress::Unnamed,
        [0, name @ ..] => UnixAddress::abstract_name(&name[..until_zero(name)]),
        path => UnixAddress::path(std::ffi::OsStr::from_bytes(&path[..until_zero(path)])),
    };
    Some(Address::Unix(address))
}

#[cfg(not(unix))]
fn unix(_: &[u8; 108]) -> Option<Address> {
    None
}

/// Checks that these bytes are a sequence of fields, each a type, a length and a value.
fn check_fields(bytes: &[u8]) -> Result<&[u8], Malformed> {
    TypeLengthValues::from(bytes).try_for_each(|tlv| tlv.map(drop)).map_err(Malformed::Binary)?;
    Ok(bytes)
}

/// The fields in these bytes, which have been checked.
pub(super) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let ([kind, length @ ..], rest) = bytes.split_first_chunk::<3>()?;
        let (value, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        bytes = rest;
        Some((*kind, value))
    })
}

/// Checks the CRC32c of the whole header, which is computed with zeros in place of the checksum itself.
fn checksum(header: &ProxyHeader, bytes: &[u8]) -> Result<(), Malformed> {
    let Some(value) = header.value(Type::CRC32C as u8) else { return Ok(()) };
    let received = u32::from_be_bytes(value.try_into().map_err(|_| Malformed::ChecksumLength(value.len()))?);
    let mut at = bytes.len() - header.tlvs.len();
    for (kind, value) in header.tlvs() {
        if kind == Type::CRC32C as u8 {
            break;
        }
        at += 3 + value.len();
    }
    let computed = checksum_of(bytes, at + 3);
    if received == computed {
        Ok(())
    } else {
        Err(Malformed::Checksum { received, computed })
    }
}

/// The CRC32c of a header whose checksum is at this position.
pub(super) fn checksum_of(bytes: &[u8], at: usize) -> u32 {
    [&bytes[..at], &[0; 4], &bytes[at + 4..]].iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_takes_up_no_more_than_its_bytes() {
        const MAX: usize = 4_096;
        let fields: Vec<u8> = [0xE0, 0, 0].repeat((MAX - FIXED - 12) / 3);
        let length = (12 + fields.len()) as u16;
        let bytes = [SIGNATURE_V2, &[0x21, 0x11], &length.to_be_bytes(), &[1; 12], &fields].concat();
        let Ok(Parsed::Header(header, length)) = parse(&bytes, MAX) else { panic!("not a header") };
        assert_eq!((length, header.tlvs().count()), (bytes.len(), fields.len() / 3));
        assert!(header.tlvs().all(|field| field == (0xE0, &[][..])));
        assert_eq!(size_of_val(&*header.tlvs), fields.len());
        assert!(size_of_val(&header) <= 256, "{}", size_of_val(&header));
    }
}
