//! What is chosen per peer, and what changes while a pool runs: ClientHello, certificates of all kinds, watched files.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use actix_acceptor::error::InvalidSetting;
use actix_acceptor::{
    telemetry::CloseReason,
    tls::{Tls, TlsBackend, TlsBuilder, TlsError},
    AcceptorPool, Listener, Pool, PoolHandle,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use support::logs;
use support::pki::{connect_as, Pki};
use support::{connect, eventually, in_time, ms, pass, Echo, Peer, Recorded, Recorder};

const BACKENDS: [TlsBackend; 2] = [TlsBackend::Native, TlsBackend::Rustls];

async fn echo(tls: &Tls) -> PoolHandle {
    let listener = Listener::tcp("127.0.0.1:0").tls(tls.clone());
    AcceptorPool::with_protocol(|_| Echo).listener(listener).start().await.unwrap().untyped()
}

/// The certificate that a client which trusts the authority is shown under this name.
async fn shown<A>(pki: &Pki, pool: &Pool<A>, name: &str) -> std::io::Result<CertificateDer<'static>> {
    let mut stream = pki.connect(connect(pool).await.0, name).await?;
    let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    Peer(&mut stream).echo(b"hello").await;
    Ok(certificate)
}

fn der(path: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

fn key_der(path: &Path) -> Vec<u8> {
    PrivateKeyDer::from_pem_file(path).unwrap().secret_der().to_vec()
}

#[actix::test]
async fn certificates_are_taken_as_pem_and_der_from_files_and_memory() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let (cert_der, key_der) = (der(&cert), key_der(&key));
    let files = (pki.file("localhost.der"), pki.file("localhost-key.der"));
    std::fs::write(&files.0, &cert_der).unwrap();
    std::fs::write(&files.1, &key_der).unwrap();
    let authority = der(&pki.authority());
    for backend in BACKENDS {
        let builders: [TlsBuilder; 5] = [
            Tls::builder(backend).files(&cert, &key),
            Tls::builder(backend).files(&files.0, &files.1),
            Tls::builder(backend).files(&cert, &files.1),
            Tls::builder(backend).pem(std::fs::read(&cert).unwrap(), std::fs::read(&key).unwrap()),
            Tls::builder(backend).der([cert_der.clone(), authority.clone()], key_der.clone()),
        ];
        for builder in builders {
            let tls = builder.build().unwrap();
            assert!(tls.expires().unwrap() > SystemTime::now());
            let pool = echo(&tls).await;
            assert_eq!(shown(&pki, &pool, "localhost").await.unwrap().as_ref(), cert_der);
            in_time(pool.stop(Duration::ZERO)).await;
        }
        for (certificate, why) in
            [(&b"rubbish"[..], "not a certificate"), (b"-----BEGIN X-----\n-----END X-----\n", "in it")]
        {
            let error = Tls::builder(backend).der([certificate], key_der.clone()).build().unwrap_err();
            assert!(matches!(&error, TlsError::Content { .. }) && error.to_string().contains(why), "{error}");
        }
        let error = Tls::builder(backend).der([cert_der.clone()], b"rubbish".to_vec()).build().unwrap_err();
        assert!(matches!(error, TlsError::Content { .. }), "{error}");
    }
}

#[actix::test]
async fn listeners_report_the_earliest_certificate_expiry() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let soonest = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let named = pki.issue_until("inside", soonest);
    let tls = Tls::rustls().files(&cert, &key).sni_certificate("inside", &named.0, &named.1).build().unwrap();
    let pool = AcceptorPool::with_protocol(|_| Echo)
        .listener(Listener::tcp("127.0.0.1:0").tls(tls.clone()))
        .listener(Listener::tcp("127.0.0.1:0"))
        .start()
        .await
        .unwrap();
    let [secure, plain] = &pool.listeners()[..] else { panic!() };
    assert_eq!((secure.tls, secure.certificate_expires), (true, Some(soonest)));
    assert_eq!((plain.tls, plain.certificate_expires), (false, None));
    assert_eq!(pool.info().certificate_expires, Some(soonest));
    assert_eq!(shown(&pki, &pool, "inside").await.unwrap().as_ref(), der(&named.0));
    assert_eq!(secure.url(), format!("tls://{}", secure.address));
    assert_eq!(plain.url(), format!("tcp://{}", plain.address));
    // It is reported again after a reload.
    let later = soonest + Duration::from_secs(1_000_000);
    pki.issue_until("inside", later);
    tls.reload().unwrap();
    assert_eq!(pool.listeners()[0].certificate_expires, Some(later));
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_hook_sees_the_client_hello_and_goes_on_chooses_or_refuses() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("public");
    let inside = pki.issue("inside");
    let chosen = Tls::rustls().files(&inside.0, &inside.1).build().unwrap();
    let native = Tls::native().files(&cert, &key).build().unwrap();
    let tls = Tls::rustls()
        .files(&cert, &key)
        .on_client_hello(move |hello| {
            assert!(hello.peer().ip().unwrap().is_loopback());
            assert!(hello.cipher_suites().any(|suite| suite == 0x1301));
            match hello.server_name() {
                Some("inside") if hello.alpn().eq([&b"echo"[..]]) => Ok(Some(chosen.clone())),
                Some("public") => Ok(None),
                Some("native") => Ok(Some(native.clone())),
                Some("panic") => panic!("as asked"),
                other => Err(format!("nobody is called {other:?}").into()),
            }
        })
        .build()
        .unwrap();
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_protocol(move |_| Recorded(recorder.clone()));
    let pool = pool.listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
    assert_eq!(shown(&pki, &pool, "public").await.unwrap().as_ref(), der(&cert));
    closings.next().await;

    let mut config = pki.client(None);
    config.alpn_protocols = vec![b"echo".to_vec()];
    let stream = connect_as(config, connect(&pool).await.0, "inside").await.unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap()[0].as_ref(), der(&inside.0));
    drop(stream);
    closings.next().await;

    for (name, reason, why, alert) in [
        ("inside", CloseReason::Handshake, "nobody is called Some(\"inside\")", "AccessDenied"),
        ("native", CloseReason::Handshake, "another back end", "eof"),
        ("panic", CloseReason::Panic, "as asked", "eof"),
    ] {
        let error = shown(&pki, &pool, name).await.unwrap_err().to_string();
        let (closed, text) = closings.next().await;
        assert_eq!(closed, reason, "{text}");
        assert!(text.contains(why) && error.contains(alert), "{text}; {error}");
    }
    assert_eq!(shown(&pki, &pool, "public").await.unwrap().as_ref(), der(&cert), "nobody else is concerned");
    in_time(pool.stop(None)).await;
    match Tls::native().files(&cert, &key).on_client_hello(|_| Ok(None)).build().unwrap_err() {
        TlsError::InvalidSetting(InvalidSetting { setting, .. }) => assert_eq!(setting, "on_client_hello"),
        other => panic!("{other}"),
    }
}

#[actix::test]
async fn a_certificate_may_be_for_any_host_of_a_domain() {
    let pki = Pki::generate();
    let (default, any, one) =
        (pki.issue("localhost"), pki.issue_as("*.example.org", "any"), pki.issue("a.example.org"));
    let tls = Tls::rustls()
        .files(&default.0, &default.1)
        .sni_certificate("*.Example.org", &any.0, &any.1)
        .sni_certificate("a.example.org", &one.0, &one.1)
        .build()
        .unwrap();
    let pool = echo(&tls).await;
    for (name, expected) in [("b.example.org", &any), ("a.example.org", &one), ("localhost", &default)] {
        assert_eq!(shown(&pki, &pool, name).await.unwrap().as_ref(), der(&expected.0), "{name}");
    }
    // One label, no more: it is shown the default one, and does not like it.
    assert!(shown(&pki, &pool, "b.a.example.org").await.is_err());
    in_time(pool.stop(Duration::ZERO)).await;
    for (builder, why) in [
        (Tls::rustls().files(&default.0, &default.1).sni_certificate("b b", &one.0, &one.1), "not a DNS name"),
        (Tls::rustls().files(&default.0, &default.1).alpn([""]), "1 to 255"),
        (Tls::native().files(&default.0, &default.1).alpn([[b'x'; 256]]), "1 to 255"),
        (Tls::rustls().pem("", "").watch(), "no files"),
    ] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

/// The files that a pool is given, and what others put in their place.
struct Files {
    pki: Pki,
    pair: (PathBuf, PathBuf),
}

impl Files {
    fn install(&self, from: &(PathBuf, PathBuf)) {
        std::fs::copy(&from.0, &self.pair.0).unwrap();
        std::fs::copy(&from.1, &self.pair.1).unwrap();
    }
}

#[track_caller]
fn until_shown<'a, A>(pki: &'a Pki, pool: &'a Pool<A>, expected: &'a [u8]) -> impl Future<Output = ()> + 'a {
    in_time(async move {
        while !shown(pki, pool, "localhost").await.is_ok_and(|certificate| certificate.as_ref() == expected) {
            pass(ms(20)).await;
        }
    })
}

#[actix::test]
async fn watched_certificates_reload_unless_invalid() {
    logs::listen();
    for backend in BACKENDS {
        let pki = Pki::generate();
        let pair = (pki.file("current.pem"), pki.file("current.key"));
        let files = Files { pki, pair };
        let (pki, key_name) = (&files.pki, files.pair.1.display().to_string());
        let (first, second) = (pki.issue_as("localhost", "first"), pki.issue_as("localhost", "second"));
        files.install(&first);
        let tls = Tls::builder(backend).files(&files.pair.0, &files.pair.1).watch().build().unwrap();
        let pool = echo(&tls).await;
        let mut old = Peer(pki.connect(connect(&pool).await.0, "localhost").await.unwrap());
        old.echo(b"before").await;
        assert_eq!(shown(pki, &pool, "localhost").await.unwrap().as_ref(), der(&first.0));

        files.install(&second);
        until_shown(pki, &pool, &der(&second.0)).await;
        old.echo(b"old connections keep theirs").await;

        // A key that does not match: logged once; then a good one, put in place by a rename.
        let complaint = || {
            let about = |line: &logs::Line| line.fields.get("error").is_some_and(|error| error.contains(&key_name));
            !logs::lines(|line| line.message().ends_with("keeping the current certificates") && about(line)).is_empty()
        };
        std::fs::copy(&first.1, &files.pair.1).unwrap();
        eventually(complaint).await;
        assert_eq!(shown(pki, &pool, "localhost").await.unwrap().as_ref(), der(&second.0));
        std::fs::copy(&first.0, pki.file("new.pem")).unwrap();
        std::fs::rename(pki.file("new.pem"), &files.pair.0).unwrap();
        until_shown(pki, &pool, &der(&first.0)).await;

        in_time(pool.stop(None)).await;
        assert_eq!(old.read_to_end().await, b"", "an orderly end");
    }
}
