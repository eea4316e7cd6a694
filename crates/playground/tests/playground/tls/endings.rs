//! How TLS connections end: what the peer sees and what is counted.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{cut_off, TestCerts, BACKENDS};
use crate::process::Playground;
use crate::HANDLERS;

fn with_every_handler(name: &str, options: &str, test: impl Fn(&TestCerts, &Playground, &str)) {
    let certs = TestCerts::new(name);
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = certs.playground(backend, &format!("--handler {handler} --framing lines {options}"));
            test(&certs, &playground, &format!("{backend} {handler}"));
        }
    }
}

#[test]
fn every_orderly_end_sends_close_notify() {
    with_every_handler("close-notify", "--goodbye bye", |certs, playground, what| {
        for (verb, last) in [("!stop", ""), ("!bye see you", "see you\n")] {
            for mut client in [certs.connect(playground), certs.connect_natively(playground)] {
                client.send_all(&["first", verb]);
                assert_eq!(client.until_the_end(), format!("first\n{last}"), "{what} {verb}");
            }
        }
        let mut finished = certs.greeted(playground);
        finished.send("last");
        finished.finish();
        assert_eq!(finished.until_the_end(), "last\n", "{what}");
        playground.has_closed("local", 4);
        playground.has_closed("peer", 1);
        let mut clients = [certs.greeted(playground), certs.connect_natively(playground)];
        assert_eq!(clients[1].ask("hello"), "hello");
        let report = playground.json("drain 15000");
        assert_eq!((&report["finished"], &report["forced"]), (&json!(2), &json!(0)), "{what}");
        clients.iter_mut().for_each(|client| assert_eq!(client.until_the_end(), "bye\n", "{what}"));
    });
}

#[test]
fn an_end_without_close_notify_counts_as_truncated() {
    for half_close in ["", "--half-close"] {
        with_every_handler(&format!("truncated{half_close}"), half_close, |certs, playground, what| {
            for connect in [TestCerts::greeted, TestCerts::connect_natively] {
                let mut client = connect(certs, playground);
                assert_eq!(client.ask("hello"), "hello");
                cut_off(client);
            }
            playground.has_closed("truncated", 2);
            // Within a packet.
            let mut client = certs.greeted(playground);
            client.send_wire(b"half a line");
            cut_off(client);
            playground.has_closed("truncated", 3);
            let reset = certs.greeted(playground).into_tcp();
            socket2::SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
            drop(reset);
            playground.has_closed("peer", 1);
            assert_eq!(playground.json("info")["connections"], json!(0), "{what}");
        });
    }
}

#[test]
fn whole_packets_before_close_notify_are_answered() {
    with_every_handler("before-the-end", "", |certs, playground, what| {
        let mut client = certs.connect(playground);
        client.send_all(&["a", "b", "!wait 100", "c"]);
        client.finish();
        assert_eq!(client.until_the_end(), "a\nb\nwaited\nc\n", "{what}");
        playground.has_closed("peer", 1);
        // The last packet may be a wait: it is not cancelled.
        let mut client = certs.connect(playground);
        client.send("!wait 100");
        client.finish();
        assert_eq!(client.until_the_end(), "waited\n", "{what}");
        playground.has_closed("peer", 2);
    });
}

#[test]
fn half_close_serves_a_peer_after_close_notify() {
    with_every_handler("half-close", "--half-close", |certs, playground, what| {
        let mut client = certs.connect(playground);
        client.send("!wait 200");
        client.finish();
        client.expect(&["waited"]);
        assert_eq!(playground.command("send 1 more"), "ok");
        client.expect(&["more"]);
        assert_eq!(playground.command("kill 1"), "ok", "{what}");
        playground.has_closed("killed", 1);
    });
}

#[test]
fn close_reasons_are_the_same_as_in_plaintext() {
    with_every_handler("verbs", "--max-frame 100", |certs, playground, what| {
        for (packet, reason) in [("!panic", "panic"), ("!fail on purpose", "error"), (&"x".repeat(101), "too_long")] {
            let mut client = certs.greeted(playground);
            client.send(packet);
            client.until_gone_somehow();
            playground.has_closed(reason, 1);
        }
        certs.greeted(playground);
        assert_eq!(playground.json("info")["accepted"], json!(4), "{what}");
    });
}

#[test]
fn timeouts_apply_over_tls() {
    for (option, reason) in
        [("--idle-timeout 300", "idle"), ("--packet-timeout 300", "packet_timeout"), ("--max-age 300", "max_age")]
    {
        with_every_handler(reason, option, |certs, playground, what| {
            let mut began = Instant::now();
            let mut client = certs.greeted(playground);
            if reason == "packet_timeout" {
                began = Instant::now();
                client.send_wire(b"half a line");
            }
            client.until_gone_somehow();
            assert!(began.elapsed() >= Duration::from_millis(300), "{what} {reason}: early");
            playground.has_closed(reason, 1);
        });
    }
}

#[test]
fn an_incomplete_packet_is_echoed_at_its_timeout() {
    with_every_handler("echo-partial", "--packet-timeout 300 --on-packet-timeout echo", |certs, playground, what| {
        let mut client = certs.greeted(playground);
        client.send_wire(b"half a line");
        client.expect(&["half a line"]);
        assert_eq!(client.ask("whole"), "whole", "{what}");
    });
}

#[test]
fn a_peer_that_does_not_read_ends_at_the_send_timeout() {
    with_every_handler("send-timeout", "--send-timeout 300", |certs, playground, what| {
        let mut client = certs.greeted(playground);
        client.send("!flood 100000");
        playground.has_closed("send_timeout", 1);
        assert_eq!(certs.greeted(playground).ask("!id"), "2", "{what}");
    });
}
