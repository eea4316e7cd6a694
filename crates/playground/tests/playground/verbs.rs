//! The verbs, at all doors.

use std::time::{Duration, Instant};

use crate::client::Wire;
use crate::process::playground;
use crate::DOORS;

#[test]
fn packets_come_back_and_verbs_are_answered_at_every_door_in_every_framing() {
    for door in DOORS {
        for framing in ["raw", "lines", "len1", "len2", "len4", "len8"] {
            let options = format!("--handler {door} --framing {framing}");
            let playground = playground(&options);
            let mut client = playground.connect();
            let peer = client.address().to_string();
            for (packet, answer) in [
                ("hello", "hello"),
                ("!count", "2"),
                ("!id", "1"),
                ("!peer", &peer),
                ("!tls", "none"),
                ("!starttls", "unsupported"),
                // Not quite verbs: these come back as they are.
                ("!counts", "!counts"),
                ("!count ", "!count "),
                ("!wait a while", "!wait a while"),
                (" !count", " !count"),
                ("!count", "11"),
            ] {
                assert_eq!(client.ask(packet), answer, "{options}: {packet}");
            }
            client.send("!bye see you");
            client.expect(&["see you"]);
            assert_eq!(client.until_gone(), "", "{options}");
        }
    }
}

#[test]
fn a_raw_answer_ends_as_the_verb_did() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door}"));
        let mut client = playground.connect();
        for (packet, answer) in
            [("!id", "1"), ("!id\n", "1\n"), ("!id\r\n", "1\r\n"), ("hello\r\n", "hello\r\n"), ("!id\n\n", "!id\n\n")]
        {
            assert_eq!(client.ask(packet), answer, "{door}");
        }
        client.send("!bye see you\n");
        assert_eq!(client.until_gone(), "see you\n", "{door}");
    }
}

#[test]
fn lines_end_with_lf_and_a_cr_before_it_is_dropped() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines"));
        let mut client = playground.connect();
        client.send_wire(b"!id\r\nhe\rllo\r\n\n!count\n");
        client.finish();
        assert_eq!(client.until_gone(), "1\nhe\rllo\n\n4\n", "{door}");
    }
}

#[test]
fn each_ending_is_counted_under_its_reason() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines"));
        for (verb, reason) in [("!stop", "local"), ("!panic", "panic"), ("!fail on purpose", "error")] {
            let mut client = playground.connect();
            client.send_all(&["first", verb]);
            let rest = client.until_gone();
            assert!(rest == "first\n" || verb == "!panic" && rest.is_empty(), "{door} {verb}: {rest:?}");
            playground.has_closed(reason, 1);
        }
        playground.greeted();
    }
}

#[test]
fn a_wait_holds_the_packets_behind_it_and_nobody_else() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines --acceptors 1"));
        let (mut waiting, mut other) = (playground.greeted(), playground.greeted());
        let began = Instant::now();
        waiting.send_all(&["!wait 400", "a", "!count"]);
        assert_eq!(other.ask("b"), "b");
        waiting.expect(&["waited", "a", "4"]);
        assert!(began.elapsed() >= Duration::from_millis(400), "{door}");
    }
}

#[test]
fn a_wait_is_dropped_when_the_peer_leaves() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines"));
        let mut client = playground.greeted();
        client.send("!wait 60000");
        client.finish();
        assert_eq!(client.until_gone(), "", "{door}");
        playground.has_closed("peer", 1);

        // With a packet behind it the peer still wants its answers.
        let mut client = playground.greeted();
        client.send_all(&["!wait 100", "a"]);
        client.finish();
        assert_eq!(client.until_gone(), "waited\na\n", "{door}");
    }
}

#[test]
fn a_passive_connection_is_not_read_for_a_while() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines"));
        let mut client = playground.greeted();
        let began = Instant::now();
        client.send_all(&["!passive 300", "after"]);
        client.expect(&["passive"]);
        assert_eq!(playground.command("send 1 between"), "ok");
        client.expect(&["between", "after"]);
        assert!(began.elapsed() >= Duration::from_millis(300), "{door}");
    }
}

#[test]
fn a_flood_comes_whole_and_before_what_is_behind_it() {
    for door in DOORS {
        for (framing, length) in [("lines", 1024), ("len1", 255), ("raw", 1024)] {
            let options = format!("--handler {door} --framing {framing}");
            let playground = playground(&options);
            let mut client = playground.greeted();
            let packet = "x".repeat(length);
            if Wire::of(&options) == Wire::Raw {
                client.send("!flood 300\n");
                let bytes = client.read(300 * length + 1);
                assert!(bytes[..300 * length].iter().all(|byte| *byte == b'x') && bytes.ends_with(b"\n"), "{options}");
            } else {
                client.send_all(&["!flood 300", "!count"]);
                client.expect(&[&*packet; 300]);
                client.expect(&["3"]);
            }
        }
    }
}

/// 200 MB are asked for and not read.
#[cfg(target_os = "linux")]
#[test]
fn a_flood_that_nobody_reads_costs_little_memory() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines"));
        let mut client = playground.connect();
        let before = playground.memory();
        client.send("!flood 200000");
        client.read(1_000_000);
        let grown = playground.memory().saturating_sub(before);
        assert!(grown < 20_000_000, "{door}: {grown} bytes");
    }
}

#[test]
fn condors_ping_speaks_packets_behind_two_bytes_of_length() {
    let playground = playground("--handler ping");
    let mut client = playground.connect();
    client.send_wire(b"\0\x04ping\0\x03huh\0\0\0\x04stop\0\x04ping");
    assert_eq!(client.until_gone(), "\0\x04pong\0\x05what?\0\x05what?\0\x02ok");
    playground.has_closed("local", 1);
}
