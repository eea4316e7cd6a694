//! What `list` shows of a connection: `state` and `unsent`.

use super::with_handlers;
use crate::client::tcp;
use crate::tls::TestCerts;
use crate::HANDLERS;

#[test]
fn the_state_is_waiting_during_a_wait_or_blocking_work() {
    with_handlers("--framing lines", |playground, options| {
        for (id, verb, first, state) in [
            (1, "hello", "hello", "open"),
            (2, "!wait 60000", "", "waiting"),
            (3, "!block 60000", "", "waiting"),
            (4, "!spawn 60000", "spawned", "open"),
            (5, "!passive 60000", "passive", "open"),
            (6, "!after 60000 later", "", "open"),
        ] {
            let mut client = playground.greeted();
            client.send(verb);
            if !first.is_empty() {
                client.expect(&[first]);
            }
            playground.shows(id, "state", state);
            assert_eq!(playground.command(&format!("kill {id}")), "ok", "{options}");
        }
        // It is open again after the wait.
        let mut client = playground.greeted();
        client.send("!wait 300");
        playground.shows(7, "state", "waiting");
        client.expect(&["waited"]);
        playground.shows(7, "state", "open");
    });
}

#[test]
fn the_state_is_handshaking_until_tls_is_established() {
    let certs = TestCerts::new("state");
    for handler in HANDLERS {
        let playground = certs.playground("rustls", &format!("--framing lines --handler {handler}"));
        let _silent = tcp(playground.address()).unwrap();
        playground.shows(1, "state", "handshaking");
        let _client = certs.greeted(&playground);
        playground.shows(2, "state", "open");
    }
}

#[test]
fn unsent_counts_what_the_peer_has_not_read() {
    with_handlers("--framing lines", |playground, options| {
        let mut client = playground.greeted();
        playground.shows(1, "unsent", 0);
        client.send("!flood 20000");
        playground.has_unsent(1, 1..);
        // It is closing until the peer has read the rest.
        assert_eq!(playground.command("close 1 60000 the last one"), "ok", "{options}");
        playground.shows(1, "state", "closing");
        playground.has_unsent(1, 1..);
        let all = client.until_gone();
        assert!(all.ends_with("x\nthe last one\n") && all.len() < 20_000 * 1025, "{options}");
        playground.has_closed("local", 1);
    });
}

#[test]
fn unsent_includes_what_others_sent() {
    with_handlers("--framing lines --outbox 10000000", |playground, options| {
        let (mut member, mut other) = (playground.member("room"), playground.connect());
        let publish = format!("!pub room {}", "x".repeat(10_000));
        let mut sent = 0;
        while playground.unsent(1) < 500_000 {
            assert_eq!(other.verb(&publish), "ok 1", "{options}");
            sent += 10_001;
        }
        member.read(sent);
        playground.shows(1, "unsent", 0);
    });
}
