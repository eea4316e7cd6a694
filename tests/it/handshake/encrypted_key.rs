//! Keys that are encrypted with a password, in PKCS#8.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use actix_acceptor::tls::{Tls, TlsBackend, TlsError};
use actix_acceptor::{pool_config::PoolConfig, AcceptorPool, Framing, Listener};
use support::pki::Pki;
use support::{connect, in_time, Echo, Peer};

const BACKENDS: [TlsBackend; 2] = [TlsBackend::Rustls, TlsBackend::Native];

/// Encrypts the key, as `openssl` does it with these options.
fn encrypted(pki: &Pki, key: &Path, password: &str, options: &[&str]) -> PathBuf {
    let file = pki.file("encrypted.key");
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs8", "-topk8", "-passout", &format!("pass:{password}")]).args(options);
    assert!(openssl.arg("-in").arg(key).arg("-out").arg(&file).status().unwrap().success());
    file
}

async fn serves(pki: &Pki, tls: &Tls) {
    let listener = Listener::tcp("127.0.0.1:0").tls(tls.clone());
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(1).listener(listener);
    let pool = pool.start().await.unwrap();
    let tcp = connect(&pool).await.0;
    Peer(pki.connect(tcp, "localhost").await.unwrap()).echo("hello").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn an_encrypted_key_is_read_with_its_password() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for backend in BACKENDS {
        let file = encrypted(&pki, &key, "secret", &["-v2", "aes-256-cbc"]);
        let tls = Tls::builder(backend).files(&cert, &file).key_password("secret").build().unwrap();
        serves(&pki, &tls).await;
        // From memory, in PEM and in DER, and after a reload of a key that is encrypted anew.
        let from =
            |key: Vec<u8>| Tls::builder(backend).der([std::fs::read(&cert).unwrap()], key).key_password("secret");
        serves(&pki, &from(std::fs::read(&file).unwrap()).build().unwrap()).await;
        encrypted(&pki, &key, "secret", &["-v2", "aes-128-cbc", "-outform", "DER"]);
        serves(&pki, &from(std::fs::read(&file).unwrap()).build().unwrap()).await;
        tls.reload().unwrap();
        serves(&pki, &tls).await;
        // A key that is not encrypted needs no password, and may have one.
        Tls::builder(backend).files(&cert, &key).key_password("secret").build().unwrap();
        // A failed reload changes nothing.
        encrypted(&pki, &key, "another", &["-v2", "aes-256-cbc"]);
        assert!(matches!(tls.reload(), Err(TlsError::PasswordWrong { .. })));
        serves(&pki, &tls).await;
        tls.replace(Tls::builder(backend).files(&cert, &file).key_password("another")).unwrap();
        serves(&pki, &tls).await;
    }
}

#[test]
fn the_password_is_for_the_keys_of_server_names_as_well() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let file = encrypted(&pki, &key, "secret", &["-v2", "aes-256-cbc"]);
    let builder = || Tls::rustls().files(&cert, &key).sni_certificate("localhost", &cert, &file);
    builder().key_password("secret").build().unwrap();
    assert!(matches!(builder().build(), Err(TlsError::PasswordMissing { .. })));
}

#[test]
fn a_missing_or_wrong_password_is_an_error() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let file = encrypted(&pki, &key, "secret", &["-v2", "aes-256-cbc"]);
    let path = file.display().to_string();
    for backend in BACKENDS {
        let builder = || Tls::builder(backend).files(&cert, &file);
        match builder().build() {
            Err(error @ TlsError::PasswordMissing { .. }) => assert!(error.to_string().contains(&path), "{error}"),
            other => panic!("{other:?}"),
        }
        // Some results look padded by chance.
        for attempt in 0..20 {
            let wrong = format!("hunter{attempt}");
            let builder = builder().key_password(&wrong);
            assert!(!format!("{builder:?}").contains(&wrong));
            match builder.build() {
                Err(error @ TlsError::PasswordWrong { .. }) => {
                    let source = std::error::Error::source(&error).unwrap().to_string();
                    let text = format!("{error} {error:?} {source}");
                    assert!(error.to_string().contains(&path) && !text.contains(&wrong), "{text}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_key_in_the_traditional_format_says_how_to_convert_it() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let file = pki.file("traditional.key");
    let mut openssl = Command::new("openssl");
    openssl.args(["ec", "-aes256", "-passout", "pass:secret", "-in"]).arg(&key).arg("-out").arg(&file);
    assert!(openssl.output().unwrap().status.success());
    assert!(std::fs::read_to_string(&file).unwrap().contains("Proc-Type: 4,ENCRYPTED"));
    for backend in BACKENDS {
        let error = Tls::builder(backend).files(&cert, &file).key_password("secret").build().unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        let text = format!("{error} {source}");
        assert!(text.contains("openssl pkcs8 -topk8") && text.contains("traditional.key"), "{text}");
    }
}

#[actix::test]
async fn a_file_has_the_password_of_a_key() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let file = encrypted(&pki, &key, "secret", &["-v2", "aes-256-cbc"]);
    let (cert, file) = (cert.display(), file.display());
    let config = |password: &str| {
        let tls = format!("{{ cert = '{cert}', key = '{file}', key_password = {password} }}");
        PoolConfig::from_toml(&format!("listeners = [{{ address = 'tls://127.0.0.1:0', tls = {tls} }}]"))
    };
    let right = config("'secret'").unwrap();
    assert!(!format!("{right:?}").contains("secret"));
    let pool = in_time(AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).config(&right).start()).await;
    let pool = pool.unwrap();
    let tcp = connect(&pool).await.0;
    Peer(pki.connect(tcp, "localhost").await.unwrap()).echo("hello").await;
    in_time(pool.stop(Duration::ZERO)).await;

    let wrong = config("'hunter2'").unwrap();
    let error = in_time(AcceptorPool::with_protocol(|_| Echo).config(&wrong).start()).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("encrypted.key") && !text.contains("hunter2"), "{text}");
    // Without quotes it is a number.
    let error = config("271828").unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("key_password") && !text.contains("271828"), "{text}");
}
