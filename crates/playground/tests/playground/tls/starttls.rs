//! `!starttls`: from clear to TLS in the middle of a connection.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Papers, BACKENDS};
use crate::client::{Client, Wire};
use crate::process::{eventually, playground, Playground};
use crate::DOORS;

/// At every door, with a certificate of each back end, on a port without TLS.
fn at_every_door(name: &str, options: &str, test: impl Fn(&Papers, &Playground, &str)) {
    let papers = Papers::new(name);
    for backend in BACKENDS {
        for door in DOORS {
            let playground = playground(&format!("{} --handler {door} {options}", papers.options(backend)));
            test(&papers, &playground, &format!("{backend} {door}"));
        }
    }
}

impl Papers {
    /// Goes on over TLS, where `go ahead` was said.
    fn upgraded(&self, client: Client, wire: Wire) -> Client {
        Client::over(self.secure(client.into_tcp()).unwrap(), wire)
    }
}

#[test]
fn a_plain_connection_becomes_one_with_tls() {
    for framing in ["raw", "lines", "len2"] {
        at_every_door(&format!("upgrade-{framing}"), &format!("--framing {framing}"), |papers, playground, what| {
            let mut client = playground.greeted();
            assert_eq!(client.ask("!tls"), "none");
            assert_eq!(client.ask("!starttls"), "go ahead", "{what}");
            let mut client = papers.upgraded(client, playground.wire());
            let tls = client.ask("!tls");
            let version = if what.starts_with("rustls") { "TLSv1.3" } else { "TLSv1.2" };
            assert_eq!(tls, format!("{version} alpn=- sni=localhost subject=-"), "{what}");
            assert_eq!(client.ask("!starttls"), "unsupported");
            assert_eq!((client.ask("!count"), client.ask("!id")), ("6".into(), "1".into()), "{what}");
            client.send("!bye see you");
            client.expect(&["see you"]);
            assert_eq!(client.until_the_end(), "", "{what}");
            playground.has_closed("local", 1);
        });
    }
}

#[test]
fn what_was_asked_for_before_leaves_in_clear_first() {
    at_every_door("queued", "--framing lines", |papers, playground, what| {
        let mut client = playground.connect();
        client.send_all(&["a", "!flood 2000", "!wait 50", "b", "!starttls"]);
        client.expect(&["a"]);
        let packet = "x".repeat(1024);
        for _ in 0..2000 {
            assert_eq!(client.receive(), packet);
        }
        client.expect(&["waited", "b", "go ahead"]);
        assert_eq!(papers.upgraded(client, Wire::Lines).ask("!count"), "6", "{what}");
    });
}

#[test]
fn bytes_in_clear_behind_it_are_refused_and_never_taken_for_what_comes_under_tls() {
    for framing in ["lines", "len2"] {
        at_every_door(&format!("injected-{framing}"), &format!("--framing {framing}"), |papers, playground, what| {
            let mut client = playground.greeted();
            client.send_all(&["!starttls", "!bye evil"]);
            let rest = client.until_gone();
            assert!(!rest.contains("evil"), "{what}: {rest:?}");
            playground.has_closed("handshake", 1);
            // A part of a packet.
            let mut client = playground.greeted();
            client.send("!starttls");
            client.expect(&["go ahead"]);
            client.send_wire(b"!by");
            client.send("e evil");
            let rest = client.until_gone();
            assert!(!rest.contains("evil"), "{what}: {rest:?}");
            playground.has_closed("handshake", 2);
            // A whole ClientHello does not make it better.
            let mut client = playground.greeted();
            let request: &[u8] = if framing == "lines" { b"!starttls\n" } else { b"\0\x09!starttls" };
            client.send_wire(&[request, &papers.hello()].concat());
            client.until_gone();
            playground.has_closed("handshake", 3);
            let info = playground.json("info");
            assert_eq!((&info["accepted"], &info["connections"]), (&json!(3), &json!(0)), "{what}");
        });
    }
}

#[test]
fn bytes_in_clear_behind_it_without_waiting_are_not_answered() {
    at_every_door("at-once", "--framing lines", |_, playground, what| {
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
fn a_peer_that_asks_for_it_and_is_silent_then_has_the_time_of_a_handshake() {
    at_every_door("stalled", "--framing lines --handshake-timeout 300", |_, playground, what| {
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
fn what_is_sent_to_it_meanwhile_goes_under_tls() {
    at_every_door("meanwhile", "--framing lines", |papers, playground, what| {
        let mut client = playground.greeted();
        assert_eq!(client.ask("!starttls"), "go ahead");
        for (command, answer) in [("send 1 secret", "ok"), ("broadcast secrets", "ok 1"), ("flood 1 100", "ok")] {
            assert_eq!(playground.command(command), answer, "{what}");
        }
        assert!(client.is_silent_for(Duration::from_millis(100)), "{what}: in clear");
        let mut client = papers.upgraded(client, Wire::Lines);
        client.expect(&["secret", "secrets"]);
        assert_eq!(client.ask("!count"), "3", "{what}");
    });
}

#[test]
fn a_drain_meanwhile_lets_it_finish_and_take_its_leave_under_tls() {
    at_every_door("drained", "--framing lines --goodbye bye", |papers, playground, what| {
        let mut client = playground.greeted();
        assert_eq!(client.ask("!starttls"), "go ahead");
        let (mut console, mut other) = (playground.console(), playground.console());
        assert!(other.ask("info").contains("running"));
        console.send("drain 15000");
        eventually(|| other.ask("info").contains("draining"));
        assert_eq!(papers.upgraded(client, Wire::Lines).until_the_end(), "bye\n", "{what}");
        assert!(console.receive().contains("\"forced\":0"), "{what}");
    });
}

#[test]
fn a_kill_meanwhile_ends_it() {
    at_every_door("killed", "--framing lines", |_, playground, what| {
        let mut client = playground.greeted();
        assert_eq!(client.ask("!starttls"), "go ahead");
        assert_eq!(playground.command("kill 1"), "ok");
        assert_eq!(client.until_gone(), "", "{what}");
        playground.has_closed("killed", 1);
    });
}
