//! Ports with TLS while the playground runs: suspended and resumed, added and removed.

use std::net::SocketAddr;

use serde_json::json;

use super::{Papers, BACKENDS};
use crate::client::{Client, Wire};
use crate::process::{eventually, playground, playground_with_tls_and, Playground};
use crate::DOORS;

fn listeners(playground: &Playground) -> Vec<String> {
    let info = playground.json("info");
    info["listeners"].as_array().unwrap().iter().map(|url| url.as_str().unwrap().to_owned()).collect()
}

fn address(url: &str) -> SocketAddr {
    url[6..].parse().unwrap()
}

#[test]
fn a_port_with_tls_is_suspended_and_resumed() {
    let papers = Papers::new("suspend");
    for backend in BACKENDS {
        for door in DOORS {
            let options = format!("{} --handler {door} --framing lines", papers.options(backend));
            let playground = playground_with_tls_and(1, &format!("{options} --listen tcp://127.0.0.1:0"));
            let mut old = papers.greeted(&playground);
            let before = listeners(&playground);
            assert_eq!(playground.command("suspend"), "ok");
            eventually(|| playground.refuses());
            assert_eq!(old.ask("still here"), "still here");
            assert_eq!(playground.command("resume"), "ok");
            papers.greeted(&playground);
            assert_eq!(listeners(&playground), before, "{backend} {door}");

            assert_eq!(playground.command("suspend hold"), "ok");
            let waiting = crate::client::tcp(playground.address()).unwrap();
            assert_eq!(old.ask("still here"), "still here");
            assert_eq!(playground.json("info")["accepted"], json!(2));
            assert_eq!(playground.command("resume"), "ok");
            let mut waiting = Client::over(papers.secure(waiting).unwrap(), Wire::Lines);
            assert_eq!(waiting.ask("!id"), "3", "{backend} {door}");
        }
    }
}

#[test]
fn a_handshake_under_way_outlives_a_suspension() {
    let papers = Papers::new("suspend-shake");
    for backend in BACKENDS {
        for door in DOORS {
            let playground = papers.playground(backend, &format!("--handler {door} --framing lines"));
            let tcp = crate::client::tcp(playground.address()).unwrap();
            eventually(|| playground.json("info")["accepted"] == json!(1));
            assert_eq!(playground.command("suspend"), "ok");
            let mut client = Client::over(papers.secure(tcp).unwrap(), Wire::Lines);
            assert_eq!(client.ask("hello"), "hello", "{backend} {door}");
        }
    }
}

#[test]
fn ports_with_tls_come_and_go() {
    let papers = Papers::new("set-listen");
    for backend in BACKENDS {
        for door in DOORS {
            let what = format!("{backend} {door}");
            let playground = playground(&format!("{} --handler {door} --framing lines", papers.options(backend)));
            let mut plain = playground.greeted();
            assert_eq!(playground.command("set listen tls://127.0.0.1:0"), "ok", "{what}");
            let [url] = &listeners(&playground)[..] else { panic!("{what}") };
            assert!(url.starts_with("tls://"), "{what}: {url}");
            let at = address(url);
            let mut secure = papers.connect_at(at, Wire::Lines);
            assert_eq!(secure.ask("hello"), "hello", "{what}");
            eventually(|| playground.refuses());
            assert_eq!(plain.ask("still here"), "still here", "{what}");
            let list = playground.json("list");
            assert_eq!(list[1]["listener"], json!(url), "{what}: {list}");

            // A port that is open keeps what is spoken on it; it is said, and nothing is changed.
            let answer = playground.command(&format!("set listen tcp://{at}"));
            assert!(answer.starts_with("error: ") && answer.contains("handshake"), "{what}: {answer}");
            assert_eq!(listeners(&playground), std::slice::from_ref(url), "{what}");
            assert_eq!(papers.connect_at(at, Wire::Lines).ask("hello"), "hello", "{what}");

            assert_eq!(playground.command("set listen tcp://127.0.0.1:0"), "ok", "{what}");
            eventually(|| crate::client::tcp(at).is_err());
            assert_eq!(secure.ask("still here"), "still here", "{what}");
            // The port is free again, for what it was before or for something else.
            assert_eq!(playground.command(&format!("set listen tcp://{at}")), "ok", "{what}");
            assert_eq!(Client::connect(at, Wire::Lines).ask("!tls"), "none", "{what}");
        }
    }
}

#[test]
fn without_a_certificate_there_is_no_port_with_tls() {
    let playground = playground("");
    let answer = playground.command("set listen tls://127.0.0.1:0");
    assert!(answer.starts_with("error: ") && answer.contains("--tls-cert"), "{answer}");
    assert_eq!(listeners(&playground), [playground.url()]);
}
