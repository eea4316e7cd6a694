//! PROXY headers that a program writes, read by a pool and by another library.

use std::time::Duration;

use actix_acceptor::proxy::{ProxyEncodeError, ProxyHeader, ProxyProtocol, ProxyTls};
use actix_acceptor::transport::{Address, UnixAddress};
use actix_acceptor::{AcceptorPool, PoolHandle, Socket};
use bytes::Bytes;
use ppp::v2::{Addresses, Command, Header, Protocol};
use proptest::prelude::*;
use support::{connect, in_time};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver};

use super::proxy::{listener, loopback};

/// The header and peer of each connection, and the bytes behind the header.
type Read = UnboundedReceiver<(ProxyHeader, Address, Vec<u8>)>;

async fn reading() -> (PoolHandle, Read) {
    let (report, read) = unbounded_channel();
    let pool = AcceptorPool::with_fn(move |mut socket: Socket| {
        let report = report.clone();
        async move {
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).await?;
            report.send((socket.proxy().expect("a header").clone(), socket.peer().clone(), rest)).unwrap();
            std::io::Result::Ok(())
        }
    });
    let proxy = loopback(ProxyProtocol::required().max_header(usize::from(u16::MAX) + 16));
    (pool.listener(listener(proxy)).start().await.unwrap().untyped(), read)
}

/// What the pool makes of a connection that begins with this header.
async fn read_back(pool: &PoolHandle, read: &mut Read, header: &Bytes) -> (ProxyHeader, Address) {
    let mut peer = connect(pool).await;
    let header = [header, &b"behind"[..]].concat();
    peer.send(&header).await;
    drop(peer);
    let (header, peer, rest) = in_time(read.recv()).await.unwrap();
    assert_eq!(rest, b"behind");
    (header, peer)
}

fn tcp(text: &str) -> Address {
    Address::Tcp(text.parse().unwrap())
}

#[actix::test]
async fn a_pool_reads_the_headers_that_a_program_writes() {
    let (pool, mut read) = reading().await;
    for (source, destination) in [
        (tcp("203.0.113.7:4711"), tcp("198.51.100.1:443")),
        (tcp("[2001:db8::7]:65535"), tcp("[2001:db8::1]:1")),
        // One family for both.
        (tcp("203.0.113.7:4711"), tcp("[2001:db8::1]:443")),
    ] {
        let header = ProxyHeader::new(source.clone(), destination.clone());
        for (version, bytes) in [(1, header.encode_v1().unwrap()), (2, header.encode_v2().unwrap())] {
            let (found, peer) = read_back(&pool, &mut read, &bytes).await;
            assert_eq!((found.version, found.is_local), (version, false));
            assert_eq!(found.destination.as_ref(), Some(&destination));
            let (ip, claimed) = (peer.ip().unwrap(), source.ip().unwrap());
            assert_eq!((ip.to_canonical(), found.source), (claimed, Some(peer)));
        }
    }
    let (file, name) = (UnixAddress::path("/run/echo.sock"), UnixAddress::abstract_name("echo"));
    let longest = UnixAddress::path("/".repeat(108));
    for (source, destination) in [(file.clone(), name), (UnixAddress::Unnamed, longest)] {
        let bytes = ProxyHeader::new(source.clone(), destination.clone()).encode_v2().unwrap();
        let (found, peer) = read_back(&pool, &mut read, &bytes).await;
        assert_eq!((found.source, found.destination), (Some(source.clone().into()), Some(destination.into())));
        assert_eq!(peer, source.into());
    }
    for (header, is_local) in [(ProxyHeader::local(), true), (ProxyHeader::unknown(), false)] {
        for (version, bytes) in [(1, header.encode_v1().unwrap()), (2, header.encode_v2().unwrap())] {
            let (found, peer) = read_back(&pool, &mut read, &bytes).await;
            assert_eq!((found.version, found.is_local), (version, is_local && version == 2));
            assert_eq!((found.source, peer.ip().unwrap().is_loopback()), (None, true));
        }
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn written_fields_are_read_as_they_were_set() {
    let (pool, mut read) = reading().await;
    let mut tls = ProxyTls::default();
    (tls.is_tls, tls.certificate_shown, tls.certificate_verified) = (true, true, true);
    tls.version = Some("TLSv1.3".into());
    tls.common_name = Some("alice".into());
    tls.cipher = Some("AES".into());
    tls.signature_algorithm = Some("RSA".into());
    tls.key_algorithm = Some("EC".into());
    let header = ProxyHeader::new(tcp("203.0.113.7:4711"), tcp("198.51.100.1:443")).with_checksum();
    let header = header.with_alpn("http/1.1").unwrap().with_alpn("h2").unwrap();
    let header = header.with_authority("example.org").unwrap().with_unique_id([7; 128]).unwrap();
    let header = header.with_namespace("blue").unwrap().with_tls(&tls).unwrap().with_value(0xEA, "vpce").unwrap();
    let bytes = header.encode_v2().unwrap();
    let (found, _) = read_back(&pool, &mut read, &bytes).await;
    assert_eq!((found.alpn(), found.authority()), (Some(&b"h2"[..]), Some("example.org".into())));
    assert_eq!((found.unique_id(), found.namespace()), (Some(&[7; 128][..]), Some("blue".into())));
    assert_eq!((found.tls(), found.value(0xEA)), (Some(tls.clone()), Some(&b"vpce"[..])));
    assert_eq!(found.tlvs().count(), 7);
    // A header that was read can be written again: the checksum is that of the new one.
    assert_eq!(found.encode_v2().unwrap(), bytes);
    let again = found.with_authority("example.net").unwrap().encode_v2().unwrap();
    let (found, _) = read_back(&pool, &mut read, &again).await;
    assert_eq!((found.authority(), found.tlvs().count()), (Some("example.net".into()), 7));
    // The longest header of the protocol.
    let longest = ProxyHeader::unknown().with_value(0xE0, vec![1; 65_532]).unwrap().encode_v2().unwrap();
    let (found, _) = read_back(&pool, &mut read, &longest).await;
    assert_eq!(found.value(0xE0).map(<[u8]>::len), Some(65_532));
    tls.certificate_verified = false;
    let shown = ProxyHeader::unknown().with_tls(&tls).unwrap();
    assert_eq!(shown.tls(), Some(tls));
    in_time(pool.stop(Duration::ZERO)).await;
}

proptest! {
    #[test]
    fn another_library_reads_written_headers(
        (from, to) in prop_oneof![
            any::<([u8; 4], [u8; 4])>().prop_map(|(from, to)| (from.into(), to.into())),
            any::<([u8; 16], [u8; 16])>().prop_map(|(from, to)| (from.into(), to.into())),
        ],
        (from_port, to_port) in any::<(u16, u16)>(),
        value in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let (from, to): (std::net::IpAddr, std::net::IpAddr) = (from, to);
        let header = ProxyHeader::new(Address::Tcp((from, from_port).into()), Address::Tcp((to, to_port).into()));
        let line = header.encode_v1().unwrap();
        let parsed = ppp::v1::Header::try_from(&line[..]).unwrap();
        let (source, destination): (std::net::SocketAddr, _) = ((from, from_port).into(), (to, to_port).into());
        prop_assert_eq!(&parsed.addresses, &ppp::v1::Addresses::from((source, destination)));

        let bytes = header.with_value(0xE1, &value).unwrap().with_checksum().encode_v2().unwrap();
        let parsed = Header::try_from(&bytes[..]).unwrap();
        prop_assert_eq!(parsed.addresses, Addresses::from((source, destination)));
        prop_assert_eq!((parsed.command, parsed.protocol, parsed.len()), (Command::Proxy, Protocol::Stream, bytes.len()));
        let fields: Vec<_> = parsed.tlvs().map(Result::unwrap).map(|tlv| (tlv.kind, tlv.value.to_vec())).collect();
        prop_assert_eq!((&fields[0].1, fields[0].0, fields[1].0), (&value, 0xE1, 0x03));
        let mut zeroed = bytes.to_vec();
        let at = zeroed.len() - 4;
        let checksum = u32::from_be_bytes(zeroed[at..].try_into().unwrap());
        zeroed[at..].fill(0);
        prop_assert_eq!(checksum, crc32c::crc32c(&zeroed));
    }
}

#[test]
fn a_header_that_cannot_be_written_is_an_error() {
    let (peer, server) = (tcp("203.0.113.7:4711"), tcp("198.51.100.1:443"));
    let unix = Address::from(UnixAddress::path("/run/echo.sock"));
    let long = Address::from(UnixAddress::abstract_name("a".repeat(108)));
    let other = Address::Other("a transport".into());
    for (header, expected_v1, expected_v2) in [
        (ProxyHeader::new(unix.clone(), unix.clone()), Some("use version 2"), None),
        (ProxyHeader::new(long.clone(), unix.clone()), Some("use version 2"), Some("an abstract name 107")),
        (ProxyHeader::new(peer.clone(), unix), Some("203.0.113.7:4711 and /run/echo.sock"), Some("two TCP addresses")),
        (ProxyHeader::new(other, server), Some("a transport and 198.51.100.1:443"), Some("two TCP addresses")),
    ] {
        for (found, expected) in [(header.encode_v1(), expected_v1), (header.encode_v2(), expected_v2)] {
            let text = found.err().map(|error| error.to_string());
            match (&text, expected) {
                (Some(text), Some(expected)) => assert!(text.contains(expected), "{text}"),
                (text, expected) => assert_eq!((text.as_deref(), header.source.is_some()), (expected, true)),
            }
        }
    }
    let mut half = ProxyHeader::unknown();
    half.source = Some(peer);
    let error = half.encode_v2().unwrap_err();
    assert_eq!(error, half.encode_v1().unwrap_err());
    assert_eq!(
        error.to_string(),
        "a PROXY header needs `source` and `destination`, or neither; `destination` is `None`"
    );

    let error = ProxyHeader::local().with_unique_id([0; 129]).unwrap_err();
    let text = "the value of field 0x05 of a PROXY header must have at most 128 bytes (got 129)";
    assert_eq!(error.to_string(), text);
    let error = ProxyHeader::local().with_alpn(vec![0; 65_536]).unwrap_err();
    assert!(matches!(error, ProxyEncodeError::ValueTooLong { kind: 1, length: 65_536, allowed: 65_535, .. }));
    let full = ProxyHeader::unknown().with_value(0xE0, vec![0; 65_533]).unwrap();
    assert_eq!(full.encode_v2().unwrap_err(), ProxyEncodeError::TooLong { length: 65_536 });
}
