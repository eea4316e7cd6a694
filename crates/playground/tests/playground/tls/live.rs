//! TLS ports that are suspended, resumed, added and removed.

use std::net::SocketAddr;

use serde_json::json;

use super::{TestCerts, BACKENDS};
use crate::client::{Client, Wire};
use crate::process::{eventually, playground, playground_with_tls_and, Playground};
use crate::HANDLERS;

fn listeners(playground: &Playground) -> Vec<String> {
    let info = playground.json("info");
    info["listeners"].as_array().unwrap().iter().map(|url| url.as_str().unwrap().to_owned()).collect()
}

fn address(url: &str) -> SocketAddr {
    url[6..].parse().unwrap()
}

#[test]
fn a_tls_port_is_suspended_and_resumed() {
    let certs = TestCerts::new("suspend");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let options = format!("{} --handler {handler} --framing lines", certs.options(backend));
            let playground = playground_with_tls_and(1, &format!("{options} --listen tcp://127.0.0.1:0"));
            let mut old = certs.greeted(&playground);
            let before = listeners(&playground);
            assert_eq!(playground.command("suspend"), "ok");
            eventually(|| playground.refuses());
            assert_eq!(old.ask("still here"), "still here");
            assert_eq!(playground.command("resume"), "ok");
            certs.greeted(&playground);
            assert_eq!(listeners(&playground), before, "{backend} {handler}");

            assert_eq!(playground.command("suspend hold"), "ok");
            let waiting = crate::client::tcp(playground.address()).unwrap();
            assert_eq!(old.ask("still here"), "still here");
            assert_eq!(playground.json("info")["accepted"], json!(2));
            assert_eq!(playground.command("resume"), "ok");
            let mut waiting = Client::over(certs.secure(waiting).unwrap(), Wire::Lines);
            assert_eq!(waiting.ask("!id"), "3", "{backend} {handler}");
        }
    }
}

#[test]
fn a_running_handshake_survives_a_suspension() {
    let certs = TestCerts::new("suspend-handshake");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = certs.playground(backend, &format!("--handler {handler} --framing lines"));
            let tcp = crate::client::tcp(playground.address()).unwrap();
            eventually(|| playground.json("info")["accepted"] == json!(1));
            assert_eq!(playground.command("suspend"), "ok");
            let mut client = Client::over(certs.secure(tcp).unwrap(), Wire::Lines);
            assert_eq!(client.ask("hello"), "hello", "{backend} {handler}");
        }
    }
}

#[test]
fn tls_ports_are_added_and_removed() {
    let certs = TestCerts::new("set-listen");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let what = format!("{backend} {handler}");
            let playground = playground(&format!("{} --handler {handler} --framing lines", certs.options(backend)));
            let mut plain = playground.greeted();
            assert_eq!(playground.command("set listen tls://127.0.0.1:0"), "ok", "{what}");
            let [url] = &listeners(&playground)[..] else { panic!("{what}") };
            assert!(url.starts_with("tls://"), "{what}: {url}");
            let at = address(url);
            let mut secure = certs.connect_at(at, Wire::Lines);
            assert_eq!(secure.ask("hello"), "hello", "{what}");
            eventually(|| playground.refuses());
            assert_eq!(plain.ask("still here"), "still here", "{what}");
            let list = playground.json("list");
            assert_eq!(list[1]["listener"], json!(url), "{what}: {list}");

            // An open port switches between TCP and TLS for new connections.
            assert_eq!(playground.command(&format!("set listen tcp://{at}")), "ok", "{what}");
            assert_eq!(listeners(&playground), [format!("tcp://{at}")], "{what}");
            assert_eq!(Client::connect(at, Wire::Lines).ask("!tls"), "none", "{what}");
            assert_eq!(playground.command(&format!("set listen tls://{at}")), "ok", "{what}");
            assert_eq!(listeners(&playground), std::slice::from_ref(url), "{what}");
            assert_eq!(certs.connect_at(at, Wire::Lines).ask("hello"), "hello", "{what}");

            assert_eq!(playground.command("set listen tcp://127.0.0.1:0"), "ok", "{what}");
            eventually(|| crate::client::tcp(at).is_err());
            assert_eq!(secure.ask("still here"), "still here", "{what}");
            // The port is free again.
            assert_eq!(playground.command(&format!("set listen tcp://{at}")), "ok", "{what}");
            assert_eq!(Client::connect(at, Wire::Lines).ask("!tls"), "none", "{what}");
        }
    }
}

#[test]
fn a_tls_port_needs_a_certificate() {
    let playground = playground("");
    let answer = playground.command("set listen tls://127.0.0.1:0");
    assert!(answer.starts_with("error: ") && answer.contains("--tls-cert"), "{answer}");
    assert_eq!(listeners(&playground), [playground.url()]);
}
