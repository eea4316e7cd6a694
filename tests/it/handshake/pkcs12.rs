//! Keys with a password, in PKCS#12 archives.

use std::process::Command;
use std::time::Duration;

use actix_acceptor::tls::{Tls, TlsError};
use actix_acceptor::{AcceptorPool, Framing, Listener};
use support::pki::Pki;
use support::{connect, in_time, Echo, Peer};

#[actix::test]
async fn a_key_with_a_password_is_in_a_pkcs12_archive() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let archive = pki.file("identity.p12");
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-passout", "pass:secret"]).arg("-in").arg(&cert).arg("-inkey").arg(&key);
    assert!(openssl.arg("-out").arg(&archive).status().unwrap().success());
    let error = Tls::native().pkcs12_file(&archive, "another").build().unwrap_err();
    let TlsError::Content { path, .. } = &error else { panic!("{error:?}") };
    assert_eq!(path, archive.to_str().unwrap());

    let from_file = Tls::native().pkcs12_file(&archive, "secret");
    let from_memory = Tls::native().pkcs12(std::fs::read(&archive).unwrap(), "secret");
    for tls in [from_file, from_memory] {
        let listener = Listener::tcp("127.0.0.1:0").tls(tls.build().unwrap());
        let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(1).listener(listener);
        let pool = pool.start().await.unwrap();
        let tcp = connect(&pool).await.0;
        Peer(pki.connect(tcp, "localhost").await.unwrap()).echo("hello").await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}
