//! Invalid headers and untrusted senders.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{binary, binary_with, connect_behind, line, version_2, CLAIMED, OPTIONAL, REQUIRE};
use crate::process::{eventually, playground, run};
use crate::tls::adds_up;
use crate::HANDLERS;

#[test]
fn require_denies_untrusted_senders() {
    for handler in HANDLERS {
        let playground = playground(&format!("{REQUIRE} --handler {handler}"));
        for header in [line(CLAIMED), binary(CLAIMED), b"hello\n".to_vec(), Vec::new()] {
            let mut client = playground.connect_from(2);
            // The connection may have ended.
            client.try_send_wire(&header);
            assert_eq!(client.until_gone(), "", "{handler}");
        }
        eventually(|| playground.json("info")["refused"]["denied"] == json!(4));
        let info = playground.json("info");
        adds_up(&info);
        assert_eq!((&info["accepted"], &info["connections"]), (&json!(4), &json!(0)), "{handler}");
    }
}

#[test]
fn optional_treats_untrusted_headers_as_data() {
    for handler in HANDLERS {
        let playground = playground(&format!("{OPTIONAL} --handler {handler} --greeting welcome"));
        let mut client = playground.connect_from(2);
        // It is denied before it sends anything.
        client.expect(&["welcome"]);
        let header = "PROXY TCP4 203.0.113.7 198.51.100.1 4711 443";
        assert_eq!(client.ask(header), header, "{handler}");
        let own = client.address().to_string();
        assert_eq!(client.ask("!peer"), own, "{handler}");
    }
}

#[test]
fn a_malformed_header_ends_only_that_connection() {
    let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
    let bad: [Vec<u8>; 12] = [
        b"PROXY TCP4 203.0.113.7\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 99999\r\n".to_vec(),
        b"PROXY TCP4 ::1 ::1 1 2\r\n".to_vec(),
        b"PROXY UDP4 203.0.113.7 198.51.100.1 4711 443\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\n".to_vec(),
        long,
        version_2(0x31, 0x11, &[0; 12]),
        version_2(0x25, 0x11, &[0; 12]),
        version_2(0x21, 0x51, &[0; 12]),
        version_2(0x21, 0x11, &[0; 4]),
        version_2(0x21, 0x11, &[0; 5000]),
        binary_with(CLAIMED, &[3, 0, 4, 1, 2, 3, 4]),
    ];
    for handler in HANDLERS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {handler}"));
            let mut good = connect_behind(&playground, &line(CLAIMED));
            assert_eq!(good.ask("hello"), "hello");
            for (count, header) in bad.iter().enumerate() {
                let mut client = playground.connect();
                client.try_send_wire(&[header, &b"!bye evil\n"[..]].concat());
                assert_eq!(client.until_gone(), "", "{handler} {}", header.escape_ascii());
                playground.has_closed("handshake", count as u64 + 1);
            }
            assert_eq!(good.ask("still here"), "still here", "{handler}");
            adds_up(&playground.json("info"));
        }
    }
}

#[test]
fn require_ends_trusted_senders_without_a_header() {
    for handler in HANDLERS {
        let playground = playground(&format!("{REQUIRE} --handler {handler}"));
        for data in ["hello\n", "P\n", "PROXIMITY\n", ""] {
            let mut client = playground.connect();
            client.try_send_wire(data.as_bytes());
            client.finish();
            assert_eq!(client.until_gone(), "", "{handler}");
        }
        playground.has_closed("handshake", 4);
    }
}

#[test]
fn a_stalled_header_ends_at_the_handshake_timeout() {
    for handler in HANDLERS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {handler} --handshake-timeout 300"));
            let began = Instant::now();
            let stalled = [&b""[..], b"P", &line(CLAIMED)[..20], &binary(CLAIMED)[..20]];
            let stalled = stalled.map(|bytes| connect_behind(&playground, bytes));
            let mut good = connect_behind(&playground, &line(CLAIMED));
            assert_eq!(good.ask("meanwhile"), "meanwhile", "{handler}");
            for mut client in stalled {
                assert_eq!(client.until_gone(), "", "{handler} {options}");
                assert!(began.elapsed() >= Duration::from_millis(300), "{handler}: early");
            }
            playground.has_closed("handshake", 4);
            assert_eq!(good.ask("still here"), "still here", "{handler}");
        }
    }
}

#[test]
fn bad_options_are_named() {
    for (options, named) in [
        ("--proxy-protocol require", "--trusted-proxy"),
        ("--proxy-protocol optional", "--proxy-protocol"),
        ("--proxy-protocol yes --trusted-proxy 127.0.0.1", "--proxy-protocol"),
        ("--proxy-protocol require --trusted-proxy localhost", "--trusted-proxy"),
        ("--proxy-protocol require --trusted-proxy 127.0.0.1 --trusted-proxy 10.0.0.0/33", "--trusted-proxy"),
        ("--trusted-proxy localhost", "--trusted-proxy"),
        ("--proxy-protocol off --trusted-proxy 10.0.0.0/33", "--trusted-proxy"),
        ("--trusted-proxy", "--trusted-proxy"),
    ] {
        let ended = run(["--listen", "tcp://127.0.0.1:0"].into_iter().chain(options.split_whitespace()));
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{options}: {}", ended.stderr);
        assert!(ended.stderr.contains(named), "{options}: {}", ended.stderr);
    }
}
