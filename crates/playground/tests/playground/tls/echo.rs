//! What is served over TLS is what is served in clear.

use serde_json::json;

use super::{Papers, BACKENDS};
use crate::process::eventually;
use crate::DOORS;

#[test]
fn rustls_native_tls_and_openssl_are_served_at_every_door_by_both_back_ends() {
    let papers = Papers::new("clients");
    for backend in BACKENDS {
        for door in DOORS {
            let playground = papers.playground(backend, &format!("--handler {door} --framing lines"));
            for mut client in [papers.connect(&playground), papers.connect_natively(&playground)] {
                assert_eq!(client.ask("hello"), "hello", "{backend} {door}");
                assert_eq!(client.ask("!count"), "2");
                client.send_all(&["a", "b", "!bye see you", "too late"]);
                assert_eq!(client.until_the_end(), "a\nb\nsee you\n", "{backend} {door}");
            }
            // native-tls on OpenSSL speaks no TLS 1.3.
            let versions: &[_] = if backend == "rustls" { &["-tls1_2", "-tls1_3"] } else { &["-tls1_2", ""] };
            for version in versions {
                let answer = papers.openssl(&playground, version, b"hello\n!bye see you\n");
                assert_eq!(answer, b"hello\nsee you\n", "{backend} {door} {version}");
            }
            playground.has_closed("local", 4);
        }
    }
}

#[test]
fn every_framing_is_spoken_over_tls() {
    let papers = Papers::new("framings");
    for backend in BACKENDS {
        for door in DOORS {
            for framing in ["raw", "len2"] {
                let playground = papers.playground(backend, &format!("--handler {door} --framing {framing}"));
                let mut client = papers.connect(&playground);
                for packet in ["hello", "!counts", "x"] {
                    assert_eq!(client.ask(packet), packet, "{backend} {door} {framing}");
                }
                assert_eq!(client.ask("!count"), "4");
                assert_eq!(client.ask("!starttls"), "unsupported");
                client.send("!bye see you");
                assert_eq!(client.receive(), "see you");
                assert_eq!(client.until_the_end(), "", "{backend} {door} {framing}");
            }
        }
    }
}

#[test]
fn ping_and_chat_have_tls_too() {
    let papers = Papers::new("handlers");
    for backend in BACKENDS {
        let playground = papers.playground(backend, "--handler ping");
        let mut client = papers.connect(&playground);
        client.send_wire(b"\0\x04ping\0\x03huh\0\x04stop\0\x04ping");
        assert_eq!(client.until_the_end(), "\0\x04pong\0\x05what?\0\x02ok");

        let playground = papers.playground(backend, "--handler chat");
        let mut one = papers.connect(&playground);
        assert_eq!(one.ask("/who"), "guest-1");
        let mut two = papers.connect_natively(&playground);
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
fn tls_and_plain_listeners_are_listed_with_their_schemes() {
    let papers = Papers::new("urls");
    for backend in BACKENDS {
        for door in DOORS {
            let options =
                format!("{} --handler {door} --framing lines --listen tcp://127.0.0.1:0", papers.options(backend));
            let playground = crate::process::playground_with_tls_and(1, &options);
            let urls = ["tls", "tcp"].map(|kind| {
                let address = playground.addresses()[if kind == "tls" { 0 } else { 1 }];
                format!("{kind}://{address}")
            });
            assert_eq!(playground.urls(), urls);
            assert_eq!(playground.json("info")["listeners"], json!(urls));
            let mut secure = papers.greeted(&playground);
            let mut plain = crate::client::Client::connect(playground.addresses()[1], playground.wire());
            assert_eq!(plain.ask("!tls"), "none");
            assert_ne!(secure.ask("!tls"), "none");
            let list = playground.json("list");
            assert_eq!([&list[0]["listener"], &list[1]["listener"]], [&json!(urls[0]), &json!(urls[1])], "{door}");
            assert_eq!(list[0]["peer"], json!(secure.address().to_string()));
        }
    }
}

#[test]
fn the_console_reaches_connections_with_tls() {
    let papers = Papers::new("console");
    for backend in BACKENDS {
        for door in DOORS {
            let playground =
                papers.playground(backend, &format!("--handler {door} --framing lines --greeting welcome"));
            let (mut one, mut two) = (papers.connect(&playground), papers.connect(&playground));
            for client in [&mut one, &mut two] {
                client.expect(&["welcome"]);
                assert_eq!(client.ask("hello"), "hello");
            }
            for (command, answer) in
                [("send 1 to you", "ok"), ("broadcast to all", "ok 2"), ("ask 1", "1"), ("flood 1 1000", "ok")]
            {
                assert_eq!(playground.command(command), answer, "{backend} {door}: {command}");
            }
            one.expect(&["to you", "to all"]);
            two.expect(&["to all"]);
            assert_eq!(playground.command("kill 2"), "ok", "{backend} {door}");
            playground.has_closed("killed", 1);
            eventually(|| playground.command("ask 2") == "gone");
            assert_eq!(one.ask("!count"), "2");
        }
    }
}
