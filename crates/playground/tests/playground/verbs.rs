//! The verbs, with all handlers.

use std::time::{Duration, Instant};

use crate::client::Wire;
use crate::process::{eventually, playground};
use crate::HANDLERS;

#[test]
fn all_handlers_echo_and_answer_verbs_in_all_framings() {
    for handler in HANDLERS {
        for framing in ["raw", "lines", "len1", "len2", "len4", "len8"] {
            let options = format!("--handler {handler} --framing {framing}");
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
                // Not verbs: echoed unchanged.
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
fn a_raw_answer_has_the_line_ending_of_the_verb() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler}"));
        let mut client = playground.connect();
        for (packet, answer) in
            [("!id", "1"), ("!id\n", "1\n"), ("!id\r\n", "1\r\n"), ("hello\r\n", "hello\r\n"), ("!id\n\n", "!id\n\n")]
        {
            assert_eq!(client.ask(packet), answer, "{handler}");
        }
        client.send("!bye see you\n");
        assert_eq!(client.until_gone(), "see you\n", "{handler}");
    }
}

#[test]
fn lines_end_with_lf_and_an_optional_cr() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        let mut client = playground.connect();
        client.send_wire(b"!id\r\nhe\rllo\r\n\n!count\n");
        client.finish();
        assert_eq!(client.until_gone(), "1\nhe\rllo\n\n4\n", "{handler}");
    }
}

#[test]
fn each_end_is_counted_by_its_reason() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        for (verb, reason) in [("!stop", "local"), ("!panic", "panic"), ("!fail on purpose", "error")] {
            let mut client = playground.connect();
            client.send_all(&["first", verb]);
            let rest = client.until_gone();
            assert!(rest == "first\n" || verb == "!panic" && rest.is_empty(), "{handler} {verb}: {rest:?}");
            playground.has_closed(reason, 1);
        }
        playground.greeted();
    }
}

#[test]
fn a_wait_delays_only_later_packets_of_its_connection() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --acceptors 1"));
        let (mut waiting, mut other) = (playground.greeted(), playground.greeted());
        let began = Instant::now();
        waiting.send_all(&["!wait 400", "a", "!count"]);
        assert_eq!(other.ask("b"), "b");
        waiting.expect(&["waited", "a", "4"]);
        assert!(began.elapsed() >= Duration::from_millis(400), "{handler}");
    }
}

#[test]
fn a_peer_that_shuts_its_side_still_gets_its_answers() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --idle-timeout 1000"));
        for verb in ["!wait", "!block"] {
            let answer = if verb == "!wait" { "waited" } else { "blocked" };
            for behind in ["", "a\n", "a\nb\n"] {
                let mut client = playground.greeted();
                client.send_wire(format!("{verb} 200\n{behind}").as_bytes());
                client.finish();
                assert_eq!(client.until_gone(), format!("{answer}\n{behind}"), "{handler} {verb}");
            }
        }
        // But not later than the idle timeout.
        for (closed, verb) in [(1, "!wait 60000"), (2, "!block 60000")] {
            let mut client = playground.greeted();
            client.send_all(&[verb, "a"]);
            client.finish();
            assert_eq!(client.until_gone(), "", "{handler}");
            playground.has_closed("idle", closed);
        }
    }
}

#[test]
fn a_spawned_answer_holds_nothing_back() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        let mut client = playground.greeted();
        client.send_all(&["!spawn 400", "!spawn 100", "meanwhile"]);
        client.expect(&["spawned", "spawned", "meanwhile", "later"]);
        assert_eq!(client.ask("between"), "between");
        client.expect(&["later"]);
        // A FIN drops what is spawned.
        client.send("!spawn 60000");
        client.expect(&["spawned"]);
        client.finish();
        assert_eq!(client.until_gone(), "", "{handler}");
        playground.has_closed("peer", 1);
    }
}

#[test]
fn a_text_is_sent_later() {
    for handler in HANDLERS {
        for framing in ["lines", "len1"] {
            let playground = playground(&format!("--handler {handler} --framing {framing}"));
            let mut client = playground.connect();
            let began = Instant::now();
            client.send_all(&["!after 400 the last one", "!after 100 the first one", "!after 1", "meanwhile"]);
            client.expect(&["!after 1", "meanwhile", "the first one"]);
            assert!(began.elapsed() >= Duration::from_millis(100), "{handler}");
            client.expect(&["the last one"]);
            assert!(began.elapsed() >= Duration::from_millis(400), "{handler}");
            // What is pending does not hold up an end.
            client.send_all(&["!after 60000 never", "!bye now"]);
            client.expect(&["now"]);
            assert_eq!(client.until_gone(), "", "{handler}");
            playground.has_closed("local", 1);
            let mut client = playground.connect();
            client.send_all(&["!after 60000 never", "!after 0 at once"]);
            client.expect(&["at once"]);
            client.finish();
            assert_eq!(client.until_gone(), "", "{handler}");
            playground.has_closed("peer", 1);
        }
    }
}

#[test]
fn a_raw_text_sent_later_has_the_line_ending_of_the_verb() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler}"));
        let mut client = playground.connect();
        client.send("!after 0 later\r\n");
        client.expect(&["later\r\n"]);
    }
}

#[test]
fn blocking_jobs_above_the_limit_wait_for_others() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines --max-blocking 1"));
        let (mut first, mut second) = (playground.greeted(), playground.greeted());
        let began = Instant::now();
        first.send("!block 300");
        second.send("!block 300");
        first.expect(&["blocked"]);
        second.expect(&["blocked"]);
        assert!(began.elapsed() >= Duration::from_millis(600), "{handler}");
        // The job of a connection that was killed runs on.
        let mut killed = playground.greeted();
        let began = Instant::now();
        killed.send("!block 300");
        eventually(|| playground.json("list")[2]["state"] == "waiting");
        assert_eq!(playground.command("kill 3"), "ok", "{handler}");
        killed.until_gone();
        first.send("!block 300");
        first.expect(&["blocked"]);
        assert!(began.elapsed() >= Duration::from_millis(600), "{handler}");
        assert_eq!(playground.command("set max-blocking 2"), "ok", "{handler}");
        let began = Instant::now();
        first.send("!block 3000");
        second.send("!block 3000");
        first.expect(&["blocked"]);
        second.expect(&["blocked"]);
        assert!(began.elapsed() < Duration::from_millis(6_000), "{handler}");
        assert_eq!(playground.command("set max-blocking 1"), "ok", "{handler}");
        let began = Instant::now();
        first.send("!block 300");
        second.send("!block 300");
        first.expect(&["blocked"]);
        second.expect(&["blocked"]);
        assert!(began.elapsed() >= Duration::from_millis(600), "{handler}");
        assert!(playground.command("set max-blocking 0").starts_with("error:"), "{handler}");
    }
}

#[test]
fn a_passive_connection_is_not_read_for_a_while() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        let mut client = playground.greeted();
        let began = Instant::now();
        client.send_all(&["!passive 300", "after"]);
        client.expect(&["passive"]);
        assert_eq!(playground.command("send 1 pushed"), "ok");
        client.expect(&["pushed", "after"]);
        assert!(began.elapsed() >= Duration::from_millis(300), "{handler}");
    }
}

#[test]
fn a_flood_is_sent_whole_before_later_answers() {
    for handler in HANDLERS {
        for (framing, length) in [("lines", 1024), ("len1", 255), ("raw", 1024)] {
            let options = format!("--handler {handler} --framing {framing}");
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

/// The client requests 200 MB and does not read them.
#[cfg(target_os = "linux")]
#[test]
fn an_unread_flood_uses_little_memory() {
    for handler in HANDLERS {
        let playground = playground(&format!("--handler {handler} --framing lines"));
        let mut client = playground.connect();
        let before = playground.memory();
        client.send("!flood 200000");
        client.read(1_000_000);
        let grown = playground.memory().saturating_sub(before);
        assert!(grown < 20_000_000, "{handler}: {grown} bytes");
    }
}

#[test]
fn ping_uses_a_length_prefix_of_two_bytes() {
    let playground = playground("--handler ping");
    let mut client = playground.connect();
    client.send_wire(b"\0\x04ping\0\x03huh\0\0\0\x04stop\0\x04ping");
    assert_eq!(client.until_gone(), "\0\x04pong\0\x05what?\0\x05what?\0\x02ok");
    playground.has_closed("local", 1);
}
