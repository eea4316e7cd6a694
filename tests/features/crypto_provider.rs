//! The crypto provider of `rustls`: that of a feature, or the one that the program installs.

use std::process::Command;

use actix_acceptor::tls::{Tls, TlsError};

use crate::tls::assert_echoes_with;

#[cfg(feature = "rustls-ring")]
#[actix::test]
async fn rustls_ring_completes_a_handshake() {
    assert_echoes_with(Tls::rustls).await;
}

/// `aws-lc-rs` signs with keys on the curve P-521, and `ring` does not.
#[cfg(feature = "rustls-aws-lc-rs")]
#[actix::test]
async fn rustls_aws_lc_rs_goes_before_ring() {
    assert_echoes_with(Tls::rustls).await;
    with_p521().expect("a key on the curve P-521 is accepted");
}

#[cfg(all(feature = "rustls-ring", not(feature = "rustls-aws-lc-rs")))]
#[test]
fn rustls_ring_alone_does_not_build_aws_lc_rs() {
    let refused = with_p521().expect_err("ring has no keys on the curve P-521");
    assert!(matches!(refused, TlsError::Content { .. }), "{refused}");
}

/// With this feature alone.
#[cfg(not(any(feature = "rustls-aws-lc-rs", feature = "rustls-ring")))]
#[actix::test]
async fn rustls_no_provider_needs_an_installed_one() {
    let refused = with_p521().expect_err("there is no provider");
    assert!(matches!(refused, TlsError::NoCryptoProvider), "{refused}");
    let text = refused.to_string();
    assert!(["`rustls-ring`", "`rustls-aws-lc-rs`", "install_default"].iter().all(|way| text.contains(way)), "{text}");

    rustls::crypto::ring::default_provider().install_default().expect("the first one");
    assert_echoes_with(Tls::rustls).await;
}

/// TLS with a key on the curve P-521, written by `openssl`.
fn with_p521() -> Result<Tls, TlsError> {
    let options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-521 -nodes -subj /CN=localhost -keyout - -out -";
    let output = Command::new("openssl").args(options.split(' ')).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Tls::rustls().pem(output.stdout.clone(), output.stdout).build()
}
