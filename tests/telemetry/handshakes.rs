//! Handshakes that fail: counted by kind, reported to observers, and logged within a budget per kind.

use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::telemetry::{CloseReason, HandshakeFailure};
use actix_acceptor::tls::{ClientCertificates, Tls, TlsBackend, TlsVersion};
use actix_acceptor::transport::{Address, Handshake, HandshakeError, Handshaken, LocalBoxFuture, Stream};
use actix_acceptor::{proxy::ProxyProtocol, AcceptorPool, Framing, Listener, Next, PoolHandle, Socket};
use rustls::{ClientConfig, RootCertStore};
use support::pki::{connect_as, Pki};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BACKENDS: [TlsBackend; 2] = [TlsBackend::Native, TlsBackend::Rustls];
const LONG: Duration = Duration::from_secs(60);

async fn echo(mut socket: Socket) -> std::io::Result<()> {
    let mut bytes = [0; 5];
    socket.read_exact(&mut bytes).await?;
    socket.write_all(&bytes).await
}

/// The same listener with a protocol and with an async fn.
async fn pools(name: &str, listener: impl Fn() -> Listener, limit: Duration) -> [(PoolHandle, EventRecorder); 2] {
    let listener = || listener().name(name);
    let observers = [EventRecorder::new(), EventRecorder::new()];
    let protocol = AcceptorPool::with_protocol(|_| Echo).handshake_timeout(limit).observer(observers[0].clone());
    let protocol = protocol.listener(listener()).start().await.unwrap().untyped();
    let function = AcceptorPool::with_fn(echo).handshake_timeout(limit).observer(observers[1].clone());
    let function = function.listener(listener()).start().await.unwrap().untyped();
    let [first, second] = observers;
    [(protocol, first), (function, second)]
}

/// The failures that were counted, without those at 0.
fn counted(pool: &PoolHandle) -> Vec<(HandshakeFailure, u64)> {
    pool.info().handshake_failures.iter().filter(|(_, count)| *count > 0).collect()
}

fn reported(observer: &EventRecorder) -> Vec<(String, HandshakeFailure, String)> {
    let failure = |seen| match seen {
        RecordedEvent::HandshakeFailed { key, kind, error } => Some((key.peer, kind, error)),
        _ => None,
    };
    observer.seen().into_iter().filter_map(failure).collect()
}

/// One failure of this kind, and nothing else.
async fn assert_fails_once((pool, observer): (PoolHandle, EventRecorder), peer: String, kind: HandshakeFailure) {
    eventually(|| pool.info().closed.total() == 1).await;
    assert_eq!(counted(&pool), [(kind, 1)], "{:?}", reported(&observer));
    assert_eq!(pool.info().closed.get(CloseReason::Handshake), 1);
    let reported = reported(&observer);
    let [(from, as_kind, error)] = &reported[..] else { panic!("{reported:?}") };
    assert_eq!((from, as_kind), (&peer, &kind), "{error}");
    assert!(!error.is_empty());
    eventually(|| observer.ends().len() == 1).await;
    assert_eq!(observer.ends()[0].1.reason, CloseReason::Handshake);
    in_time(pool.stop(None)).await;
}

/// Sends these bytes, and leaves or waits.
async fn says(listener: impl Fn() -> Listener, limit: Duration, bytes: &[u8], leaves: bool, kind: HandshakeFailure) {
    for pool in pools("says", listener, limit).await {
        let mut peer = connect(&pool.0).await;
        let address = peer.address().to_string();
        peer.send(bytes).await;
        match leaves {
            true => drop(peer),
            false => drop(peer.until_gone().await),
        }
        assert_fails_once(pool, address, kind).await;
    }
}

/// Connects with TLS.
async fn connects(tls: &Tls, client: &ClientConfig, kind: HandshakeFailure) {
    for pool in pools("connects", || Listener::tcp("127.0.0.1:0").tls(tls.clone()), LONG).await {
        let tcp = connect(&pool.0).await.0;
        let address = tcp.local_addr().unwrap().to_string();
        if let Ok(mut peer) = connect_as(client.clone(), tcp, "localhost").await {
            // In TLS 1.3 the server answers after the client is done.
            assert!(in_time(peer.read(&mut [0])).await.is_err());
        }
        assert_fails_once(pool, address, kind).await;
    }
}

fn client_of(versions: &[&'static rustls::SupportedProtocolVersion], roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

#[actix::test]
async fn tls_failures_have_a_kind_with_both_back_ends() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for backend in BACKENDS {
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let listener = || Listener::tcp("127.0.0.1:0").tls(tls.clone());
        says(listener, LONG, b"GET / HTTP/1.0\r\n\r\n", false, HandshakeFailure::NotTls).await;
        says(listener, LONG, b"", true, HandshakeFailure::PeerLeft).await;
        says(listener, LONG, &[22, 3, 1, 2, 0, 1, 0], true, HandshakeFailure::PeerLeft).await;
        says(listener, Duration::from_millis(200), b"", false, HandshakeFailure::Timeout).await;
        says(listener, LONG, &[22, 3, 1, 0, 4, 99, 0, 0, 0], false, HandshakeFailure::Tls).await;
        let distrusts = client_of(rustls::ALL_VERSIONS, RootCertStore::empty());
        connects(&tls, &distrusts, HandshakeFailure::CertificateRejected).await;
    }
}

#[actix::test]
async fn tls_without_common_parameters_has_a_kind() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let rustls = Tls::rustls().files(&cert, &key).min_version(TlsVersion::V1_3).build().unwrap();
    let client = client_of(&[&rustls::version::TLS12], RootCertStore::empty());
    connects(&rustls, &client, HandshakeFailure::TlsParameters).await;
    let native = Tls::native().files(&cert, &key).build().unwrap();
    let client = client_of(&[&rustls::version::TLS13], RootCertStore::empty());
    connects(&native, &client, HandshakeFailure::TlsParameters).await;
}

#[actix::test]
async fn a_client_certificate_that_fails_has_a_kind() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let tls = Tls::rustls().files(&cert, &key).client_certificates(ClientCertificates::Required, pki.authority());
    let tls = tls.build().unwrap();
    connects(&tls, &pki.client(None), HandshakeFailure::ClientCertificate).await;
    let other = Pki::generate();
    let stranger = other.issue("a stranger");
    connects(&tls, &pki.client(Some(&stranger)), HandshakeFailure::ClientCertificate).await;
    let rejecting = Tls::rustls().files(&cert, &key).on_client_hello(|_| Err("not today".into())).build().unwrap();
    connects(&rejecting, &pki.client(None), HandshakeFailure::Rejected).await;
}

#[actix::test]
async fn proxy_headers_that_fail_have_a_kind() {
    let listener = || {
        let proxy = ProxyProtocol::required().trust("127.0.0.0/8").unwrap();
        Listener::tcp("127.0.0.1:0").proxy_protocol(proxy)
    };
    says(listener, LONG, b"hello", false, HandshakeFailure::ProxyMissing).await;
    says(listener, LONG, b"PROXY TCP4 1.2.3.4\r\n", false, HandshakeFailure::ProxyInvalid).await;
    says(listener, LONG, b"PROXY TCP4", true, HandshakeFailure::PeerLeft).await;
    says(listener, Duration::from_millis(100), b"PROXY", false, HandshakeFailure::Timeout).await;
}

/// Reads a line, and fails with it.
struct RejectingStep;

impl Handshake for RejectingStep {
    fn handshake(
        &self,
        mut stream: Stream,
        _: &Address,
    ) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        Box::pin(async move {
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await?;
            Err(HandshakeError::failed(format!("not accepted: {}", String::from_utf8_lossy(&bytes))))
        })
    }
}

#[actix::test]
async fn the_error_of_a_step_is_reported_without_control_characters() {
    let listener = || Listener::tcp("127.0.0.1:0").handshake(RejectingStep);
    says(listener, LONG, b"ab\n\x1b", false, HandshakeFailure::Rejected).await;
    logs::listen();
    for (pool, observer) in pools("escapes", listener, LONG).await {
        let mut peer = connect(&pool).await;
        peer.send(b"ab\n\x1b").await;
        peer.until_gone().await;
        eventually(|| pool.info().closed.total() == 1).await;
        assert_eq!(reported(&observer)[0].2, "not accepted: ab\\n\\u{1b}");
        in_time(pool.stop(None)).await;
    }
    let lines = logs::lines(|line| line.is("listener", "escapes") && line.is("reason", "handshake"));
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!((line.level, line.message()), (tracing::Level::INFO, "handshake failed"));
        assert!(line.is("kind", "rejected") && line.is("detail", "not accepted: ab\\n\\u{1b}"), "{line:?}");
        assert!(line.fields.contains_key("peer") && line.fields.contains_key("id") && line.is("left_out", "0"));
    }
}

#[actix::test]
async fn an_upgrade_that_fails_is_counted_once() {
    let observer = EventRecorder::new();
    let (builder, _callbacks) = Probe::pool(|call, _| match call {
        Call::Packet(_) => Next::upgrade(RejectingStep),
        other => protocol_default(other),
    });
    let pool =
        builder.framing(Framing::lines()).observer(observer.clone()).bind("127.0.0.1:0").await.unwrap().untyped();
    let mut peer = connect(&pool).await;
    let address = peer.address().to_string();
    peer.send(b"starttls\ninjected").await;
    peer.until_gone().await;
    assert_fails_once((pool, observer), address, HandshakeFailure::PlaintextAfterStartTls).await;

    let observer = EventRecorder::new();
    let upgrades = |socket: Socket| async move { socket.upgrade(RejectingStep).await.map(drop) };
    let pool = AcceptorPool::with_fn(upgrades).observer(observer.clone()).bind("127.0.0.1:0").await.unwrap().untyped();
    let mut peer = connect(&pool).await;
    let address = peer.address().to_string();
    peer.send(b"1234").await;
    peer.until_gone().await;
    assert_fails_once((pool, observer), address, HandshakeFailure::Rejected).await;
}

#[actix::test]
async fn a_flood_of_failures_logs_ten_lines_a_second_per_kind() {
    const PEERS: u64 = 60;
    logs::listen();
    let pool = AcceptorPool::with_protocol(|_| Echo);
    let pool = pool.listener(Listener::tcp("127.0.0.1:0").name("flooded").handshake(RejectingStep));
    let pool = pool.start().await.unwrap().untyped();
    let at = |level| logs::lines(|line| line.is("listener", "flooded") && line.level == level);
    let begun = std::time::Instant::now();
    // Scanners: they leave without a byte.
    for _ in 0..PEERS {
        connect(&pool).await.finish().await;
    }
    eventually(|| pool.info().handshake_failures.get(HandshakeFailure::PeerLeft) == PEERS).await;
    assert_eq!((at(tracing::Level::INFO).len(), at(tracing::Level::DEBUG).len() as u64), (0, PEERS));
    for _ in 0..PEERS {
        connect(&pool).await.send(b"1234").await;
    }
    eventually(|| pool.info().handshake_failures.get(HandshakeFailure::Rejected) == PEERS).await;
    let seconds = begun.elapsed().as_secs() as usize + 1;
    let lines = at(tracing::Level::INFO).len();
    assert!((10..=10 * seconds).contains(&lines), "{lines} lines in {seconds} s");
    assert_eq!(lines + at(tracing::Level::DEBUG).len(), 2 * PEERS as usize, "each has one line");
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn handshakes_under_way_are_counted() {
    let pool = AcceptorPool::with_protocol(|_| Echo).max_handshakes(2).handshake_timeout(LONG);
    let pool = pool.listener(Listener::tcp("127.0.0.1:0").handshake(RejectingStep)).start().await.unwrap().untyped();
    assert_eq!(pool.info().handshakes, 0);
    let mut first = connect(&pool).await;
    eventually(|| pool.info().handshakes == 1).await;
    // The third waits for a permit.
    let _others = (connect(&pool).await, connect(&pool).await);
    eventually(|| pool.info().connections == 3).await;
    eventually(|| pool.info().handshakes == 2).await;
    first.send(b"1234").await;
    first.until_gone().await;
    eventually(|| pool.info().connections == 2).await;
    assert_eq!(pool.info().handshakes, 2);
    in_time(pool.stop(Duration::ZERO)).await;
    assert_eq!(pool.info().handshakes, 0);
}
