//! TLS by both back ends, against clients that we did not write.

use std::io::ErrorKind;
use std::time::Duration;

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::{
    telemetry::CloseReason, AcceptorPool, Conn, Framing, Listener, Next, Pool, PoolHandle, Protocol, Socket,
};
use actix_acceptor::{
    tls::{ClientCertificates, Tls, TlsBackend, TlsError, TlsVersion},
    transport::TransportKind,
};
use bytes::Bytes;
use support::pki::{connect_as, Pki};
use support::{connect, eventually, in_time, Peer, Recorded, Recorder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BACKENDS: [TlsBackend; 2] = [TlsBackend::Native, TlsBackend::Rustls];

/// Echoes lines; `tls` is answered with what was agreed on, `starttls` upgrades, `stop` stops.
struct Lines(Option<Tls>);

impl Protocol for Lines {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        match &line[..] {
            b"tls" => Next::Send(about(conn)),
            b"stop" => Next::SendAndStop(Bytes::from_static(b"bye")),
            b"starttls" => {
                conn.send(Bytes::from_static(b"go ahead")).unwrap();
                Next::upgrade(self.0.clone().unwrap())
            }
            _ => Next::Send(line),
        }
    }
}

fn about(conn: &Conn<Lines>) -> Bytes {
    let Some(tls) = conn.tls() else { return Bytes::from_static(b"none") };
    let or = |text: &Option<String>| text.clone().unwrap_or("-".into());
    let subject = or(&tls.peer_subject());
    assert_eq!(conn.transport(), TransportKind::Tls);
    assert!(conn.local_addr().is_ok());
    Bytes::from(format!("{} alpn={} sni={} subject={subject}", tls.version, or(&tls.alpn), or(&tls.server_name)))
}

async fn lines(tls: &Tls) -> PoolHandle {
    let (listener, upgrade) = (Listener::tcp("127.0.0.1:0").tls(tls.clone()), tls.clone());
    let pool = AcceptorPool::with_protocol(move |_| Lines(Some(upgrade.clone()))).framing(Framing::lines());
    let pool = pool.acceptors(1).listener(listener).listener(Listener::tcp("127.0.0.1:0").name("plain"));
    pool.start().await.unwrap().untyped()
}

async fn tcp<A>(pool: &Pool<A>) -> TcpStream {
    connect(pool).await.0
}

async fn plain<A>(pool: &Pool<A>) -> Peer {
    Peer(TcpStream::connect(pool.listeners()[1].address.socket().unwrap()).await.unwrap())
}

#[actix::test]
async fn rustls_and_native_tls_clients_are_served_by_both() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for backend in BACKENDS {
        let tls = Tls::builder(backend).files(&cert, &key).alpn(["echo/2", "echo/1"]).build().unwrap();
        let pool = lines(&tls).await;

        let mut config = pki.client(None);
        config.alpn_protocols = vec![b"echo/1".to_vec()];
        let mut peer = Peer(connect_as(config, tcp(&pool).await, "localhost").await.unwrap());
        peer.echo(b"hello\n").await;
        peer.send(b"tls\n").await;
        let version = if backend == TlsBackend::Rustls { "TLSv1.3" } else { "TLSv1.2" };
        peer.expect(format!("{version} alpn=echo/1 sni=localhost subject=-\n").as_bytes()).await;
        // Much, in both directions at once.
        let much = [vec![b'x'; 300_000], b"\n".to_vec()].concat();
        peer.echo(&much).await;
        peer.send(b"stop\n").await;
        assert_eq!(peer.read_to_end().await, b"bye\n", "with close_notify: an orderly end");

        let authority = native_tls::Certificate::from_pem(&std::fs::read(pki.authority()).unwrap()).unwrap();
        let connector = native_tls::TlsConnector::builder().add_root_certificate(authority).build().unwrap();
        let connector = tokio_native_tls::TlsConnector::from(connector);
        let mut peer = Peer(in_time(connector.connect("localhost", tcp(&pool).await)).await.unwrap());
        peer.echo(b"hello\n").await;
        drop(peer);
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn async_fns_have_tls() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for backend in BACKENDS {
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let echo = |mut socket: Socket| async move {
            assert!(socket.tls().is_some());
            let mut bytes = [0; 5];
            socket.read_exact(&mut bytes).await?;
            socket.write_all(&bytes).await?;
            socket.shutdown().await
        };
        let pool = AcceptorPool::with_fn(echo).listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        let mut peer = Peer(pki.connect(tcp(&pool).await, "localhost").await.unwrap());
        peer.send(b"hello").await;
        assert_eq!(peer.read_to_end().await, b"hello");
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[test]
fn certificate_and_key_errors_name_the_file() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let (_, other_key) = pki.issue("other");
    let nonsense = pki.file("nonsense");
    std::fs::write(&nonsense, "no certificate at all").unwrap();
    let missing = pki.file("missing");
    for backend in BACKENDS {
        let build = |cert: &std::path::Path, key: &std::path::Path| Tls::builder(backend).files(cert, key).build();
        for (cert, key, named) in [(&missing, &key, &missing), (&cert, &missing, &missing)] {
            let error = build(cert, key).unwrap_err();
            let TlsError::File { path, source } = &error else { panic!("{error:?}") };
            assert_eq!((path.as_str(), source.kind()), (named.to_str().unwrap(), ErrorKind::NotFound));
        }
        for (cert, key) in [(&nonsense, &key), (&cert, &nonsense)] {
            let error = build(cert, key).unwrap_err();
            let TlsError::Content { path, .. } = &error else { panic!("{error:?}") };
            assert_eq!(path, nonsense.to_str().unwrap());
        }
        let error = build(&cert, &other_key).unwrap_err();
        assert!(matches!(error, TlsError::Mismatch { .. }), "{error:?}");
        assert!(error.to_string().contains(cert.to_str().unwrap()));
        let (cert, key) = (std::fs::read(&cert).unwrap(), std::fs::read(&key).unwrap());
        assert!(Tls::builder(backend).pem(cert, key).build().unwrap().expires().is_some());
    }
}

#[test]
fn what_a_back_end_cannot_do_is_refused_by_name() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let native = || Tls::native().files(&cert, &key);
    for (builder, named) in [
        (native().client_certificates(ClientCertificates::Optional, pki.authority()), "client_certificates"),
        (native().sni_certificate("other", &cert, &key), "sni_certificate"),
        (native().min_version(TlsVersion::V1_3), "min_version"),
        (Tls::rustls().pkcs12([0], ""), "pkcs12"),
    ] {
        match builder.build() {
            Err(TlsError::InvalidSetting(InvalidSetting { setting, .. })) => assert_eq!(setting, named),
            other => panic!("{other:?}"),
        }
    }
}

#[actix::test]
async fn client_certificates_names_and_the_lowest_version_by_rustls() {
    let pki = Pki::generate();
    let (default, other, client) = (pki.issue("localhost"), pki.issue("other.test"), pki.issue("a client"));
    let base = || Tls::rustls().files(&default.0, &default.1).sni_certificate("other.test", &other.0, &other.1);
    let optional = base().client_certificates(ClientCertificates::Optional, pki.authority()).build().unwrap();
    let pool = lines(&optional).await;
    for (name, shows, expected) in [
        ("localhost", None, "TLSv1.3 alpn=- sni=localhost subject=-\n"),
        ("other.test", Some(&client), "TLSv1.3 alpn=- sni=other.test subject=a client\n"),
    ] {
        let mut peer = Peer(connect_as(pki.client(shows), tcp(&pool).await, name).await.unwrap());
        peer.send(b"tls\n").await;
        peer.expect(expected.as_bytes()).await;
    }
    in_time(pool.stop(Duration::ZERO)).await;

    let required = base().client_certificates(ClientCertificates::Required, pki.authority());
    let pool = lines(&required.min_version(TlsVersion::V1_3).build().unwrap()).await;
    let mut peer = Peer(connect_as(pki.client(Some(&client)), tcp(&pool).await, "localhost").await.unwrap());
    peer.echo(b"hello\n").await;
    let strange = Pki::generate();
    let stranger = strange.issue("a stranger");
    for shows in [None, Some(&stranger)] {
        if let Ok(mut peer) = connect_as(pki.client(shows), tcp(&pool).await, "localhost").await {
            assert!(in_time(peer.read(&mut [0])).await.is_err(), "TLS 1.3 says so after the client is done");
        }
    }
    eventually(|| pool.info().closed.get(CloseReason::Handshake) == 2).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn plaintext_and_silence_fail_the_tls_handshake() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for backend in BACKENDS {
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let pool = lines(&tls).await;
        let limit = Duration::from_millis(200);
        pool.change(move |settings| settings.handshake_timeout = Some(limit)).await.unwrap();
        let mut in_clear = connect(&pool).await;
        in_clear.send(b"GET / HTTP/1.0\r\n\r\n").await;
        in_clear.until_gone().await;
        let began = std::time::Instant::now();
        let mut silent = connect(&pool).await;
        plain(&pool).await.echo(b"meanwhile\n").await;
        silent.until_gone().await;
        assert!(began.elapsed() >= limit);
        for _ in 0..200 {
            connect(&pool).await.send([22, 3, 1, 2, 0, 1, 0]).await;
        }
        eventually(|| pool.info().closed.get(CloseReason::Handshake) == 202).await;
        let mut good = Peer(pki.connect(tcp(&pool).await, "localhost").await.unwrap());
        good.echo(b"still\n").await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn a_missing_close_notify_is_distinguished() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for backend in BACKENDS {
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let (recorder, mut closings) = Recorder::new();
        let pool = AcceptorPool::with_protocol(move |_| Recorded(recorder.clone()));
        let pool = pool.listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        let mut polite = Peer(pki.connect(tcp(&pool).await, "localhost").await.unwrap());
        polite.echo(b"hello").await;
        polite.finish().await;
        assert_eq!(closings.reason().await, CloseReason::Peer, "{backend:?}");
        let mut rude = Peer(pki.connect(tcp(&pool).await, "localhost").await.unwrap());
        rude.echo(b"hello").await;
        rude.0.get_mut().0.shutdown().await.unwrap();
        assert_eq!(closings.reason().await, CloseReason::Truncated, "{backend:?}");
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn a_missing_close_notify_is_distinguished_with_an_async_fn() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for (backend, returns_error) in BACKENDS.into_iter().flat_map(|backend| [(backend, true), (backend, false)]) {
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let serve = move |mut socket: Socket| async move {
            let read = socket.read_to_end(&mut Vec::new()).await;
            read.map(drop).or_else(|error| if returns_error { Err(error) } else { Ok(()) })
        };
        let pool = AcceptorPool::with_fn(serve).listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        let mut peer = Peer(pki.connect(tcp(&pool).await, "localhost").await.unwrap());
        peer.send(b"hello").await;
        peer.0.get_mut().0.shutdown().await.unwrap();
        eventually(|| pool.info().closed.total() == 1).await;
        assert_eq!(pool.info().closed.get(CloseReason::Truncated), 1, "{backend:?} {returns_error}");
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn certificates_change_live_and_a_bad_pair_is_refused() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for backend in BACKENDS {
        pki.issue("localhost");
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let pool = lines(&tls).await;
        let shown = |peer: &tokio_rustls::client::TlsStream<TcpStream>| {
            peer.get_ref().1.peer_certificates().unwrap()[0].as_ref().to_vec()
        };
        let mut old = pki.connect(tcp(&pool).await, "localhost").await.unwrap();
        let first = shown(&old);

        let (_, other_key) = pki.issue("other");
        std::fs::copy(&other_key, &key).unwrap();
        assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })));
        assert_eq!(shown(&pki.connect(tcp(&pool).await, "localhost").await.unwrap()), first, "the old one stays");

        pki.issue("localhost");
        tls.reload().unwrap();
        let new = pki.connect(tcp(&pool).await, "localhost").await.unwrap();
        assert_ne!(shown(&new), first);
        old.write_all(b"still\n").await.unwrap();
        let mut echo = [0; 6];
        in_time(old.read_exact(&mut echo)).await.unwrap();
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn starttls_upgrades_a_plaintext_connection() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for backend in BACKENDS {
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let pool = lines(&tls).await;
        let mut peer = plain(&pool).await;
        peer.send(b"tls\nstarttls\n").await;
        peer.expect(b"none\ngo ahead\n").await;
        let mut peer = Peer(pki.connect(peer.0, "localhost").await.unwrap());
        peer.echo(b"under cover\n").await;
        peer.send(b"stop\n").await;
        assert_eq!(peer.read_to_end().await, b"bye\n");

        let mut victim = plain(&pool).await;
        victim.send(b"starttls\ninjected\n").await;
        assert_eq!(victim.until_gone().await, b"go ahead\n", "what came in clear is neither decrypted nor delivered");
        eventually(|| pool.info().closed.get(CloseReason::Handshake) == 1).await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn a_dropped_socket_sends_the_rest_and_close_notify() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let content: Vec<u8> = (0..4_000_000_u32).map(|at| (at / 7) as u8).collect();
    for backend in BACKENDS {
        let (tls, sent) = (Tls::builder(backend).files(&cert, &key).build().unwrap(), content.clone());
        let serve = move |mut socket: Socket| {
            let sent = sent.clone();
            async move { socket.write_all(&sent).await }
        };
        let pool = AcceptorPool::with_fn(serve).listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        let mut peer = pki.connect(connect(&pool).await.0, "localhost").await.unwrap();
        let mut read = Vec::new();
        // A slow reader: the last bytes are still with us when the function has long returned.
        while in_time(peer.read_buf(&mut read)).await.expect("an orderly end") > 0 {
            support::pass(Duration::from_millis(1)).await;
        }
        assert!(read == content, "{} of {} bytes", read.len(), content.len());
        in_time(pool.wait_for(|n| n == 0, None)).await.unwrap();
        assert_eq!(pool.info().closed.get(CloseReason::Local), 1);

        // Who has taken leave is gone at once, whatever the peer does.
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let shuts = AcceptorPool::with_fn(|mut socket: Socket| async move { socket.shutdown().await });
        let shuts = shuts.listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        let quiet = pki.connect(connect(&shuts).await.0, "localhost").await.unwrap();
        in_time(shuts.wait_for(|n| n == 0, None)).await.unwrap();
        eventually(|| shuts.info().closed.get(CloseReason::Local) == 1).await;
        in_time(shuts.stop(None)).await;
        drop(quiet);

        // A stalled peer does not delay a stop beyond its deadline.
        let _stalled = pki.connect(connect(&pool).await.0, "localhost").await.unwrap();
        in_time(pool.wait_for(|n| n == 1, None)).await.unwrap();
        in_time(pool.stop(Duration::from_millis(100))).await;
    }
}

#[actix::test]
async fn a_custom_rustls_config_is_served_but_not_reloaded() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let (cert_pem, key_pem) = (std::fs::read(cert).unwrap(), std::fs::read(key).unwrap());
    let identity = native_tls::Identity::from_pkcs8(&cert_pem, &key_pem).unwrap();
    let native = Tls::from_native(native_tls::TlsAcceptor::new(identity).unwrap());
    use rustls::pki_types::pem::PemObject;
    let chain = rustls::pki_types::CertificateDer::pem_slice_iter(&cert_pem).collect::<Result<_, _>>().unwrap();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(&key_pem).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let by_rustls = Tls::from_rustls(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
    for tls in [native, by_rustls] {
        assert!(matches!(tls.reload(), Err(TlsError::InvalidSetting(InvalidSetting { setting: "reload", .. }))));
        assert_eq!(tls.expires(), None);
        let pool = lines(&tls).await;
        Peer(pki.connect(tcp(&pool).await, "localhost").await.unwrap()).echo(b"hello\n").await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}
