//! What a TLS handshake tells about the peer, and settings from memory.

use std::time::Duration;

use actix_acceptor::tls::{ClientCertificates, SubjectAltNames, Tls, TlsBackend, TlsError};
use actix_acceptor::{AcceptorPool, Listener, Pool, Socket};
use bytes::Bytes;
use support::pki::{connect_as, Pki};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends the cipher suite and the names of the peer's certificate, then closes.
async fn about(mut socket: Socket) {
    let tls = socket.tls().expect("TLS").clone();
    let names = tls.peer_alt_names().map_or("-".to_owned(), |SubjectAltNames { dns, ips, emails, uris, .. }| {
        format!("{dns:?} {ips:?} {emails:?} {uris:?}")
    });
    let text = format!("{} {names}", tls.cipher_suite.as_deref().unwrap_or("-"));
    let _ = socket.write_all(&Bytes::from(text)).await;
    let _ = socket.shutdown().await;
}

async fn pool(tls: &Tls) -> Pool<actix_acceptor::handlers::NoActor> {
    let builder = AcceptorPool::with_fn(about).acceptors(1).listener(Listener::tcp("127.0.0.1:0").tls(tls.clone()));
    in_time(builder.start()).await.unwrap()
}

async fn told<A>(pool: &Pool<A>, config: rustls::ClientConfig, name: &str) -> String {
    let mut peer = Peer(connect_as(config, connect(pool).await.0, name).await.unwrap());
    String::from_utf8(peer.read_to_end().await).unwrap()
}

#[actix::test]
async fn both_back_ends_report_the_cipher_suite() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for (backend, prefix) in [(TlsBackend::Native, "TLS_ECDHE_ECDSA_WITH_"), (TlsBackend::Rustls, "TLS_")] {
        let pool = pool(&Tls::builder(backend).files(&cert, &key).build().unwrap()).await;
        let told = told(&pool, pki.client(None), "localhost").await;
        assert!(told.starts_with(prefix) && told.ends_with(" -"), "{told}");
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn the_names_in_a_client_certificate_are_reported() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let client =
        pki.issue_for("a client", &["client.test", "192.0.2.7", "2001:db8::1"], "me@client.test", "spiffe://me");
    let authority = std::fs::read(pki.authority()).unwrap();
    let tls = Tls::rustls().files(&cert, &key).client_certificates_pem(ClientCertificates::Optional, authority);
    let pool = pool(&tls.build().unwrap()).await;
    let expected = r#" ["client.test"] [192.0.2.7, 2001:db8::1] ["me@client.test"] ["spiffe://me"]"#;
    let names = told(&pool, pki.client(Some(&client)), "localhost").await;
    assert!(names.ends_with(expected), "{names}");
    assert!(told(&pool, pki.client(None), "localhost").await.ends_with(" -"));
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn sni_pairs_and_authorities_may_be_in_memory() {
    let pki = Pki::generate();
    let read = |files: &(std::path::PathBuf, std::path::PathBuf)| {
        (std::fs::read(&files.0).unwrap(), std::fs::read(&files.1).unwrap())
    };
    let (default, other, client) = (pki.issue("localhost"), pki.issue("other.test"), pki.issue("client.test"));
    let ((cert, key), (other, other_key)) = (read(&default), read(&other));
    let authority = || std::fs::read(pki.authority()).unwrap();
    let base = || Tls::rustls().pem(cert.clone(), key.clone());
    let settings = || base().sni_certificate_pem("other.test", other.clone(), other_key.clone());
    let tls = settings().client_certificates_pem(ClientCertificates::Required, authority()).build().unwrap();
    let pool = pool(&tls).await;
    for reload in [false, true] {
        if reload {
            tls.reload().expect("what is in memory stays");
        }
        assert!(told(&pool, pki.client(Some(&client)), "other.test").await.contains("client.test"));
        let stranger = connect_as(pki.client(None), connect(&pool).await.0, "localhost").await;
        if let Ok(mut stranger) = stranger {
            assert!(in_time(stranger.read(&mut [0])).await.is_err(), "it has no certificate");
        }
    }
    // Another authority: the former client is a stranger.
    let others = std::fs::read(Pki::generate().authority()).unwrap();
    tls.replace(settings().client_certificates_pem(ClientCertificates::Required, others)).unwrap();
    if let Ok(mut stranger) = connect_as(pki.client(Some(&client)), connect(&pool).await.0, "localhost").await {
        assert!(in_time(stranger.read(&mut [0])).await.is_err(), "its authority was replaced");
    }
    in_time(pool.stop(Duration::ZERO)).await;
    let invalid = base().client_certificates_pem(ClientCertificates::Required, "nothing").build();
    assert!(matches!(invalid, Err(TlsError::Content { path, .. }) if path == "memory"));
    let native = Tls::native().pem(cert.clone(), key.clone());
    let refused = native.client_certificates_pem(ClientCertificates::Optional, authority()).build();
    assert!(refused.unwrap_err().to_string().contains("client_certificates"));
    let mismatch = base().sni_certificate_pem("other.test", other.clone(), key.clone()).build();
    assert!(matches!(mismatch, Err(TlsError::Mismatch { .. })));
}
