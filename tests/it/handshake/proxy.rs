//! The PROXY protocol on real sockets: who is believed, what is handed on, and what ends a connection.

use std::time::Duration;

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::transport::Memory;
use actix_acceptor::{
    limits::Rule,
    proxy::ProxyProtocol,
    telemetry::{CloseReason, RefusalReason},
    transport::Address,
    AcceptorPool, Conn, Framing, Listener, Next, PoolHandle, Protocol, Socket, StartError,
};
use bytes::Bytes;
use support::{connect, eventually, in_time, protocol_default, Call, Echo, Folder, Peer, Probe, Recorded, Recorder};
use tokio::io::AsyncWriteExt;

pub(super) const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

pub(super) fn loopback(proxy: ProxyProtocol) -> ProxyProtocol {
    proxy.trust("127.0.0.0/8").unwrap()
}

pub(super) fn listener(proxy: ProxyProtocol) -> Listener {
    Listener::tcp("127.0.0.1:0").proxy_protocol(proxy)
}

/// A header of version 2 from 203.0.113.7:4711 to 198.51.100.1:443, with this behind the addresses.
fn binary(told: &[(u8, &[u8])]) -> Vec<u8> {
    let mut rest = vec![203, 0, 113, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xBB];
    for (kind, value) in told {
        rest.push(*kind);
        rest.extend((value.len() as u16).to_be_bytes());
        rest.extend(*value);
    }
    [SIGNATURE, &[0x21, 0x11], &(rest.len() as u16).to_be_bytes(), &rest].concat()
}

/// Tells who it talks to before it echoes.
pub(super) struct PeerReporter;

impl Protocol for PeerReporter {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        assert!(conn.proxy().is_none());
        assert_eq!(conn.peer(), conn.socket_peer());
        Next::Continue
    }

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let real = conn.socket_peer().ip().map_or("-".into(), |ip| ip.to_string());
        let version = conn.proxy().map_or(0, |header| header.version);
        Next::Send(format!("{} by {real} v{version}\n", conn.peer()).into())
    }

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }
}

async fn who(proxy: ProxyProtocol) -> PoolHandle {
    AcceptorPool::with_protocol(|_| PeerReporter).listener(listener(proxy)).start().await.unwrap().untyped()
}

#[actix::test]
async fn both_versions_are_read_in_any_pieces() {
    let pool = who(loopback(ProxyProtocol::required())).await;
    for (header, version) in [(LINE.to_vec(), 1), (binary(&[]), 2), (binary(&[(0x04, &[7; 600])]), 2)] {
        let told = format!("203.0.113.7:4711 by 127.0.0.1 v{version}\n");
        let all = [&header, &b"behind"[..]].concat();
        let cuts = (0..all.len().min(70)).chain(header.len() - 1..all.len());
        for cut in cuts {
            let mut peer = connect(&pool).await;
            peer.0.set_nodelay(true).unwrap();
            peer.send(&all[..cut]).await;
            tokio::task::yield_now().await;
            peer.send(&all[cut..]).await;
            peer.expect(format!("{told}behind").as_bytes()).await;
            peer.echo(b"and on").await;
        }
        let mut peer = connect(&pool).await;
        for byte in &header {
            peer.send([*byte]).await;
            tokio::task::yield_now().await;
        }
        peer.expect(told.as_bytes()).await;
        peer.echo(b"and on").await;
    }
    // More behind it than is read at once.
    let mut peer = connect(&pool).await;
    let much = vec![b'x'; 100_000];
    peer.send([LINE, &much].concat()).await;
    peer.expect(b"203.0.113.7:4711 by 127.0.0.1 v1\n").await;
    peer.expect(&much).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn the_proxy_header_can_be_read() {
    let (builder, _diary) = Probe::pool(|call, conn| {
        let Call::Ack = call else { return protocol_default(call) };
        let header = conn.proxy().unwrap();
        let tls = header.tls().unwrap();
        assert!(tls.is_tls && tls.certificate_shown && tls.certificate_verified);
        assert_eq!(header.destination.as_ref().map(Address::to_string).unwrap(), "198.51.100.1:443");
        assert_eq!((header.alpn(), header.unique_id()), (Some(&b"h2"[..]), Some(&b"id-1"[..])));
        assert_eq!(header.value(0xEA), Some(&b"vpce"[..]));
        assert_eq!((header.namespace(), header.tlvs().count()), (Some("blue".into()), 6));
        let texts = [header.authority(), tls.version, tls.common_name, tls.cipher];
        Next::Send(texts.map(Option::unwrap).join(" ").into())
    });
    let pool = builder.listener(listener(loopback(ProxyProtocol::required()))).start().await.unwrap();
    let tls = b"\x07\0\0\0\0\x21\0\x07TLSv1.3\x22\0\x05alice\x23\0\x03AES";
    let told: &[(u8, &[u8])] =
        &[(0x01, b"h2"), (0x02, b"example.org"), (0x05, b"id-1"), (0x20, tls), (0x30, b"blue"), (0xEA, b"vpce")];
    let mut peer = connect(&pool).await;
    peer.send(binary(told)).await;
    peer.expect(b"example.org TLSv1.3 alice AES").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn headers_of_untrusted_peers_are_not_believed() {
    let elsewhere = |proxy: ProxyProtocol| proxy.trust("192.0.2.0/24").unwrap().trust("::1").unwrap().trust_local();
    let (builder, callbacks) = Probe::pool(|call, _| protocol_default(call));
    let pool = builder.listener(listener(elsewhere(ProxyProtocol::required()))).start().await.unwrap();
    let mut peer = connect(&pool).await;
    assert_eq!(peer.until_gone().await, b"");
    eventually(|| pool.info().refused.get(RefusalReason::Denied) == 1).await;
    assert_eq!((pool.info().accepted, pool.info().closed.total(), pool.info().connections), (1, 0, 0));
    in_time(pool.stop(None)).await;
    drop(pool);
    assert_eq!(callbacks.rest().await, [], "it never came so far");

    let pool = who(elsewhere(ProxyProtocol::optional())).await;
    let mut peer = connect(&pool).await;
    peer.expect(format!("{} by 127.0.0.1 v0\n", peer.address()).as_bytes()).await;
    peer.echo(LINE).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn with_optional_headers_other_bytes_are_data() {
    let pool = who(loopback(ProxyProtocol::optional())).await;
    let me = |peer: &Peer| format!("{} by 127.0.0.1 v0\n", peer.address()).into_bytes();
    for data in ["hello", "P", "PROX", "PROXy TCP4", "\r\n\r\n\0\r\nQUI", "\r\n\r\nQUIT", "GET / HTTP/1.1\r\n\r\n"] {
        let mut peer = connect(&pool).await;
        peer.send(data).await;
        peer.finish().await;
        assert_eq!(peer.read_to_end().await, [&me(&peer), data.as_bytes()].concat(), "{data:?}");
    }
    let mut peer = connect(&pool).await;
    peer.send(LINE).await;
    peer.expect(b"203.0.113.7:4711 by 127.0.0.1 v1\n").await;
    peer.echo(LINE).await;
    // One that leaves without a word has not failed at anything.
    connect(&pool).await.finish().await;
    drop(peer);
    in_time(pool.wait_for(|n| n == 0, None)).await.unwrap();
    eventually(|| pool.info().closed.total() == 9).await;
    assert_eq!(pool.info().closed.get(CloseReason::Handshake), 0);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_local_header_keeps_the_socket_peer() {
    let pool = who(loopback(ProxyProtocol::required())).await;
    let itself = [SIGNATURE, &[0x20, 0x00, 0, 0]].concat();
    for (header, version) in [(itself, 2), (b"PROXY UNKNOWN\r\n".to_vec(), 1)] {
        let mut peer = connect(&pool).await;
        peer.send(&header).await;
        peer.expect(format!("{} by 127.0.0.1 v{version}\n", peer.address()).as_bytes()).await;
        peer.echo(b"are you there?").await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_bad_header_ends_one_connection() {
    let (recorder, mut closings) = Recorder::new();
    let limit = Duration::from_millis(300);
    let pool = AcceptorPool::with_protocol(move |_| Recorded(recorder.clone()))
        .handshake_timeout(limit)
        .listener(listener(loopback(ProxyProtocol::required()).max_header(100)))
        .start()
        .await
        .unwrap();
    let mut good = connect(&pool).await;
    good.send(LINE).await;
    good.echo(b"before").await;
    let mut checked = binary(&[(0x03, &[0; 4])]);
    let cases: [(&[u8], &str); 8] = [
        (b"hello", "missing PROXY header"),
        (b"PROXY TCP4 1.2.3.4\r\n", "malformed PROXY header"),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "ends without CR"),
        (&[b'P'; 1], "timed out after 300ms"),
        (&LINE[..20], "timed out after 300ms"),
        (&binary(&[(0x04, &[0; 100])])[..16], "longer than 100 bytes"),
        (&checked.clone(), "checksum is 0x00000000"),
        (&[b"PROXY UNKNOWN ", &[b'x'; 93][..]].concat(), "longer than 107 bytes"),
    ];
    for (bytes, why) in cases {
        let began = std::time::Instant::now();
        let mut peer = connect(&pool).await;
        peer.send(bytes).await;
        let (reason, text) = closings.next().await;
        assert_eq!(reason, CloseReason::Handshake);
        assert!(text.contains(why), "{text}");
        assert!(!why.contains("not done") || began.elapsed() >= limit);
        assert_eq!(peer.until_gone().await, b"");
    }
    let mut leaves = connect(&pool).await;
    leaves.send(&LINE[..20]).await;
    leaves.finish().await;
    let (reason, text) = closings.next().await;
    assert_eq!((reason, text.contains("end of file")), (CloseReason::Handshake, true), "{text}");

    let checksum = crc32c::crc32c(&checked).to_be_bytes();
    let at = checked.len() - 4;
    checked[at..].copy_from_slice(&checksum);
    let mut peer = connect(&pool).await;
    peer.send(&checked).await;
    peer.echo(b"checked").await;
    good.echo(b"after").await;
    assert_eq!(pool.info().closed.get(CloseReason::Handshake), 9);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn rules_look_at_both_peers_and_limits_at_the_claimed_one() {
    let pool = AcceptorPool::with_protocol(|_| PeerReporter)
        .max_per_peer(1)
        .rules([Rule::deny("203.0.113.66").unwrap(), Rule::deny("127.0.0.2").unwrap()])
        .listener(listener(loopback(ProxyProtocol::required())))
        .start()
        .await
        .unwrap();
    let claim = |host: u8| format!("PROXY TCP4 203.0.113.{host} 198.51.100.1 1 443\r\n");
    let mut peers = Vec::new();
    for host in 1..4 {
        let mut peer = connect(&pool).await;
        peer.send(claim(host)).await;
        peer.expect(format!("203.0.113.{host}:1 by 127.0.0.1 v1\n").as_bytes()).await;
        peers.push(peer);
    }
    let listed = pool.list();
    assert!(listed.iter().any(|connection| connection.peer.to_string() == "203.0.113.3:1"));
    // The same once more, and one that is denied.
    for host in [2, 66] {
        let mut peer = connect(&pool).await;
        peer.send(claim(host)).await;
        assert_eq!(peer.until_gone().await, b"");
    }
    // A peer may see its end before its refusal is counted.
    let refused = |reason| pool.info().refused.get(reason);
    eventually(|| (refused(RefusalReason::PerPeer), refused(RefusalReason::Denied)) == (1, 1)).await;
    // The load balancer itself may be denied.
    let denied = tokio::net::TcpSocket::new_v4().unwrap();
    denied.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut denied = Peer(denied.connect(pool.local_addr().unwrap()).await.unwrap());
    assert_eq!(denied.until_gone().await, b"");
    eventually(|| refused(RefusalReason::Denied) == 2).await;
    assert_eq!((refused(RefusalReason::PerPeer), pool.connections(), pool.info().accepted), (1, 3, 6));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn the_proxy_protocol_works_with_all_handlers() {
    let serve = |mut socket: Socket| async move {
        let header = socket.proxy().unwrap();
        let told = format!("{} {} {:?}", socket.peer(), header.version, header.authority());
        socket.write_all(told.as_bytes()).await
    };
    let folder = Folder::create();
    let (memory, connector) = Memory::new("memory");
    let pool = AcceptorPool::with_fn(serve)
        .listener(Listener::unix(folder.path("socket")).proxy_protocol(ProxyProtocol::required().trust_local()))
        .listener(Listener::from_transport(memory).proxy_protocol(ProxyProtocol::required().trust_local()))
        .start()
        .await
        .unwrap();
    let header = binary(&[(0x02, b"example.org")]);
    let expected = b"203.0.113.7:4711 2 Some(\"example.org\")";
    let mut peer = Peer(tokio::net::UnixStream::connect(folder.path("socket")).await.unwrap());
    peer.send(&header).await;
    assert_eq!(peer.read_to_end().await, expected);
    let mut peer = Peer(in_time(connector.connect()).await.unwrap());
    peer.send(&header).await;
    assert_eq!(peer.read_to_end().await, expected);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_proxy_protocol_without_trust_is_refused() {
    let refused = AcceptorPool::with_protocol(|_| Echo).listener(listener(ProxyProtocol::optional())).start().await;
    match refused.map(drop).unwrap_err() {
        StartError::InvalidSetting(InvalidSetting { setting, why, .. }) => {
            let expected = "listener \"127.0.0.1:0\": no sender is trusted; call `trust` or `trust_local`";
            assert_eq!((setting, &*why), ("proxy_protocol", expected))
        }
        other => panic!("{other}"),
    }
    let error = ProxyProtocol::required().trust("load-balancer").unwrap_err();
    assert_eq!(error.to_string(), "invalid address \"load-balancer\": expected an IP address or a CIDR block");
}
