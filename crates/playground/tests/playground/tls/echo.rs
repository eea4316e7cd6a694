//! All handlers and framings work over TLS as in plaintext.

use serde_json::json;

use super::{TestCerts, BACKENDS};
use crate::process::eventually;
use crate::HANDLERS;

#[test]
fn all_clients_work_with_all_handlers_and_back_ends() {
    let certs = TestCerts::new("clients");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = certs.playground(backend, &format!("--handler {handler} --framing lines"));
            for mut client in [certs.connect(&playground), certs.connect_natively(&playground)] {
                assert_eq!(client.ask("hello"), "hello", "{backend} {handler}");
                assert_eq!(client.ask("!count"), "2");
                client.send_all(&["a", "b", "!bye see you", "too late"]);
                assert_eq!(client.until_the_end(), "a\nb\nsee you\n", "{backend} {handler}");
            }
            // native-tls on OpenSSL does not support TLS 1.3.
            let versions: &[_] = if backend == "rustls" { &["-tls1_2", "-tls1_3"] } else { &["-tls1_2", ""] };
            for version in versions {
                let answer = certs.openssl(&playground, version, b"hello\n!bye see you\n");
                assert_eq!(answer, b"hello\nsee you\n", "{backend} {handler} {version}");
            }
            playground.has_closed("local", 4);
        }
    }
}

#[test]
fn every_framing_works_over_tls() {
    let certs = TestCerts::new("framings");
    for backend in BACKENDS {
        for handler in HANDLERS {
            for framing in ["raw", "len2"] {
                let playground = certs.playground(backend, &format!("--handler {handler} --framing {framing}"));
                let mut client = certs.connect(&playground);
                for packet in ["hello", "!counts", "x"] {
                    assert_eq!(client.ask(packet), packet, "{backend} {handler} {framing}");
                }
                assert_eq!(client.ask("!count"), "4");
                assert_eq!(client.ask("!starttls"), "unsupported");
                client.send("!bye see you");
                assert_eq!(client.receive(), "see you");
                assert_eq!(client.until_the_end(), "", "{backend} {handler} {framing}");
            }
        }
    }
}

#[test]
fn ping_and_chat_work_over_tls() {
    let certs = TestCerts::new("handlers");
    for backend in BACKENDS {
        let playground = certs.playground(backend, "--handler ping");
        let mut client = certs.connect(&playground);
        client.send_wire(b"\0\x04ping\0\x03huh\0\x04stop\0\x04ping");
        assert_eq!(client.until_the_end(), "\0\x04pong\0\x05what?\0\x02ok");

        let playground = certs.playground(backend, "--handler chat");
        let mut one = certs.connect(&playground);
        assert_eq!(one.ask("/who"), "guest-1");
        let mut two = certs.connect_natively(&playground);
        assert_eq!(two.ask("/who"), "guest-1 guest-2");
        one.expect(&["* guest-2 joined"]);
        two.send("hello");
        one.expect(&["guest-2: hello"]);
        one.send_all(&["/nick ann", "hi"]);
        two.expect(&["ann: hi"]);
        one.send("/quit");
        assert_eq!(one.until_the_end(), "");
        two.expect(&["* ann left"]);
    }
}

#[test]
fn tls_and_plain_listeners_are_listed_with_their_url() {
    let certs = TestCerts::new("urls");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let options =
                format!("{} --handler {handler} --framing lines --listen tcp://127.0.0.1:0", certs.options(backend));
            let playground = crate::process::playground_with_tls_and(1, &options);
            let urls = ["tls", "tcp"].map(|kind| {
                let address = playground.addresses()[if kind == "tls" { 0 } else { 1 }];
                format!("{kind}://{address}")
            });
            assert_eq!(playground.urls(), urls);
            assert_eq!(playground.json("info")["listeners"], json!(urls));
            let mut secure = certs.greeted(&playground);
            let mut plain = crate::client::Client::connect(playground.addresses()[1], playground.wire());
            assert_eq!(plain.ask("!tls"), "none");
            assert_ne!(secure.ask("!tls"), "none");
            let list = playground.json("list");
            assert_eq!([&list[0]["listener"], &list[1]["listener"]], [&json!(urls[0]), &json!(urls[1])], "{handler}");
            assert_eq!(list[0]["peer"], json!(secure.address().to_string()));
        }
    }
}

#[test]
fn the_console_reaches_tls_connections() {
    let certs = TestCerts::new("console");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground =
                certs.playground(backend, &format!("--handler {handler} --framing lines --greeting welcome"));
            let (mut one, mut two) = (certs.connect(&playground), certs.connect(&playground));
            for client in [&mut one, &mut two] {
                client.expect(&["welcome"]);
                assert_eq!(client.ask("hello"), "hello");
            }
            for (command, answer) in
                [("send 1 to you", "ok"), ("broadcast to all", "ok 2"), ("ask 1", "1"), ("flood 1 1000", "ok")]
            {
                assert_eq!(playground.command(command), answer, "{backend} {handler}: {command}");
            }
            one.expect(&["to you", "to all"]);
            two.expect(&["to all"]);
            assert_eq!(playground.command("kill 2"), "ok", "{backend} {handler}");
            playground.has_closed("killed", 1);
            eventually(|| playground.command("ask 2") == "gone");
            assert_eq!(one.ask("!count"), "2");
        }
    }
}
