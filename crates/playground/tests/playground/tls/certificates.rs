//! Which certificate is shown to whom, read again while running; which one is asked for; what is agreed on.

use std::path::PathBuf;

use super::{Papers, BACKENDS};
use crate::client::{tcp, Client};
use crate::link::{rustls, Rustls};
use crate::process::Playground;
use crate::DOORS;

impl Papers {
    fn shake(
        &self,
        playground: &Playground,
        shows: Option<&(PathBuf, PathBuf)>,
        name: &str,
    ) -> std::io::Result<Rustls> {
        rustls(self.pki.client(shows), name, tcp(playground.address()).unwrap())
    }

    /// The certificate that is shown to who asks for this name.
    fn shown(&self, playground: &Playground, name: &str) -> Vec<u8> {
        let tls = self.shake(playground, None, name).unwrap();
        tls.conn.peer_certificates().unwrap()[0].to_vec()
    }
}

fn der(file: &PathBuf) -> Vec<u8> {
    use ::rustls::pki_types::{pem::PemObject, CertificateDer};
    CertificateDer::from_pem_file(file).unwrap().to_vec()
}

#[test]
fn reload_tls_shows_the_new_ones_to_new_peers_and_keeps_the_old_ones_when_the_new_are_bad() {
    let papers = Papers::new("reload");
    let first = der(&papers.certificate);
    let (next, next_key) = papers.pki.issue_as("localhost", "next");
    let (third, _) = papers.pki.issue_as("localhost", "third");
    for backend in BACKENDS {
        for door in DOORS {
            let live = ["live.pem", "live.key"].map(|name| papers.pki.file(name));
            let put = |certificate: &PathBuf, key: &PathBuf| {
                std::fs::copy(certificate, &live[0]).unwrap();
                std::fs::copy(key, &live[1]).unwrap();
            };
            put(&papers.certificate, &papers.key);
            let options = format!("--tls-backend {backend} --handler {door} --framing lines");
            let options = format!("{} {options}", super::pair(&live[0], &live[1]));
            let playground = crate::process::playground_with_tls(&options);
            let what = format!("{backend} {door}");
            let mut old = papers.greeted(&playground);
            assert_eq!(playground.command("reload-tls"), "ok");
            assert_eq!(papers.shown(&playground, "localhost"), first, "{what}");

            put(&next, &next_key);
            assert_eq!(papers.shown(&playground, "localhost"), first, "{what}: not before it is asked for");
            assert_eq!(playground.command("reload-tls"), "ok");
            assert_eq!(papers.shown(&playground, "localhost"), der(&next), "{what}");

            for (spoil, named) in [
                (Box::new(|| put(&third, &next_key)) as Box<dyn Fn()>, "live.pem"),
                (Box::new(|| std::fs::write(&live[1], "nonsense").unwrap()), "live.key"),
                (Box::new(|| std::fs::remove_file(&live[0]).unwrap()), "live.pem"),
            ] {
                spoil();
                let answer = playground.command("reload-tls");
                assert!(answer.starts_with("error: ") && answer.contains(named), "{what}: {answer}");
                assert_eq!(papers.shown(&playground, "localhost"), der(&next), "{what}: {answer}");
            }
            put(&papers.certificate, &papers.key);
            assert_eq!(playground.command("reload-tls"), "ok");
            assert_eq!(papers.shown(&playground, "localhost"), first, "{what}");
            assert_eq!(old.ask("still here"), "still here", "{what}");
            // Both ways to TLS.
            assert_eq!(playground.json("info")["status"], "running");
        }
    }
}

#[test]
fn starttls_goes_by_the_certificate_of_the_moment() {
    let papers = Papers::new("reload-starttls");
    let (next, next_key) = papers.pki.issue_as("localhost", "next");
    for backend in BACKENDS {
        let live = ["live.pem", "live.key"].map(|name| papers.pki.file(name));
        std::fs::copy(&papers.certificate, &live[0]).unwrap();
        std::fs::copy(&papers.key, &live[1]).unwrap();
        let options = format!("{} --tls-backend {backend} --framing lines", super::pair(&live[0], &live[1]));
        let playground = crate::process::playground(&options);
        let mut client = playground.greeted();
        std::fs::copy(&next, &live[0]).unwrap();
        std::fs::copy(&next_key, &live[1]).unwrap();
        assert_eq!(playground.command("reload-tls"), "ok");
        assert_eq!(client.ask("!starttls"), "go ahead");
        let tls = papers.secure(client.into_tcp()).unwrap();
        assert_eq!(tls.conn.peer_certificates().unwrap()[0].to_vec(), der(&next), "{backend}");
    }
}

#[test]
fn client_certificates_are_requested_and_reported() {
    let papers = Papers::new("client-ca");
    let stranger = Papers::new("client-ca-stranger");
    let alice = papers.pki.issue("alice.example");
    let mallory = stranger.pki.issue("mallory.example");
    let ca = papers.pki.authority();
    for door in DOORS {
        let options = format!("--handler {door} --framing lines --client-ca {}", ca.display());
        let playground = papers.playground("rustls", &options);
        let mut client = Client::over(papers.shake(&playground, Some(&alice), "localhost").unwrap(), playground.wire());
        assert_eq!(client.ask("!tls"), "TLSv1.3 alpn=- sni=localhost subject=alice.example", "{door}");
        for shows in [None, Some(&mallory)] {
            // With TLS 1.3 the client learns it from the first read.
            let refused = papers.shake(&playground, shows, "localhost");
            let refused = refused.and_then(|mut tls| std::io::Read::read(&mut tls, &mut [0]));
            assert!(refused.is_err(), "{door}: {refused:?}");
        }
        playground.has_closed("handshake", 2);
        assert_eq!(client.ask("still here"), "still here");
        let openssl = |options: &str| papers.openssl(&playground, options, b"!tls\n!bye bye\n");
        let shown = format!("-cert {} -key {}", alice.0.display(), alice.1.display());
        let answer = b"TLSv1.3 alpn=- sni=localhost subject=alice.example\nbye\n";
        assert_eq!(openssl(&shown), answer, "{door}");
        assert_eq!(openssl(&format!("{shown} -tls1_2")), [b"TLSv1.2", &answer[7..]].concat(), "{door}");
        assert_eq!(openssl(""), b"", "{door}");
        playground.has_closed("handshake", 3);
    }
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let papers = Papers::new("sni");
    let (a, b) = (papers.pki.issue("a.example"), papers.pki.issue("b.example"));
    let named =
        |name: &str, pair: &(PathBuf, PathBuf)| format!("--sni {name}={},{}", pair.0.display(), pair.1.display());
    let options = format!("{} {} --framing lines", named("a.example", &a), named("B.Example", &b));
    for door in DOORS {
        let playground = papers.playground("rustls", &format!("{options} --handler {door}"));
        for (name, pair) in [("a.example", &a.0), ("b.example", &b.0), ("localhost", &papers.certificate)] {
            assert_eq!(papers.shown(&playground, name), der(pair), "{door} {name}");
            let mut client = Client::over(papers.shake(&playground, None, name).unwrap(), playground.wire());
            assert_eq!(client.ask("!tls"), format!("TLSv1.3 alpn=- sni={name} subject=-"), "{door}");
        }
        // An unknown name gets the default certificate, which the client rejects.
        assert!(papers.shake(&playground, None, "c.example").is_err());
        playground.has_closed("handshake", 1);
    }
}

#[test]
fn the_application_protocol_is_agreed_on() {
    let papers = Papers::new("alpn");
    for backend in BACKENDS {
        for door in DOORS {
            let playground =
                papers.playground(backend, &format!("--handler {door} --framing lines --alpn echo/2,echo/1"));
            let ask = |names: &[&str]| {
                let mut config = papers.pki.client(None);
                config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
                let tls = rustls(config, "localhost", tcp(playground.address()).unwrap())?;
                let mut client = Client::over(tls, playground.wire());
                Ok::<_, std::io::Error>(client.ask("!tls").split(' ').nth(1).unwrap().to_owned())
            };
            let what = format!("{backend} {door}");
            assert_eq!(ask(&["echo/1"]).unwrap(), "alpn=echo/1", "{what}");
            assert_eq!(ask(&["echo/1", "other", "echo/2"]).unwrap(), "alpn=echo/2", "{what}: the server prefers");
            assert_eq!(ask(&[]).unwrap(), "alpn=-", "{what}");
            // RFC 7301 wants an alert, by which rustls goes; what native-tls does is the system's business.
            match ask(&["other"]) {
                Ok(answer) => assert_eq!((answer.as_str(), backend), ("alpn=-", "native"), "{what}"),
                Err(_) => playground.has_closed("handshake", 1),
            }
        }
    }
}

#[test]
fn the_version_alpn_and_name_sent_by_openssl_are_reported() {
    let papers = Papers::new("openssl-alpn");
    let playground = papers.playground("rustls", "--framing lines --alpn h2,http/1.1");
    let answer = papers.openssl(&playground, "-tls1_2 -alpn http/1.1", b"!tls\n!stop\n");
    assert_eq!(answer, b"TLSv1.2 alpn=http/1.1 sni=localhost subject=-\n");
}
