//! Limits, and how the process ends, at all doors.

use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::process::{playground, Ended};
use crate::DOORS;

/// The time limit that the tests set. Timeouts must not fire earlier.
const LIMIT: Duration = Duration::from_millis(300);

#[test]
fn a_packet_of_the_longest_length_is_taken_and_one_byte_more_ends_the_connection() {
    for door in DOORS {
        for framing in ["lines", "len1", "len4"] {
            let playground = playground(&format!("--handler {door} --framing {framing} --max-frame 100"));
            let mut client = playground.connect();
            let (longest, too_long) = ("x".repeat(100), "x".repeat(101));
            assert_eq!(client.ask(&longest), longest, "{door} {framing}");
            client.send(&too_long);
            assert_eq!(client.until_gone(), "", "{door} {framing}");
            playground.has_closed("too_long", 1);
        }
    }
}

#[test]
fn raw_cuts_at_the_longest_length_and_goes_on() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --max-frame 100"));
        let mut client = playground.connect();
        client.send(&"x".repeat(250));
        client.read(250);
        let count: u64 = client.ask("!count").parse().unwrap();
        assert!(count >= 4, "{door}: {count}");
    }
}

#[test]
fn time_limits_end_a_connection_late_rather_than_early() {
    for door in DOORS {
        for (option, verb, reason) in [
            ("--idle-timeout", "hello", "idle"),
            ("--max-age", "hello", "max_age"),
            ("--send-timeout", "!flood 30000", "send_timeout"),
        ] {
            let playground = playground(&format!("--handler {door} --framing lines {option} 300"));
            let mut client = playground.connect();
            let began = Instant::now();
            client.send(verb);
            if reason != "send_timeout" {
                assert_eq!(client.until_gone(), "hello\n", "{door} {option}");
            }
            playground.has_closed(reason, 1);
            assert!(began.elapsed() >= LIMIT, "{door} {option}");
        }
    }
}

#[test]
fn a_limit_of_0_is_never() {
    let limits = "--idle-timeout 0 --packet-timeout 0 --send-timeout 0 --max-age 0";
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines {limits}"));
        let mut client = playground.greeted();
        client.send_wire(b"hel");
        assert!(client.is_silent_for(LIMIT), "{door}");
        client.send_wire(b"lo\n");
        client.expect(&["hello"]);
    }
}

#[test]
fn a_packet_left_half_sent_ends_the_connection_or_comes_back_as_asked() {
    for door in DOORS {
        let options = format!("--handler {door} --framing len2 --packet-timeout 300");
        let stops = playground(&options);
        let mut client = stops.greeted();
        let began = Instant::now();
        client.send_wire(b"\0\x05ab");
        assert_eq!(client.until_gone(), "", "{door}");
        assert!(began.elapsed() >= LIMIT, "{door}");
        stops.has_closed("packet_timeout", 1);

        let echoes = playground(&format!("{options} --on-packet-timeout echo"));
        let mut client = echoes.greeted();
        for _ in 0..2 {
            let began = Instant::now();
            client.send_wire(b"\0\x05ab");
            client.expect(&["\0\x05ab"]);
            assert!(began.elapsed() >= LIMIT, "{door}");
            assert_eq!(client.ask("whole"), "whole", "{door}");
        }
    }
}

#[test]
fn the_end_of_input_comes_in_order() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines"));
        let mut client = playground.connect();
        client.send_wire(b"a\nb\ntail");
        client.finish();
        assert_eq!(client.until_gone(), "a\nb\ntail\n", "{door}");
        playground.has_closed("peer", 1);
    }
}

#[test]
fn with_half_close_a_peer_that_has_shut_its_side_is_served_on() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines --half-close"));
        let mut client = playground.greeted();
        client.send_all(&["!wait 100", "last"]);
        client.finish();
        client.expect(&["waited", "last"]);
        assert_eq!(playground.command("send 1 still"), "ok", "{door}");
        client.expect(&["still"]);
        assert_eq!(playground.command("kill 1"), "ok", "{door}");
        assert_eq!(client.until_gone(), "", "{door}");
    }
}

#[test]
fn drain_tells_all_and_reports() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines --greeting hi --goodbye bye"));
        let mut clients = [playground.connect(), playground.connect()];
        clients.iter_mut().for_each(|client| client.expect(&["hi"]));
        let report = playground.json("drain 10000");
        assert_counts(&report, 2, 2, 0);
        clients.iter_mut().for_each(|client| assert_eq!(client.until_gone(), "bye\n", "{door}"));
        assert_drained(&playground.ended(), &report);
    }
}

#[test]
fn who_lingers_is_served_until_the_grace_is_over() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines --goodbye bye --linger"));
        let (mut client, mut console, mut second) = (playground.greeted(), playground.console(), playground.console());
        let began = Instant::now();
        console.send("drain 300");
        client.expect(&["bye"]);
        assert_eq!(client.ask("still here"), "still here", "{door}");
        let info: Value = serde_json::from_str(&second.ask("info")).unwrap();
        assert_eq!(info["status"], "draining", "{door}");
        assert_eq!(client.until_gone(), "", "{door}");
        assert!(began.elapsed() >= LIMIT, "{door}");
        let report: Value = serde_json::from_str(&console.receive()).unwrap();
        assert_counts(&report, 1, 0, 1);
        assert!(report["took_ms"].as_u64() >= Some(300), "{report}");
        assert_drained(&playground.ended(), &report);
    }
}

#[test]
fn a_drain_sends_what_was_queued_before() {
    for door in DOORS {
        let playground = playground(&format!("--handler {door} --framing lines --goodbye bye"));
        let mut client = playground.greeted();
        client.send("!flood 10000");
        client.read(1025);
        let mut console = playground.console();
        console.send("drain 20000");
        client.read(9_999 * 1025);
        client.expect(&["bye"]);
        assert_eq!(client.until_gone(), "", "{door}");
        assert_counts(&serde_json::from_str(&console.receive()).unwrap(), 1, 1, 0);
    }
}

#[cfg(unix)]
#[test]
fn sigterm_and_sigint_drain() {
    for signal in ["TERM", "INT"] {
        let playground = playground("--framing lines --goodbye bye");
        let mut client = playground.greeted();
        playground.signal(signal);
        assert_eq!(client.until_gone(), "bye\n");
        let ended = playground.ended();
        let report: Value = serde_json::from_str(ended.stdout.strip_prefix("drained ").unwrap()).unwrap();
        assert_counts(&report, 1, 1, 0);
        assert_drained(&ended, &report);
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_at_once() {
    let playground = playground("--framing lines --linger --goodbye bye --grace 600000");
    let mut client = playground.greeted();
    playground.signal("TERM");
    client.expect(&["bye"]);
    playground.signal("INT");
    client.until_gone();
    let ended = playground.ended();
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""));
}

#[track_caller]
fn assert_counts(report: &Value, asked: u64, finished: u64, forced: u64) {
    let expected = json!([asked, finished, forced]);
    assert_eq!(json!([report["asked"], report["finished"], report["forced"]]), expected, "{report}");
}

#[track_caller]
fn assert_drained(ended: &Ended, report: &Value) {
    assert_eq!((ended.code, &ended.stdout), (Some(0), &format!("drained {report}")));
}
