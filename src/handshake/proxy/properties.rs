//! Properties of the parser, on headers that another library has built: whole, in pieces, and corrupted.

use std::net::SocketAddr;

use ppp::v2::{Builder, Command, Protocol, Type, Version};
use proptest::collection::vec;
use proptest::prelude::*;

use super::parse::{parse, Malformed, Parsed};
use super::ProxyHeader;
use crate::net::Address;

const MOST: usize = 4_096;

type Tlvs = Vec<(u8, Vec<u8>)>;

/// A header of version 2, with a valid checksum at the end if asked for.
fn binary(source: SocketAddr, destination: SocketAddr, tlvs: &Tlvs, checked: bool) -> Vec<u8> {
    let first = Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, (source, destination));
    let tlvs = tlvs.iter().map(|(kind, value)| (*kind, &value[..]));
    let zero = checked.then_some((Type::CRC32C as u8, &[0; 4][..]));
    let mut header = tlvs
        .chain(zero)
        .try_fold(first, |header, (kind, value)| header.write_tlv(kind, value))
        .and_then(Builder::build)
        .expect("it fits");
    if checked {
        let checksum = crc32c::crc32c(&header);
        let at = header.len() - 4;
        header[at..].copy_from_slice(&checksum.to_be_bytes());
    }
    header
}

fn address() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = any::<([u8; 4], [u8; 4], u16, u16)>().prop_map(|(a, b, c, d)| ((a, c).into(), (b, d).into()));
    let v6 = any::<([u8; 16], [u8; 16], u16, u16)>().prop_map(|(a, b, c, d)| ((a, c).into(), (b, d).into()));
    prop_oneof![v4, v6]
}

/// Types without a meaning to the parser.
fn custom_tlvs() -> impl Strategy<Value = Tlvs> {
    vec((0xE0..=0xEF_u8, vec(any::<u8>(), 0..200)), 0..6)
}

/// Parses every prefix: the header is incomplete until its last byte, and bytes after it change nothing.
fn parse_in_pieces(header: &[u8], following: &[u8]) -> ProxyHeader {
    for end in 0..header.len() {
        let parsed = parse(&header[..end], MOST);
        assert!(matches!(parsed, Ok(Parsed::Undecided | Parsed::Incomplete)), "{end} bytes: {parsed:?}");
    }
    let whole = parse(header, MOST).expect("a good header");
    assert_eq!(parse(&[header, following].concat(), MOST).expect("a good header"), whole);
    match whole {
        Parsed::Header(parsed, length) => {
            assert_eq!(length, header.len());
            parsed
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_line_is_parsed_from_any_pieces((source, destination) in address(), following in vec(any::<u8>(), 0..40)) {
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (source.ip(), destination.ip());
        let line = format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
        let header = parse_in_pieces(line.as_bytes(), &following);
        prop_assert_eq!((header.version, header.is_local), (1, false));
        prop_assert_eq!(header.source, Some(Address::Tcp(source)));
        prop_assert_eq!(header.destination, Some(Address::Tcp(destination)));
    }

    #[test]
    fn a_binary_header_is_parsed_from_any_pieces(
        (source, destination) in address(),
        tlvs in custom_tlvs(),
        checked in any::<bool>(),
        following in vec(any::<u8>(), 0..40),
    ) {
        let header = parse_in_pieces(&binary(source, destination, &tlvs, checked), &following);
        prop_assert_eq!((header.version, header.is_local), (2, false));
        prop_assert_eq!(&header.source, &Some(Address::Tcp(source)));
        prop_assert_eq!(&header.destination, &Some(Address::Tcp(destination)));
        let read: Tlvs = header.tlvs().take(tlvs.len()).map(|(kind, value)| (kind, value.to_vec())).collect();
        prop_assert_eq!(read, tlvs.clone());
        prop_assert_eq!(header.tlvs().count(), tlvs.len() + usize::from(checked));
    }

    #[test]
    fn no_byte_of_a_checked_header_can_be_changed(
        (source, destination) in address(),
        tlvs in custom_tlvs(),
        at in any::<prop::sample::Index>(),
        by in 1..=255_u8,
    ) {
        let mut header = binary(source, destination, &tlvs, true);
        let at = at.index(header.len());
        header[at] ^= by;
        // The content of a LOCAL header is ignored; with another type of its TLV, the checksum is none.
        prop_assume!(header[12] != 0x20 && at != header.len() - 7);
        let parsed = parse(&header, MOST);
        prop_assert!(!matches!(parsed, Ok(Parsed::Header(..))), "{parsed:?}");
    }

    #[test]
    fn other_bytes_are_data_or_an_error_and_never_a_panic(
        mut bytes in vec(any::<u8>(), 0..300),
        begins in 0..4_usize,
        kind in any::<(u8, u8)>(),
    ) {
        let signature: &[u8] = [&b""[..], b"PROXY ", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n"][begins];
        if begins == 3 && bytes.len() > 1 && kind.0 & 1 == 0 {
            // Mostly a known family, so that lengths are checked.
            bytes[0] = 0x21;
            bytes[1] = [0x00, 0x11, 0x21, 0x31][usize::from(kind.1 & 3)];
        }
        let all = [signature, &bytes].concat();
        let mut last = None;
        for end in 0..=all.len() {
            let parsed = parse(&all[..end], MOST);
            // A final result stays the same, whatever bytes follow.
            match last {
                Some(Ok(Parsed::Data | Parsed::Header(..)) | Err(_)) => prop_assert_eq!(&Some(parsed), &last),
                _ => last = Some(parsed),
            }
        }
    }

    #[test]
    fn a_length_is_rejected_as_soon_as_it_is_known(length in any::<u16>(), max_header in 16..70_000_usize, local in any::<bool>()) {
        let [high, low] = length.to_be_bytes();
        let command = if local { 0x20 } else { 0x21 };
        let fixed = [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x00, high, low][..]].concat();
        let parsed = parse(&fixed, max_header);
        match 16 + usize::from(length) {
            total if total > max_header => prop_assert_eq!(parsed, Err(Malformed::TooLong(max_header))),
            16 => prop_assert!(matches!(parsed, Ok(Parsed::Header(_, 16)))),
            _ => prop_assert_eq!(parsed, Ok(Parsed::Incomplete)),
        }
    }

    #[test]
    fn a_tls_field_is_parsed_or_rejected(value in vec(any::<u8>(), 0..60)) {
        let (source, destination) = (([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into());
        match parse(&binary(source, destination, &vec![(0x20, value.clone())], true), MOST) {
            Ok(Parsed::Header(header, _)) => {
                let tls = header.tls().expect("a TLS field");
                prop_assert_eq!(tls.is_tls, value[0] & 1 == 1);
                prop_assert_eq!(tls.certificate_verified, value[0] & 6 != 0 && value[1..5] == [0; 4]);
            }
            Err(Malformed::Tls(length)) => prop_assert!(length == value.len() && length < 5),
            Err(Malformed::Binary(_)) => prop_assert!(value.len() > 5),
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn lines_as_in_the_protocol() {
    let good = |line: &str| match parse(line.as_bytes(), MOST) {
        Ok(Parsed::Header(header, length)) if length == line.len() => header.source.map(|source| source.to_string()),
        other => panic!("{line:?}: {other:?}"),
    };
    assert_eq!(good("PROXY UNKNOWN\r\n"), None);
    assert_eq!(good("PROXY UNKNOWN a b c d e f g h\r\n"), None);
    assert_eq!(
        good("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
        Some("255.255.255.255:65535".into())
    );
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!((good(&longest), longest.len()), (None, 107));

    for bad in [
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n",
        "PROXY TCP4 10.0.0.1 10.0.0.2 1 65536\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n",
        "PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n",
        "PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n",
        "PROXY \r\n",
        "PROXY \n",
    ] {
        assert!(parse(bad.as_bytes(), MOST).is_err(), "{bad:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "f".repeat(93));
    assert_eq!(parse(endless.as_bytes(), MOST), Err(Malformed::TooLong(107)));
}

#[test]
fn the_source_of_headers_without_a_tcp_peer() {
    let header = |command: u8, family: u8, rest: &[u8]| {
        let length = (rest.len() as u16).to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
    };
    let source = |command, family, rest: &[u8]| match parse(&header(command, family, rest), MOST) {
        Ok(Parsed::Header(header, _)) => Ok(header.source.map(|source| source.to_string())),
        Err(_) => Err(()),
        other => panic!("{other:?}"),
    };
    // LOCAL, whatever follows; no addresses; the sender of a datagram.
    assert_eq!(source(0x20, 0xFF, b"rubbish"), Ok(None));
    assert_eq!(source(0x21, 0x00, b"rubbish"), Ok(None));
    assert_eq!(source(0x21, 0x12, &[1; 12]), Ok(None));
    assert_eq!(source(0x21, 0x11, &[1; 12]), Ok(Some("1.1.1.1:257".into())));
    for (command, family, length) in
        [(0x21, 0x11, 11), (0x21, 0x21, 35), (0x21, 0x31, 215), (0x21, 0x41, 99), (0x21, 0x13, 99), (0x21, 0x10, 99)]
    {
        assert_eq!(source(command, family, &vec![0; length]), Err(()), "{command:#x} {family:#x}");
    }
    assert_eq!(source(0x22, 0x11, &[0; 12]), Err(()), "an unknown command");
    assert_eq!(source(0x11, 0x11, &[0; 12]), Err(()), "an unknown version");
    #[cfg(unix)]
    {
        let path = |begins: &[u8]| [begins, &vec![0; 216 - begins.len()]].concat();
        assert_eq!(source(0x21, 0x31, &path(b"/run/a.sock")), Ok(Some("/run/a.sock".into())));
        assert_eq!(source(0x21, 0x31, &path(b"\0name")), Ok(Some("@name".into())));
        assert_eq!(source(0x21, 0x31, &path(b"")), Ok(Some("unnamed".into())));
    }
}
