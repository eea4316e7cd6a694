//! Which of the two addresses rules and limits use.

use serde_json::json;

use super::{binary, connect_behind, line, CLAIMED, OPTIONAL, REQUIRE};
use crate::process::{eventually, playground, Playground};
use crate::tls::adds_up;
use crate::HANDLERS;

fn refused(playground: &Playground, reason: &str, count: u64) {
    eventually(|| playground.json("info")["refused"][reason] == json!(count));
    adds_up(&playground.json("info"));
}

#[test]
fn rules_apply_to_the_claimed_address() {
    for handler in HANDLERS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {handler} --deny 203.0.113.0/24"));
            for header in [line(CLAIMED), binary(CLAIMED)] {
                let mut client = playground.connect();
                client.try_send_wire(&[&header[..], b"!bye evil\n"].concat());
                assert_eq!(client.until_gone(), "", "{handler}");
            }
            refused(&playground, "denied", 2);
            assert_eq!(
                connect_behind(&playground, &line("198.51.100.7:1")).ask("!peer"),
                "198.51.100.7:1",
                "{handler}"
            );
            let closed = playground.json("info")["closed"].clone();
            assert!(closed.as_object().unwrap().iter().all(|(reason, count)| reason == "peer" || *count == json!(0)));
        }
    }
}

#[test]
fn rules_apply_to_the_socket_address_first() {
    for handler in HANDLERS {
        let options = "--framing lines --proxy-protocol require --trusted-proxy 127.0.0.0/8";
        let playground = playground(&format!("{options} --handler {handler} --deny 127.0.0.2"));
        let mut denied = playground.connect_from(2);
        denied.try_send_wire(&line(CLAIMED));
        assert_eq!(denied.until_gone(), "", "{handler}");
        refused(&playground, "denied", 1);
        assert_eq!(connect_behind(&playground, &line(CLAIMED)).ask("!peer"), CLAIMED, "{handler}");
        // A denied socket address cannot claim another one, and a claimed address can be denied.
        assert_eq!(playground.command("set deny 203.0.113.7"), "ok");
        assert_eq!(connect_behind(&playground, &line(CLAIMED)).until_gone(), "", "{handler}");
        refused(&playground, "denied", 2);
        assert_eq!(playground.command("set allow 203.0.113.7"), "ok");
        assert_eq!(connect_behind(&playground, &line(CLAIMED)).ask("!peer"), CLAIMED, "{handler}");
    }
}

#[test]
fn the_first_match_decides_for_the_claimed_address() {
    for handler in HANDLERS {
        let rules = "--allow 127.0.0.1 --allow 203.0.113.7 --deny 0.0.0.0/0";
        let playground = playground(&format!("{REQUIRE} --handler {handler} {rules}"));
        assert_eq!(connect_behind(&playground, &line(CLAIMED)).ask("!peer"), CLAIMED, "{handler}");
        assert_eq!(connect_behind(&playground, &line("203.0.113.8:1")).until_gone(), "", "{handler}");
        refused(&playground, "denied", 1);
    }
}

#[test]
fn per_peer_limits_count_the_claimed_address() {
    for handler in HANDLERS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {handler} --max-per-ip 2"));
            let claim = |host: u8, port: u16| connect_behind(&playground, &line(&format!("203.0.113.{host}:{port}")));
            let mut inside: Vec<_> = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)]
                .into_iter()
                .map(|(host, port)| {
                    let mut client = claim(host, port);
                    assert_eq!(client.ask("!peer"), format!("203.0.113.{host}:{port}"), "{handler} {options}");
                    client
                })
                .collect();
            assert_eq!(claim(1, 3).until_gone(), "", "{handler} {options}");
            refused(&playground, "per_peer", 1);
            inside[0].send("!stop");
            assert_eq!(inside[0].until_gone(), "");
            playground.has_closed("local", 1);
            assert_eq!(claim(1, 3).ask("hello"), "hello", "{handler}: its place was given back");
        }
    }
}

#[test]
fn a_peer_without_a_claim_is_counted_by_its_socket() {
    for handler in HANDLERS {
        let playground = playground(&format!("{REQUIRE} --handler {handler} --max-per-ip 1"));
        let unknown = || connect_behind(&playground, b"PROXY UNKNOWN\r\n");
        let mut first = unknown();
        assert_eq!(first.ask("hello"), "hello");
        assert_eq!(unknown().until_gone(), "", "{handler}");
        refused(&playground, "per_peer", 1);
        assert_eq!(connect_behind(&playground, &line(CLAIMED)).ask("!peer"), CLAIMED, "{handler}");
    }
}

#[test]
fn incomplete_headers_do_not_count_per_peer() {
    for handler in HANDLERS {
        let playground = playground(&format!("{REQUIRE} --handler {handler} --max-per-ip 1"));
        for _ in 0..50 {
            drop(connect_behind(&playground, &line(CLAIMED)[..30]));
        }
        playground.has_closed("handshake", 50);
        let info = playground.json("info");
        adds_up(&info);
        assert_eq!(info["connections"], json!(0), "{handler}");
        assert_eq!(connect_behind(&playground, &line(CLAIMED)).ask("hello"), "hello", "{handler}");
    }
}
