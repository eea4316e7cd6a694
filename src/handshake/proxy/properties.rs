//! Headers made by another hand, whole, in pieces, and spoilt.

use std::net::SocketAddr;

use ppp::v2::{Builder, Command, Protocol, Type, Version};
use proptest::collection::vec;
use proptest::prelude::*;

use super::parse::{parse, Malformed, Parsed};
use super::ProxyHeader;
use crate::net::Address;

const MOST: usize = 4_096;

type Told = Vec<(u8, Vec<u8>)>;

/// A header of version 2, with the right checksum behind everything.
fn binary(source: SocketAddr, destination: SocketAddr, told: &Told, checked: bool) -> Vec<u8> {
    let first = Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, (source, destination));
    let told = told.iter().map(|(kind, value)| (*kind, &value[..]));
    let zero = checked.then_some((Type::CRC32C as u8, &[0; 4][..]));
    let mut header = told
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

/// Types that mean nothing to the parser.
fn told() -> impl Strategy<Value = Told> {
    vec((0xE0..=0xEF_u8, vec(any::<u8>(), 0..200)), 0..6)
}

/// Looks at the bytes as they come: nothing is said before the header is whole, and nothing changes behind it.
fn comes_in_pieces(header: &[u8], behind: &[u8]) -> ProxyHeader {
    for end in 0..header.len() {
        let looked = parse(&header[..end], MOST);
        assert!(matches!(looked, Ok(Parsed::MayBegin | Parsed::Begun)), "{end} bytes: {looked:?}");
    }
    let whole = parse(header, MOST).expect("a good header");
    assert_eq!(parse(&[header, behind].concat(), MOST).expect("a good header"), whole);
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
    fn a_line_is_understood_however_it_comes((source, destination) in address(), behind in vec(any::<u8>(), 0..40)) {
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (source.ip(), destination.ip());
        let line = format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
        let header = comes_in_pieces(line.as_bytes(), &behind);
        prop_assert_eq!((header.version, header.is_local), (1, false));
        prop_assert_eq!(header.source, Some(Address::Tcp(source)));
        prop_assert_eq!(header.destination, Some(Address::Tcp(destination)));
    }

    #[test]
    fn a_binary_header_is_understood_however_it_comes(
        (source, destination) in address(),
        told in told(),
        checked in any::<bool>(),
        behind in vec(any::<u8>(), 0..40),
    ) {
        let header = comes_in_pieces(&binary(source, destination, &told, checked), &behind);
        prop_assert_eq!((header.version, header.is_local), (2, false));
        prop_assert_eq!(&header.source, &Some(Address::Tcp(source)));
        prop_assert_eq!(&header.destination, &Some(Address::Tcp(destination)));
        let read: Told = header.tlvs().take(told.len()).map(|(kind, value)| (kind, value.to_vec())).collect();
        prop_assert_eq!(read, told.clone());
        prop_assert_eq!(header.tlvs().count(), told.len() + usize::from(checked));
    }

    #[test]
    fn no_byte_of_a_checked_header_can_be_changed(
        (source, destination) in address(),
        told in told(),
        at in any::<prop::sample::Index>(),
        by in 1..=255_u8,
    ) {
        let mut header = binary(source, destination, &told, true);
        let at = at.index(header.len());
        header[at] ^= by;
        // One that speaks for itself is believed nothing; one whose checksum is called something else has none.
        prop_assume!(header[12] != 0x20 && at != header.len() - 7);
        let looked = parse(&header, MOST);
        prop_assert!(!matches!(looked, Ok(Parsed::Header(..))), "{looked:?}");
    }

    #[test]
    fn anything_else_is_data_or_refused_and_never_a_panic(
        mut bytes in vec(any::<u8>(), 0..300),
        begins in 0..4_usize,
        kind in any::<(u8, u8)>(),
    ) {
        let signature: &[u8] = [&b""[..], b"PROXY ", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n"][begins];
        if begins == 3 && bytes.len() > 1 && kind.0 & 1 == 0 {
            // Mostly an announced family, so that lengths are looked at.
            bytes[0] = 0x21;
            bytes[1] = [0x00, 0x11, 0x21, 0x31][usize::from(kind.1 & 3)];
        }
        let all = [signature, &bytes].concat();
        let mut last = None;
        for end in 0..=all.len() {
            let looked = parse(&all[..end], MOST);
            // What has been said once stands, whatever comes behind it.
            match last {
                Some(Ok(Parsed::Data | Parsed::Header(..)) | Err(_)) => prop_assert_eq!(&Some(looked), &last),
                _ => last = Some(looked),
            }
        }
    }

    #[test]
    fn a_length_is_refused_as_soon_as_it_is_told(length in any::<u16>(), most in 16..70_000_usize, local in any::<bool>()) {
        let [high, low] = length.to_be_bytes();
        let command = if local { 0x20 } else { 0x21 };
        let fixed = [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x00, high, low][..]].concat();
        let looked = parse(&fixed, most);
        match 16 + usize::from(length) {
            total if total > most => prop_assert_eq!(looked, Err(Malformed::TooLong(most))),
            16 => prop_assert!(matches!(looked, Ok(Parsed::Header(_, 16)))),
            _ => prop_assert_eq!(looked, Ok(Parsed::Begun)),
        }
    }

    #[test]
    fn what_is_told_of_tls_is_read_or_refused(value in vec(any::<u8>(), 0..60)) {
        let (here, there) = (([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into());
        match parse(&binary(here, there, &vec![(0x20, value.clone())], true), MOST) {
            Ok(Parsed::Header(header, _)) => {
                let tls = header.tls().expect("it was told");
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
fn lines_as_the_protocol_has_them() {
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
fn who_is_meant_where_it_is_not_a_tcp_peer() {
    let header = |command: u8, family: u8, rest: &[u8]| {
        let length = (rest.len() as u16).to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
    };
    let source = |command, family, rest: &[u8]| match parse(&header(command, family, rest), MOST) {
        Ok(Parsed::Header(header, _)) => Ok(header.source.map(|source| source.to_string())),
        Err(_) => Err(()),
        other => panic!("{other:?}"),
    };
    // One that speaks for itself, whatever stands behind it; one that does not say who; a datagram's sender.
    assert_eq!(source(0x20, 0xFF, b"rubbish"), Ok(None));
    assert_eq!(source(0x21, 0x00, b"rubbish"), Ok(None));
    assert_eq!(source(0x21, 0x12, &[1; 12]), Ok(None));
    assert_eq!(source(0x21, 0x11, &[1; 12]), Ok(Some("1.1.1.1:257".into())));
    for (command, family, length) in
        [(0x21, 0x11, 11), (0x21, 0x21, 35), (0x21, 0x31, 215), (0x21, 0x41, 99), (0x21, 0x13, 99), (0x21, 0x10, 99)]
    {
        assert_eq!(source(command, family, &vec![0; length]), Err(()), "{command:#x} {family:#x}");
    }
    assert_eq!(source(0x22, 0x11, &[0; 12]), Err(()), "a command that there is not");
    assert_eq!(source(0x11, 0x11, &[0; 12]), Err(()), "a version that there is not");
    #[cfg(unix)]
    {
        let path = |begins: &[u8]| [begins, &vec![0; 216 - begins.len()]].concat();
        assert_eq!(source(0x21, 0x31, &path(b"/run/a.sock")), Ok(Some("/run/a.sock".into())));
        assert_eq!(source(0x21, 0x31, &path(b"\0name")), Ok(Some("@name".into())));
        assert_eq!(source(0x21, 0x31, &path(b"")), Ok(Some("unnamed".into())));
    }
}
