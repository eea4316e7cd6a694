//! PROXY headers built by another library: whole, in pieces, and corrupted.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use actix::SystemRunner;
use actix_acceptor::proxy::{ProxyHeader, ProxyProtocol};
use actix_acceptor::transport::{Address, Handshake, HandshakeError, Memory, MemoryConnector, Stream};
use actix_acceptor::{AcceptorPool, Listener, Socket};
use futures::task::noop_waker_ref;
use futures::FutureExt;
use ppp::v2::{Builder, Command, Protocol, Type, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use support::in_time;
use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver};

const MAX_HEADER: usize = 4_096;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

type Tlvs = Vec<(u8, Vec<u8>)>;

/// What the bytes so far are taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Incomplete,
    Header,
    Data,
    Refused(String),
}

/// One handshake whose bytes arrive under the control of the test.
struct Attempt {
    peer: DuplexStream,
    handshake: futures::future::LocalBoxFuture<'static, Result<(), HandshakeError>>,
}

impl Attempt {
    fn new(proxy: &ProxyProtocol) -> Self {
        let (peer, ours) = duplex(128 * 1_024);
        let handshake = proxy.handshake(Stream::other(ours), &Address::Other("a load balancer".into()));
        Attempt { peer, handshake: Box::pin(handshake.map(|done| done.map(drop))) }
    }

    fn receive(&mut self, bytes: &[u8]) -> Poll<Result<(), HandshakeError>> {
        self.peer.write_all(bytes).now_or_never().expect("the buffer has space").unwrap();
        self.handshake.as_mut().poll(&mut Context::from_waker(noop_waker_ref()))
    }
}

/// What bytes that arrive together are taken for.
fn verdict(bytes: &[u8], max_header: usize) -> Verdict {
    let answer = |proxy: ProxyProtocol| Attempt::new(&proxy.trust_local().max_header(max_header)).receive(bytes);
    // Without a header a required one fails the handshake and an optional one does not; a malformed one fails both.
    match (answer(ProxyProtocol::required()), answer(ProxyProtocol::optional())) {
        (Poll::Pending, Poll::Pending) => Verdict::Incomplete,
        (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Verdict::Header,
        (Poll::Ready(Err(_)), Poll::Ready(Ok(()))) => Verdict::Data,
        (Poll::Ready(Err(error)), Poll::Ready(Err(_))) => Verdict::Refused(text(&error)),
        other => panic!("{other:?}"),
    }
}

/// The error and its sources as one text.
fn text(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(|error| format!("{error}\n")).collect()
}

/// A pool whose connections report their header and the bytes behind it.
struct Server {
    system: SystemRunner,
    connector: MemoryConnector,
    connections: UnboundedReceiver<(ProxyHeader, Vec<u8>)>,
}

impl Server {
    fn start() -> Self {
        let system = actix::System::new();
        let (memory, connector) = Memory::new("proxy headers");
        let (report, connections) = unbounded_channel();
        let pool = AcceptorPool::with_fn(move |mut socket: Socket| {
            let report = report.clone();
            async move {
                let mut rest = Vec::new();
                socket.read_to_end(&mut rest).await?;
                report.send((socket.proxy().expect("a header").clone(), rest)).unwrap();
                std::io::Result::Ok(())
            }
        });
        let listener = Listener::from_transport(memory)
            .proxy_protocol(ProxyProtocol::required().trust_local().max_header(MAX_HEADER));
        system.block_on(pool.on_current_arbiter().listener(listener).start()).unwrap();
        Server { system, connector, connections }
    }

    /// The header of a connection that sends these bytes, and what its handler reads behind it.
    fn header(&mut self, bytes: &[u8]) -> (ProxyHeader, Vec<u8>) {
        self.system.block_on(async {
            let mut peer = in_time(self.connector.connect()).await.unwrap();
            in_time(peer.write_all(bytes)).await.unwrap();
            in_time(peer.shutdown()).await.unwrap();
            in_time(self.connections.recv()).await.expect("a connection with a header")
        })
    }

    /// Checks that every prefix is incomplete, that the whole is a header, and that the bytes behind it are left alone.
    fn header_in_pieces(&mut self, header: &[u8], behind: &[u8]) -> ProxyHeader {
        let mut attempt = Attempt::new(&ProxyProtocol::required().trust_local().max_header(MAX_HEADER));
        let (last, first) = header.split_last().expect("a header has bytes");
        for (at, byte) in first.iter().enumerate() {
            let answer = attempt.receive(&[*byte]);
            assert!(answer.is_pending(), "after {} bytes: {answer:?}", at + 1);
        }
        assert!(matches!(attempt.receive(&[*last]), Poll::Ready(Ok(()))));
        let (alone, nothing) = self.header(header);
        let (parsed, rest) = self.header(&[header, behind].concat());
        assert_eq!((&alone, &*nothing), (&parsed, &[][..]));
        assert_eq!(rest, behind);
        parsed
    }
}

/// A header of version 2, with a checksum at its end if it is asked for.
fn binary(source: SocketAddr, destination: SocketAddr, tlvs: &Tlvs, with_checksum: bool) -> Vec<u8> {
    let first = Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, (source, destination));
    let tlvs = tlvs.iter().map(|(kind, value)| (*kind, &value[..]));
    let zero = with_checksum.then_some((Type::CRC32C as u8, &[0; 4][..]));
    let mut header = tlvs
        .chain(zero)
        .try_fold(first, |header, (kind, value)| header.write_tlv(kind, value))
        .and_then(Builder::build)
        .expect("it fits");
    if with_checksum {
        let checksum = crc32c::crc32c(&header);
        let at = header.len() - 4;
        header[at..].copy_from_slice(&checksum.to_be_bytes());
    }
    header
}

fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = any::<([u8; 4], [u8; 4], u16, u16)>().prop_map(|(a, b, c, d)| ((a, c).into(), (b, d).into()));
    let v6 = any::<([u8; 16], [u8; 16], u16, u16)>().prop_map(|(a, b, c, d)| ((a, c).into(), (b, d).into()));
    prop_oneof![v4, v6]
}

/// Types without a meaning to the parser.
fn tlvs() -> impl Strategy<Value = Tlvs> {
    vec((0xE0..=0xEF_u8, vec(any::<u8>(), 0..200)), 0..6)
}

/// Up to 40 bytes behind a header.
fn behind() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn check<S: Strategy>(strategy: S, test: impl Fn(&mut Server, S::Value) -> Result<(), TestCaseError>) {
    let server = std::cell::RefCell::new(Server::start());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let run = TestRunner::new(config).run(&strategy, |value| test(&mut server.borrow_mut(), value));
    run.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn version_1_headers_are_read_in_any_pieces() {
    check((addresses(), behind()), |server, ((source, destination), behind)| {
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (source.ip(), destination.ip());
        let line = format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
        let header = server.header_in_pieces(line.as_bytes(), &behind);
        prop_assert_eq!((header.version, header.is_local), (1, false));
        prop_assert_eq!(header.source, Some(Address::Tcp(source)));
        prop_assert_eq!(header.destination, Some(Address::Tcp(destination)));
        Ok(())
    });
}

#[test]
fn version_2_headers_are_read_in_any_pieces() {
    let strategy = (addresses(), tlvs(), any::<bool>(), behind());
    check(strategy, |server, ((source, destination), tlvs, with_checksum, behind)| {
        let header = server.header_in_pieces(&binary(source, destination, &tlvs, with_checksum), &behind);
        prop_assert_eq!((header.version, header.is_local), (2, false));
        prop_assert_eq!(&header.source, &Some(Address::Tcp(source)));
        prop_assert_eq!(&header.destination, &Some(Address::Tcp(destination)));
        let read: Tlvs = header.tlvs().take(tlvs.len()).map(|(kind, value)| (kind, value.to_vec())).collect();
        prop_assert_eq!(&read, &tlvs);
        prop_assert_eq!(header.tlvs().count(), tlvs.len() + usize::from(with_checksum));
        Ok(())
    });
}

#[test]
fn tls_information_is_read_or_refused() {
    check(vec(any::<u8>(), 0..60), |server, value| {
        let (source, destination) = (([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into());
        let header = binary(source, destination, &vec![(0x20, value.clone())], true);
        match verdict(&header, MAX_HEADER) {
            Verdict::Header => {
                let tls = server.header(&header).0.tls().expect("TLS information");
                prop_assert_eq!(tls.is_tls, value[0] & 1 == 1);
                prop_assert_eq!(tls.certificate_verified, value[0] & 6 != 0 && value[1..5] == [0; 4]);
            }
            Verdict::Refused(why) if value.len() < 5 => prop_assert!(why.contains(&value.len().to_string()), "{why}"),
            Verdict::Refused(_) => prop_assert!(value.len() > 5),
            other => prop_assert!(false, "{other:?}"),
        }
        Ok(())
    });
}

#[test]
fn a_checksum_detects_every_changed_byte() {
    let strategy = (addresses(), tlvs(), any::<prop::sample::Index>(), 1..=255_u8);
    check(strategy, |server, ((source, destination), tlvs, at, by)| {
        let mut header = binary(source, destination, &tlvs, true);
        let at = at.index(header.len());
        header[at] ^= by;
        // A LOCAL header is not checked; a checksum whose type was changed is none.
        prop_assume!(header[12] != 0x20 && at != header.len() - 7);
        match verdict(&header, MAX_HEADER) {
            // Another family or length may leave the checksum outside the header.
            Verdict::Header => {
                prop_assert!((13..16).contains(&at), "byte {at}");
                let (accepted, _) = server.header(&header);
                prop_assert_eq!(accepted.value(Type::CRC32C as u8), None);
            }
            Verdict::Incomplete | Verdict::Data | Verdict::Refused(_) => {}
        }
        Ok(())
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(
        mut bytes in vec(any::<u8>(), 0..300),
        begins in 0..4_usize,
        kind in any::<(u8, u8)>(),
    ) {
        let signature: &[u8] = [&b""[..], b"PROXY ", b"PROXY TCP4 ", SIGNATURE][begins];
        if begins == 3 && bytes.len() > 1 && kind.0 & 1 == 0 {
            // Mostly a known family, so that lengths are looked at.
            bytes[0] = 0x21;
            bytes[1] = [0x00, 0x11, 0x21, 0x31][usize::from(kind.1 & 3)];
        }
        let all = [signature, &bytes].concat();
        let mut decided = None;
        for end in 1..=all.len() {
            let now = verdict(&all[..end], MAX_HEADER);
            // A decision stands, whatever follows.
            match &decided {
                Some(decided) => prop_assert_eq!(&now, decided),
                None if now == Verdict::Incomplete => {}
                None => decided = Some(now),
            }
        }
    }

    #[test]
    fn too_long_headers_are_refused_by_their_length(length in any::<u16>(), max in 16..70_000_usize, local in any::<bool>()) {
        let [high, low] = length.to_be_bytes();
        let command = if local { 0x20 } else { 0x21 };
        let fixed = [SIGNATURE, &[command, 0x00, high, low][..]].concat();
        match (16 + usize::from(length), verdict(&fixed, max)) {
            (total, Verdict::Refused(why)) => prop_assert!(total > max && why.contains(&max.to_string()), "{why}"),
            (total, Verdict::Header) => prop_assert!(total <= max && total == 16),
            (total, Verdict::Incomplete) => prop_assert!(total <= max && total > 16),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn version_1_lines_follow_the_specification() {
    let mut server = Server::start();
    let mut source = |line: &str| {
        let (header, rest) = server.header(line.as_bytes());
        assert!(rest.is_empty(), "{line:?}");
        header.source.map(|source| source.to_string())
    };
    assert_eq!(source("PROXY UNKNOWN\r\n"), None);
    assert_eq!(source("PROXY UNKNOWN a b c d e f g h\r\n"), None);
    assert_eq!(
        source("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
        Some("255.255.255.255:65535".into())
    );
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!((source(&longest), longest.len()), (None, 107));

    for malformed in [
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
        assert!(matches!(verdict(malformed.as_bytes(), MAX_HEADER), Verdict::Refused(_)), "{malformed:?}");
    }
    let unterminated = format!("PROXY UNKNOWN {}", "f".repeat(93));
    match verdict(unterminated.as_bytes(), MAX_HEADER) {
        Verdict::Refused(why) => assert!(why.contains("107"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn version_2_sources_follow_the_specification() {
    let mut server = Server::start();
    let mut source = |command: u8, family: u8, rest: &[u8]| {
        let length = (rest.len() as u16).to_be_bytes();
        let header = [SIGNATURE, &[command, family][..], &length, rest].concat();
        match verdict(&header, MAX_HEADER) {
            Verdict::Header => Ok(server.header(&header).0.source.map(|source| source.to_string())),
            Verdict::Refused(_) => Err(()),
            other => panic!("{other:?}"),
        }
    };
    // LOCAL with anything behind it; an unspecified family; a datagram.
    assert_eq!(source(0x20, 0xFF, b"garbage"), Ok(None));
    assert_eq!(source(0x21, 0x00, b"garbage"), Ok(None));
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
