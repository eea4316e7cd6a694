//! An invalid TLS option ends the start with exit code 2 and is named.

use super::{pair, TestCerts};
use crate::process::run;

#[test]
fn an_invalid_tls_option_is_named() {
    let certs = TestCerts::new("options");
    let (other, other_key) = certs.pki.issue("other");
    let (good, nothing) = (pair(&certs.certificate, &certs.key), certs.pki.file("nothing.pem"));
    std::fs::write(certs.pki.file("empty.pem"), "").unwrap();
    let (empty, nowhere) = (certs.pki.file("empty.pem"), certs.pki.file("nowhere.pem"));
    std::fs::write(&nothing, "nothing").unwrap();
    let authority = certs.pki.authority();
    let sni = |certificate: &std::path::Path, key: &std::path::Path| {
        format!("{good} --tls-backend rustls --sni a.example={},{}", certificate.display(), key.display())
    };
    for (options, named) in [
        (pair(&nowhere, &certs.key), "--tls-cert: "),
        (pair(&certs.certificate, &nowhere), "--tls-key: "),
        (pair(&nothing, &certs.key), "--tls-cert: "),
        (pair(&empty, &certs.key), "--tls-cert: "),
        (pair(&certs.certificate, &nothing), "--tls-key: "),
        (pair(&certs.certificate, &empty), "--tls-key: "),
        (pair(&certs.certificate, &other), "--tls-key: "),
        (pair(&certs.certificate, &other_key), "--tls-cert, --tls-key: "),
        (format!("{good} --alpn="), "--alpn"),
        (format!("{good} --alpn a,,b"), "--alpn"),
        (format!("{good} --alpn {}", "x".repeat(256)), "--alpn"),
    ] {
        for backend in super::BACKENDS {
            refused(&format!("{options} --tls-backend {backend}"), named);
        }
    }
    for (options, named) in [
        (format!("{good} --client-ca {}", authority.display()), "--client-ca: "),
        (format!("{good} --sni a.example={},{}", other.display(), other_key.display()), "--sni: "),
        (format!("{good} --tls-backend rustls --client-ca {}", nowhere.display()), "--client-ca: "),
        (format!("{good} --tls-backend rustls --client-ca {}", nothing.display()), "--client-ca: "),
        (format!("{good} --tls-backend rustls --client-ca {}", other_key.display()), "--client-ca: "),
        (sni(&nowhere, &other_key), "--sni: "),
        (sni(&other, &nowhere), "--sni: "),
        (sni(&other, &nothing), "--sni: "),
        (sni(&other, &certs.key), "--sni: "),
        (sni(&other, &certs.key), "--sni: "),
        (format!("{good} --sni a.example"), "--sni"),
        (format!("{good} --sni =a,b"), "--sni"),
        (format!("{good} --sni a=b,"), "--sni"),
        (format!("{good} --tls-backend boring"), "--tls-backend"),
        (format!("{good} --handshake-timeout never"), "--handshake-timeout"),
        ("--client-ca ca.pem".into(), "--client-ca"),
        ("--alpn h2".into(), "--alpn"),
        ("--sni a=b,c".into(), "--sni"),
    ] {
        refused(&options, named);
    }
}

#[track_caller]
fn refused(options: &str, named: &str) {
    // With and without a TLS port.
    for listen in ["tls://127.0.0.1:0", "tcp://127.0.0.1:0"] {
        let ended = run(["--listen", listen].into_iter().chain(options.split_whitespace()));
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{options}: {}", ended.stderr);
        assert!(ended.stderr.contains(named), "{options}: {named}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{options}: {}", ended.stderr);
    }
}

#[test]
fn reload_tls_without_a_certificate_is_an_error() {
    let answer = crate::process::playground("").command("reload-tls");
    assert!(answer.starts_with("error: ") && answer.contains("--tls-cert"), "{answer}");
}
