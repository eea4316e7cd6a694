//! One test for each feature of the library. `.ci/run` runs this binary once with each feature alone.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use actix_acceptor::{AcceptorPool, Conn, Framing, Listener, Next, PoolHandle, Protocol};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

struct Echo;

impl Protocol for Echo {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }
}

/// A pool that echoes lines, and its address.
async fn echo(listener: Listener) -> (PoolHandle, SocketAddr) {
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).acceptors(1);
    let pool = pool.listener(listener).start().await.unwrap().untyped();
    let address = pool.local_addr().unwrap();
    (pool, address)
}

async fn assert_echoes(mut peer: impl AsyncRead + AsyncWrite + Unpin) {
    peer.write_all(b"hello\n").await.unwrap();
    let mut line = [0; 6];
    peer.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"hello\n");
}

#[actix::test]
async fn a_pool_echoes_without_any_feature() {
    let (_pool, address) = echo(Listener::tcp("127.0.0.1:0")).await;
    assert_echoes(TcpStream::connect(address).await.unwrap()).await;
}

#[cfg(all(unix, feature = "listenfd"))]
#[test]
fn listenfd_finds_no_socket_outside_of_systemd() {
    assert!(Listener::from_systemd().unwrap().is_empty());
}

#[cfg(all(unix, feature = "sd-notify"))]
#[actix::test]
async fn sd_notify_has_no_effect_outside_of_systemd() {
    let (pool, address) = echo(Listener::tcp("127.0.0.1:0")).await;
    let systemd = actix_acceptor::SystemdNotify::start(&[&pool]);
    assert_eq!(systemd.reload(async { 7 }).await, 7);
    assert_echoes(TcpStream::connect(address).await.unwrap()).await;
}

#[cfg(feature = "metrics")]
#[actix::test]
async fn metrics_counts_a_connection() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap();
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).acceptors(1);
    let pool = pool.observer(actix_acceptor::telemetry::Metrics::new()).bind("127.0.0.1:0").await.unwrap();
    assert_echoes(TcpStream::connect(pool.local_addr().unwrap()).await.unwrap()).await;
    let page = recorder.render();
    let line = page.lines().find(|line| line.starts_with("acceptor_connections_started_total{")).unwrap();
    assert!(line.ends_with("} 1"), "{line}");
}

#[cfg(feature = "proxy-protocol")]
#[actix::test]
async fn proxy_protocol_reports_the_address_of_the_header() {
    use actix_acceptor::{proxy::ProxyProtocol, Socket};

    let proxy = ProxyProtocol::required().trust("127.0.0.0/8").unwrap();
    let pool = AcceptorPool::with_fn(|mut socket: Socket| async move {
        let peer = socket.peer().to_string();
        socket.write_all(peer.as_bytes()).await
    });
    let listener = Listener::tcp("127.0.0.1:0").proxy_protocol(proxy);
    let pool = pool.acceptors(1).listener(listener).start().await.unwrap();
    let mut peer = TcpStream::connect(pool.local_addr().unwrap()).await.unwrap();
    peer.write_all(b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\n").await.unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "203.0.113.7:4711");
}

/// With this feature alone, what needs another one is refused.
#[cfg(all(
    feature = "config",
    not(any(feature = "rustls-no-provider", feature = "native-tls", feature = "proxy-protocol"))
))]
#[actix::test]
async fn config_names_the_feature_that_a_key_needs() {
    use actix_acceptor::{AcceptorPool, PoolConfig, Socket};

    for (option, key, feature) in [
        ("tls = { cert = 'a', key = 'b' }", "listeners[0].tls", "`rustls` or `native-tls`"),
        (
            "proxy_protocol = { mode = 'required', trusted = ['::/0'] }",
            "listeners[0].proxy_protocol",
            "`proxy-protocol`",
        ),
    ] {
        let scheme = if option.starts_with("tls") { "tls" } else { "tcp" };
        let text = format!("listeners = [{{ address = '{scheme}://127.0.0.1:0', {option} }}]");
        let config = PoolConfig::from_toml(&text).unwrap();
        let refused = AcceptorPool::with_fn(|_: Socket| async {}).config(&config).start().await.unwrap_err();
        let error = refused.to_string();
        assert!(error.starts_with(key) && error.contains(feature), "{error}");
    }
}

#[cfg(feature = "config")]
#[actix::test]
async fn config_starts_a_pool_from_a_text() {
    use actix_acceptor::{AcceptorPool, PoolConfig, Socket};

    let config = PoolConfig::from_json(r#"{ "listeners": [{ "address": "tcp://127.0.0.1:0", "name": "a" }] }"#);
    let pool = AcceptorPool::with_fn(|_: Socket| async {}).config(&config.unwrap()).start().await.unwrap();
    assert_eq!(&*pool.listeners()[0].name, "a");
    pool.stop(None).await;
}

#[cfg(feature = "serde")]
#[test]
fn serde_reads_and_writes_settings() {
    let mut settings = actix_acceptor::Settings::default();
    let patch = serde_json::json!({ "idle_timeout": "1m 30s", "max_connections": 7 });
    settings.apply(serde_json::from_value(patch).unwrap());
    assert_eq!(settings.idle_timeout, Some(std::time::Duration::from_secs(90)));
    assert_eq!(serde_json::to_value(settings).unwrap()["max_connections"], 7);
}

#[cfg(feature = "testing")]
#[actix::test]
async fn testing_echoes_in_memory() {
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines());
    let harness = actix_acceptor::testing::Harness::start(pool).await;
    let mut client = harness.connect().await;
    client.say("hello\n").await;
    client.expect("hello\n").await;
    harness.end().await;
}

/// Which provider of cryptography `rustls` has.
#[cfg(feature = "rustls-no-provider")]
mod crypto_provider;

#[cfg(any(feature = "native-tls", feature = "rustls-no-provider"))]
mod tls {
    use std::sync::Arc;

    use actix_acceptor::tls::Tls;
    use rcgen::CertifiedKey;
    use rustls::{ClientConfig, RootCertStore};
    use tokio_rustls::TlsConnector;

    use super::{assert_echoes, echo, Listener, TcpStream};

    pub(crate) async fn assert_echoes_with(backend: fn() -> actix_acceptor::tls::TlsBuilder) {
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let tls: Tls = backend().pem(cert.pem(), signing_key.serialize_pem()).build().unwrap();
        let (_pool, address) = echo(Listener::tcp("127.0.0.1:0").tls(tls)).await;

        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let tcp = TcpStream::connect(address).await.unwrap();
        let server_name = "localhost".try_into().unwrap();
        assert_echoes(TlsConnector::from(Arc::new(client)).connect(server_name, tcp).await.unwrap()).await;
    }

    #[cfg(feature = "native-tls")]
    #[actix::test]
    async fn native_tls_completes_a_handshake() {
        assert_echoes_with(Tls::native).await;
    }

    #[cfg(feature = "rustls")]
    #[actix::test]
    async fn rustls_completes_a_handshake() {
        assert_echoes_with(Tls::rustls).await;
    }

    #[cfg(feature = "watch")]
    #[actix::test]
    async fn watch_reloads_a_changed_certificate() {
        use std::time::{Duration, Instant, SystemTime};

        let folder = std::env::temp_dir().join(format!("actix-acceptor-watch-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        let write = |expires: SystemTime| {
            let signing_key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_after = expires.into();
            let cert = params.self_signed(&signing_key).unwrap();
            std::fs::write(&key, signing_key.serialize_pem()).unwrap();
            std::fs::write(&certificate, cert.pem()).unwrap();
        };
        let day = Duration::from_secs(24 * 60 * 60);
        write(SystemTime::now() + day);
        #[cfg(feature = "rustls")]
        let backend = Tls::rustls();
        #[cfg(not(feature = "rustls"))]
        let backend = Tls::native();
        let tls = backend.files(&certificate, &key).watch().build().unwrap();
        let first = tls.expires();
        write(SystemTime::now() + 2 * day);
        let deadline = Instant::now() + Duration::from_secs(20);
        while tls.expires() == first {
            assert!(Instant::now() < deadline, "the certificate was not reloaded");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
