//! `!starttls`: upgrades a plain connection to TLS.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{TestCerts, BACKENDS};
use crate::client::{Client, Wire};
use crate::process::{eventually, playground, Playground};
use crate::HANDLERS;

/// Every handler with each back end on a plain port.
fn with_every_handler(name: &str, options: &str, test: impl Fn(&TestCerts, &Playground, &str)) {
    let certs = TestCerts::new(name);
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = playground(&format!("{} --handler {handler} {options}", certs.options(backend)));
            test(&certs, &playground, &format!("{backend} {handler}"));
        }
    }
}

impl TestCerts {
    /// Continues over TLS after `go ahead`.
    fn upgraded(&self, client: Client, wire: Wire) -> Client {
        Client::over(self.secure(client.into_tcp()).unwrap(), wire)
    }
}

#[test]
fn starttls_upgrades_a_plain_connection() {
    for framing in ["raw", "lines", "len2"] {
        with_every_handler(
            &format!("upgrade-{framing}"),
            &format!("--framing {framing}"),
            |certs, playground, what| {
                let mut client = playground.greeted();
                assert_eq!(client.ask("!tls"), "none");
                assert_eq!(client.ask("!starttls"), "go ahead", "{what}");
                let mut client = certs.upgraded(client, playground.wire());
                let tls = client.ask("!tls");
                let version = if what.starts_with("rustls") { "TLSv1.3" } else { "TLSv1.2" };
                assert_eq!(tls, format!("{version} alpn=- sni=localhost subject=-"), "{what}");
                assert_eq!(client.ask("!starttls"), "unsupported");
                assert_eq!((client.ask("!count"), client.ask("!id")), ("6".into(), "1".into()), "{what}");
                client.send("!bye see you");
                client.expect(&["see you"]);
                assert_eq!(client.until_the_end(), "", "{what}");
                playground.has_closed("local", 1);
            },
        );
    }
}

#[test]
fn replies_before_starttls_are_sent_in_plaintext() {
    with_every_handler("queued", "--framing lines", |certs, playground, what| {
        let mut client = playground.connect();
        client.send_all(&["a", "!flood 2000", "!wait 50", "b", "!starttls"]);
        client.expect(&["a"]);
        let packet = "x".repeat(1024);
        for _ in 0..2000 {
            assert_eq!(client.receive(), packet);
        }
        client.expect(&["waited", "b", "go ahead"]);
        assert_eq!(certs.upgraded(client, Wire::Lines).ask("!count"), "6", "{what}");
    });
}

#[test]
fn plaintext_after_starttls_is_refused() {
    for framing in ["lines", "len2"] {
        with_every_handler(
            &format!("injected-{framing}"),
            &format!("--framing {framing}"),
            |certs, playground, what| {
                let mut client = playground.greeted();
                client.send_all(&["!starttls", "!bye evil"]);
                let rest = client.until_gone();
                assert!(!rest.contains("evil"), "{what}: {rest:?}");
                playground.has_closed("handshake", 1);
                // An incomplete packet.
                let mut client = playground.greeted();
                client.send("!starttls");
                client.expect(&["go ahead"]);
                client.send_wire(b"!by");
                client.send("e evil");
                let rest = client.until_gone();
                assert!(!rest.contains("evil"), "{what}: {rest:?}");
                playground.has_closed("handshake", 2);
                // A complete ClientHello is refused, too.
                let mut client = playground.greeted();
                let request: &[u8] = if framing == "lines" { b"!starttls\n" } else { b"\0\x09!starttls" };
                client.send_wire(&[request, &certs.hello()].concat());
                client.until_gone();
                playground.has_closed("handshake", 3);
                let info = playground.json("info");
                assert_eq!((&info["accepted"], &info["connections"]), (&json!(3), &json!(0)), "{what}");
            },
        );
    }
}

#[test]
fn pipelined_plaintext_after_starttls_is_not_answered() {
    with_every_handler("at-once", "--framing lines", |_, playground, what| {
        for _ in 0..10 {
            let mut client = playground.connect();
            client.send("!starttls");
            client.send("!bye evil");
            let rest = client.until_gone();
            assert!(!rest.contains("evil"), "{what}: {rest:?}");
        }
        playground.has_closed("handshake", 10);
    });
}

#[test]
fn a_silent_peer_after_starttls_times_out() {
    with_every_handler("stalled", "--framing lines --handshake-timeout 300", |_, playground, what| {
        let mut client = playground.greeted();
        let began = Instant::now();
        assert_eq!(client.ask("!starttls"), "go ahead");
        let mut other = playground.greeted();
        assert_eq!(client.until_gone(), "", "{what}");
        assert!(began.elapsed() >= Duration::from_millis(300), "{what}: early");
        assert_eq!(other.ask("still here"), "still here");
        playground.has_closed("handshake", 1);
    });
}

#[test]
fn messages_during_starttls_are_sent_over_tls() {
    with_every_handler("meanwhile", "--framing lines", |certs, playground, what| {
        let mut client = playground.greeted();
        assert_eq!(client.ask("!starttls"), "go ahead");
        for (command, answer) in [("send 1 secret", "ok"), ("broadcast secrets", "ok 1"), ("flood 1 100", "ok")] {
            assert_eq!(playground.command(command), answer, "{what}");
        }
        assert!(client.is_silent_for(Duration::from_millis(100)), "{what}: in clear");
        let mut client = certs.upgraded(client, Wire::Lines);
        client.expect(&["secret", "secrets"]);
        assert_eq!(client.ask("!count"), "3", "{what}");
    });
}

#[test]
fn a_drain_during_starttls_says_goodbye_over_tls() {
    with_every_handler("drained", "--framing lines --goodbye bye", |certs, playground, what| {
        let mut client = playground.greeted();
        assert_eq!(client.ask("!starttls"), "go ahead");
        let (mut console, mut other) = (playground.console(), playground.console());
        assert!(other.ask("info").contains("running"));
        console.send("drain 15000");
        eventually(|| other.ask("info").contains("draining"));
        assert_eq!(certs.upgraded(client, Wire::Lines).until_the_end(), "bye\n", "{what}");
        assert!(console.receive().contains("\"forced\":0"), "{what}");
    });
}

#[test]
fn a_kill_during_starttls_ends_the_connection() {
    with_every_handler("killed", "--framing lines", |_, playground, what| {
        let mut client = playground.greeted();
        assert_eq!(client.ask("!starttls"), "go ahead");
        assert_eq!(playground.command("kill 1"), "ok");
        assert_eq!(client.until_gone(), "", "{what}");
        playground.has_closed("killed", 1);
    });
}
