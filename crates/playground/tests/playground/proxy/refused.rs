//! Invalid PROXY headers, and headers of senders that are not trusted.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{behind, binary, binary_with, line, version_2, CLAIMED, OPTIONAL, REQUIRE};
use crate::process::{eventually, playground, run};
use crate::tls::adds_up;
use crate::DOORS;

#[test]
fn who_is_not_trusted_is_denied_where_a_header_is_required() {
    for door in DOORS {
        let playground = playground(&format!("{REQUIRE} --handler {door}"));
        for header in [line(CLAIMED), binary(CLAIMED), b"hello\n".to_vec(), Vec::new()] {
            let mut client = playground.connect_from(2);
            // It may be gone already.
            client.try_send_wire(&header);
            assert_eq!(client.until_gone(), "", "{door}");
        }
        eventually(|| playground.json("info")["refused"]["denied"] == json!(4));
        let info = playground.json("info");
        adds_up(&info);
        assert_eq!((&info["accepted"], &info["connections"]), (&json!(4), &json!(0)), "{door}");
    }
}

#[test]
fn what_somebody_untrusted_sends_is_data_where_it_is_optional() {
    for door in DOORS {
        let playground = playground(&format!("{OPTIONAL} --handler {door} --greeting welcome"));
        let mut client = playground.connect_from(2);
        // It need not say anything first.
        client.expect(&["welcome"]);
        let header = "PROXY TCP4 203.0.113.7 198.51.100.1 4711 443";
        assert_eq!(client.ask(header), header, "{door}");
        let own = client.address().to_string();
        assert_eq!(client.ask("!peer"), own, "{door}");
    }
}

#[test]
fn a_malformed_header_ends_that_connection_alone() {
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
    for door in DOORS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {door}"));
            let mut good = behind(&playground, &line(CLAIMED));
            assert_eq!(good.ask("hello"), "hello");
            for (count, header) in bad.iter().enumerate() {
                let mut client = playground.connect();
                client.try_send_wire(&[header, &b"!bye evil\n"[..]].concat());
                assert_eq!(client.until_gone(), "", "{door} {}", header.escape_ascii());
                playground.has_closed("handshake", count as u64 + 1);
            }
            assert_eq!(good.ask("still here"), "still here", "{door}");
            adds_up(&playground.json("info"));
        }
    }
}

#[test]
fn without_a_header_a_trusted_one_is_not_served_where_it_is_required() {
    for door in DOORS {
        let playground = playground(&format!("{REQUIRE} --handler {door}"));
        for data in ["hello\n", "P\n", "PROXIMITY\n", ""] {
            let mut client = playground.connect();
            client.try_send_wire(data.as_bytes());
            client.finish();
            assert_eq!(client.until_gone(), "", "{door}");
        }
        playground.has_closed("handshake", 4);
    }
}

#[test]
fn a_stalled_header_has_the_time_of_a_handshake() {
    for door in DOORS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {door} --handshake-timeout 300"));
            let began = Instant::now();
            let stalled = [&b""[..], b"P", &line(CLAIMED)[..20], &binary(CLAIMED)[..20]];
            let stalled = stalled.map(|bytes| behind(&playground, bytes));
            let mut good = behind(&playground, &line(CLAIMED));
            assert_eq!(good.ask("meanwhile"), "meanwhile", "{door}");
            for mut client in stalled {
                assert_eq!(client.until_gone(), "", "{door} {options}");
                assert!(began.elapsed() >= Duration::from_millis(300), "{door}: early");
            }
            playground.has_closed("handshake", 4);
            assert_eq!(good.ask("still here"), "still here", "{door}");
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
