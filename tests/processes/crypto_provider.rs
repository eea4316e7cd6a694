//! The crypto provider that a program installs for its process goes before that of a feature.
#![cfg(feature = "rustls-aws-lc-rs")]

use std::process::Command;

use actix_acceptor::tls::Tls;

use crate::own_process::in_own_process;

#[test]
fn an_installed_crypto_provider_goes_first() {
    in_own_process("crypto_provider::an_installed_crypto_provider_goes_first", async {
        // `aws-lc-rs` signs with keys on the curve P-521, and `ring` does not.
        let options =
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-521 -nodes -subj /CN=localhost -keyout - -out -";
        let output = Command::new("openssl").args(options.split(' ')).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let build = || Tls::rustls().pem(output.stdout.clone(), output.stdout.clone()).build();
        let tls = build().unwrap();
        rustls::crypto::ring::default_provider().install_default().unwrap();
        build().unwrap_err();
        tls.reload().unwrap_err();
    });
}
