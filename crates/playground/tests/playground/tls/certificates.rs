//! Server and client certificates, reloads, and ALPN.

use std::path::PathBuf;

use super::{TestCerts, BACKENDS};
use crate::client::{tcp, Client};
use crate::link::{rustls, Rustls};
use crate::process::Playground;
use crate::HANDLERS;

impl TestCerts {
    fn handshake(
        &self,
        playground: &Playground,
        shows: Option<&(PathBuf, PathBuf)>,
        name: &str,
    ) -> std::io::Result<Rustls> {
        rustls(self.pki.client(shows), name, tcp(playground.address()).unwrap())
    }

    /// The certificate of the server for this server name.
    fn shown(&self, playground: &Playground, name: &str) -> Vec<u8> {
        let tls = self.handshake(playground, None, name).unwrap();
        tls.conn.peer_certificates().unwrap()[0].to_vec()
    }
}

fn der(file: &PathBuf) -> Vec<u8> {
    use ::rustls::pki_types::{pem::PemObject, CertificateDer};
    CertificateDer::from_pem_file(file).unwrap().to_vec()
}

#[test]
fn reload_tls_replaces_valid_and_keeps_old_certificates() {
    let certs = TestCerts::new("reload");
    let first = der(&certs.certificate);
    let (next, next_key) = certs.pki.issue_as("localhost", "next");
    let (third, _) = certs.pki.issue_as("localhost", "third");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let live = ["live.pem", "live.key"].map(|name| certs.pki.file(name));
            let put = |certificate: &PathBuf, key: &PathBuf| {
                std::fs::copy(certificate, &live[0]).unwrap();
                std::fs::copy(key, &live[1]).unwrap();
            };
            put(&certs.certificate, &certs.key);
            let options = format!("--tls-backend {backend} --handler {handler} --framing lines");
            let options = format!("{} {options}", super::pair(&live[0], &live[1]));
            let playground = crate::process::playground_with_tls(&options);
            let what = format!("{backend} {handler}");
            let mut old = certs.greeted(&playground);
            assert_eq!(playground.command("reload-tls"), "ok");
            assert_eq!(certs.shown(&playground, "localhost"), first, "{what}");

            put(&next, &next_key);
            assert_eq!(certs.shown(&playground, "localhost"), first, "{what}: not before it is asked for");
            assert_eq!(playground.command("reload-tls"), "ok");
            assert_eq!(certs.shown(&playground, "localhost"), der(&next), "{what}");

            for (spoil, named) in [
                (Box::new(|| put(&third, &next_key)) as Box<dyn Fn()>, "live.pem"),
                (Box::new(|| std::fs::write(&live[1], "nonsense").unwrap()), "live.key"),
                (Box::new(|| std::fs::remove_file(&live[0]).unwrap()), "live.pem"),
            ] {
                spoil();
                let answer = playground.command("reload-tls");
                assert!(answer.starts_with("error: ") && answer.contains(named), "{what}: {answer}");
                assert_eq!(certs.shown(&playground, "localhost"), der(&next), "{what}: {answer}");
            }
            put(&certs.certificate, &certs.key);
            assert_eq!(playground.command("reload-tls"), "ok");
            assert_eq!(certs.shown(&playground, "localhost"), first, "{what}");
            assert_eq!(old.ask("still here"), "still here", "{what}");
            // A TLS port and STARTTLS.
            assert_eq!(playground.json("info")["status"], "running");
        }
    }
}

#[test]
fn starttls_uses_the_current_certificate() {
    let certs = TestCerts::new("reload-starttls");
    let (next, next_key) = certs.pki.issue_as("localhost", "next");
    for backend in BACKENDS {
        let live = ["live.pem", "live.key"].map(|name| certs.pki.file(name));
        std::fs::copy(&certs.certificate, &live[0]).unwrap();
        std::fs::copy(&certs.key, &live[1]).unwrap();
        let options = format!("{} --tls-backend {backend} --framing lines", super::pair(&live[0], &live[1]));
        let playground = crate::process::playground(&options);
        let mut client = playground.greeted();
        std::fs::copy(&next, &live[0]).unwrap();
        std::fs::copy(&next_key, &live[1]).unwrap();
        assert_eq!(playground.command("reload-tls"), "ok");
        assert_eq!(client.ask("!starttls"), "go ahead");
        let tls = certs.secure(client.into_tcp()).unwrap();
        assert_eq!(tls.conn.peer_certificates().unwrap()[0].to_vec(), der(&next), "{backend}");
    }
}

#[test]
fn client_certificates_are_required_and_reported() {
    let certs = TestCerts::new("client-ca");
    let stranger = TestCerts::new("client-ca-stranger");
    let alice = certs.pki.issue("alice.example");
    let mallory = stranger.pki.issue("mallory.example");
    let ca = certs.pki.authority();
    for handler in HANDLERS {
        let options = format!("--handler {handler} --framing lines --client-ca {}", ca.display());
        let playground = certs.playground("rustls", &options);
        let mut client =
            Client::over(certs.handshake(&playground, Some(&alice), "localhost").unwrap(), playground.wire());
        assert_eq!(client.ask("!tls"), "TLSv1.3 alpn=- sni=localhost subject=alice.example", "{handler}");
        for shows in [None, Some(&mallory)] {
            // With TLS 1.3 the client sees the failure in its first read.
            let refused = certs.handshake(&playground, shows, "localhost");
            let refused = refused.and_then(|mut tls| std::io::Read::read(&mut tls, &mut [0]));
            assert!(refused.is_err(), "{handler}: {refused:?}");
        }
        playground.has_closed("handshake", 2);
        assert_eq!(client.ask("still here"), "still here");
        let openssl = |options: &str| certs.openssl(&playground, options, b"!tls\n!bye bye\n");
        let shown = format!("-cert {} -key {}", alice.0.display(), alice.1.display());
        let answer = b"TLSv1.3 alpn=- sni=localhost subject=alice.example\nbye\n";
        assert_eq!(openssl(&shown), answer, "{handler}");
        assert_eq!(openssl(&format!("{shown} -tls1_2")), [b"TLSv1.2", &answer[7..]].concat(), "{handler}");
        assert_eq!(openssl(""), b"", "{handler}");
        playground.has_closed("handshake", 3);
    }
}

#[test]
fn the_certificate_is_selected_by_server_name() {
    let certs = TestCerts::new("sni");
    let (a, b) = (certs.pki.issue("a.example"), certs.pki.issue("b.example"));
    let named =
        |name: &str, pair: &(PathBuf, PathBuf)| format!("--sni {name}={},{}", pair.0.display(), pair.1.display());
    let options = format!("{} {} --framing lines", named("a.example", &a), named("B.Example", &b));
    for handler in HANDLERS {
        let playground = certs.playground("rustls", &format!("{options} --handler {handler}"));
        for (name, pair) in [("a.example", &a.0), ("b.example", &b.0), ("localhost", &certs.certificate)] {
            assert_eq!(certs.shown(&playground, name), der(pair), "{handler} {name}");
            let mut client = Client::over(certs.handshake(&playground, None, name).unwrap(), playground.wire());
            assert_eq!(client.ask("!tls"), format!("TLSv1.3 alpn=- sni={name} subject=-"), "{handler}");
        }
        // An unknown name gets the default certificate, which the client may reject.
        assert!(certs.handshake(&playground, None, "c.example").is_err());
        playground.has_closed("handshake", 1);
    }
}

#[test]
fn alpn_is_negotiated() {
    let certs = TestCerts::new("alpn");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground =
                certs.playground(backend, &format!("--handler {handler} --framing lines --alpn echo/2,echo/1"));
            let ask = |names: &[&str]| {
                let mut config = certs.pki.client(None);
                config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
                let tls = rustls(config, "localhost", tcp(playground.address()).unwrap())?;
                let mut client = Client::over(tls, playground.wire());
                Ok::<_, std::io::Error>(client.ask("!tls").split(' ').nth(1).unwrap().to_owned())
            };
            let what = format!("{backend} {handler}");
            assert_eq!(ask(&["echo/1"]).unwrap(), "alpn=echo/1", "{what}");
            assert_eq!(ask(&["echo/1", "other", "echo/2"]).unwrap(), "alpn=echo/2", "{what}: the server prefers");
            assert_eq!(ask(&[]).unwrap(), "alpn=-", "{what}");
            // RFC 7301 requires an alert, which rustls sends. With native-tls it depends on the system.
            match ask(&["other"]) {
                Ok(answer) => assert_eq!((answer.as_str(), backend), ("alpn=-", "native"), "{what}"),
                Err(_) => playground.has_closed("handshake", 1),
            }
        }
    }
}

#[test]
fn tls_reports_the_version_and_alpn_of_openssl() {
    let certs = TestCerts::new("reported");
    let playground = certs.playground("rustls", "--framing lines --alpn h2,http/1.1");
    let answer = certs.openssl(&playground, "-tls1_2 -alpn http/1.1", b"!tls\n!stop\n");
    assert_eq!(answer, b"TLSv1.2 alpn=http/1.1 sni=localhost subject=-\n");
}
