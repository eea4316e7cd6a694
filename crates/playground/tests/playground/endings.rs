//! Timeouts, limits, and the end of the process, with all handlers.

use std::time::{Duration, Instant};

use serde_json::{json, Value};

use crate::process::{playground, Ended};
use crate::HANDLERS;

/// The length of the timeouts under test. They never fire early.
const LIMIT: Duration = Duration::from_millis(300);

#[test]
fn a_packet_of_max_frame_is_accepted_and_a_longer_one_is_not() {
    for handler in HANDLERS {
        for framing in ["lines", "len1", "len4"] {
            let playground = playground(&format!("--handler {handler} --framing {framing} --max-frame 100"));
            let mut client = playground.connect();
            let (longest, too_long) = ("x".repeat(100), "x".repeat(101));
            assert_eq!(client.ask(&longest), longest, "{handler} {framing}");
            client.send(&too_long);
            assert_eq!(client.until_gone(), "", "{handler} {framing}");
            playground.has_closed("too_long", 1);
        }
    }
}

#[test]
fn raw_splits_at_max_frame_and_continues() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --max-frame 100"));
        let mut client = playground.connect();
        client.send(&"x".repeat(250));
        client.read(250);
        let count: u64 = client.ask("!count").parse().unwrap();
        assert!(count >= 4, "{handler}: {count}");
    }
}

#[test]
fn timeouts_never_fire_early() {
    for handler in HANDLERS {
        for (option, verb, reason) in [
            ("--idle-timeout", "hello", "idle"),
            ("--max-age", "hello", "max_age"),
            ("--send-timeout", "!flood 30000", "send_timeout"),
        ] {
            let playground = playground(&format!("--handler {handler} --framing lines {option} 300"));
            let mut client = playground.connect();
            let began = Instant::now();
            client.send(verb);
            if reason != "send_timeout" {
                assert_eq!(client.until_gone(), "hello\n", "{handler} {option}");
            }
            playground.has_closed(reason, 1);
            assert!(began.elapsed() >= LIMIT, "{handler} {option}");
        }
    }
}

#[test]
fn a_timeout_of_0_never_fires() {
    let limits = "--idle-timeout 0 --packet-timeout 0 --send-timeout 0 --max-age 0";
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines {limits}"));
        let mut client = playground.greeted();
        client.send_wire(b"hel");
        assert!(client.is_silent_for(LIMIT), "{handler}");
        client.send_wire(b"lo\n");
        client.expect(&["hello"]);
    }
}

#[test]
fn an_incomplete_packet_stops_or_is_echoed_at_its_timeout() {
    for handler in HANDLERS {
        let options = format!("--handler {handler} --framing len2 --packet-timeout 300");
        let stops = playground(&options);
        let mut client = stops.greeted();
        let began = Instant::now();
        client.send_wire(b"\0\x05ab");
        assert_eq!(client.until_gone(), "", "{handler}");
        assert!(began.elapsed() >= LIMIT, "{handler}");
        stops.has_closed("packet_timeout", 1);

        let echoes = playground(&format!("{options} --on-packet-timeout echo"));
        let mut client = echoes.greeted();
        for _ in 0..2 {
            let began = Instant::now();
            client.send_wire(b"\0\x05ab");
            client.expect(&["\0\x05ab"]);
            assert!(began.elapsed() >= LIMIT, "{handler}");
            assert_eq!(client.ask("whole"), "whole", "{handler}");
        }
    }
}

#[test]
fn a_fin_is_handled_after_the_packets_before_it() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        let mut client = playground.connect();
        client.send_wire(b"a\nb\ntail");
        client.finish();
        assert_eq!(client.until_gone(), "a\nb\ntail\n", "{handler}");
        playground.has_closed("peer", 1);
    }
}

#[test]
fn half_close_serves_a_peer_after_its_fin() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --half-close"));
        let mut client = playground.greeted();
        client.send_all(&["!wait 100", "last"]);
        client.finish();
        client.expect(&["waited", "last"]);
        assert_eq!(playground.command("send 1 still"), "ok", "{handler}");
        client.expect(&["still"]);
        assert_eq!(playground.command("kill 1"), "ok", "{handler}");
        assert_eq!(client.until_gone(), "", "{handler}");
    }
}

#[test]
fn drain_says_goodbye_to_all_and_reports() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --greeting hi --goodbye bye"));
        let mut clients = [playground.connect(), playground.connect()];
        clients.iter_mut().for_each(|client| client.expect(&["hi"]));
        let report = playground.json("drain 10000");
        assert_counts(&report, 2, 2, 0);
        clients.iter_mut().for_each(|client| assert_eq!(client.until_gone(), "bye\n", "{handler}"));
        assert_drained(&playground.ended(), &report);
    }
}

#[test]
fn a_lingering_connection_is_served_until_the_grace_ends() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --goodbye bye --linger"));
        let (mut client, mut console, mut second) = (playground.greeted(), playground.console(), playground.console());
        let began = Instant::now();
        console.send("drain 300");
        client.expect(&["bye"]);
        assert_eq!(client.ask("still here"), "still here", "{handler}");
        let info: Value = serde_json::from_str(&second.ask("info")).unwrap();
        assert_eq!(info["status"], "draining", "{handler}");
        assert_eq!(client.until_gone(), "", "{handler}");
        assert!(began.elapsed() >= LIMIT, "{handler}");
        let report: Value = serde_json::from_str(&console.receive()).unwrap();
        assert_counts(&report, 1, 0, 1);
        assert!(report["took_ms"].as_u64() >= Some(300), "{report}");
        assert_drained(&playground.ended(), &report);
    }
}

#[test]
fn a_drain_sends_queued_replies_first() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --goodbye bye"));
        let mut client = playground.greeted();
        client.send("!flood 10000");
        client.read(1025);
        let mut console = playground.console();
        console.send("drain 20000");
        client.read(9_999 * 1025);
        client.expect(&["bye"]);
        assert_eq!(client.until_gone(), "", "{handler}");
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
