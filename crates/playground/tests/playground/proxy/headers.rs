//! Valid headers, whole and in pieces.

use super::{binary, binary_with, connect_behind, line, version_2, CLAIMED, OPTIONAL, REQUIRE};
use crate::process::playground;
use crate::HANDLERS;

const V6: &str = "[2001:db8::7]:4711";

#[test]
fn the_peer_is_the_address_in_the_header() {
    for handler in HANDLERS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {handler}"));
            for (header, peer) in
                [(line(CLAIMED), CLAIMED), (binary(CLAIMED), CLAIMED), (line(V6), V6), (binary(V6), V6)]
            {
                let mut client = connect_behind(&playground, &header);
                assert_eq!(client.ask("!peer"), peer, "{handler} {options}");
                let list = playground.json("list");
                assert!(list.as_array().unwrap().iter().any(|connection| connection["peer"] == peer), "{list}");
                client.send("!stop");
                assert_eq!(client.until_gone(), "");
            }
            playground.has_closed("local", 4);
        }
    }
}

#[test]
fn packets_directly_after_the_header_are_served() {
    for handler in HANDLERS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {handler}"));
            let lines = [b"!peer\nx\n".repeat(500), b"!bye bye\n".to_vec()].concat();
            for header in [line(CLAIMED), binary(CLAIMED)] {
                let mut client = connect_behind(&playground, &[header, lines.clone()].concat());
                assert_eq!(client.until_gone(), format!("{CLAIMED}\nx\n").repeat(500) + "bye\n", "{handler} {options}");
            }
        }
    }
}

#[test]
fn a_header_is_parsed_in_any_two_pieces() {
    for handler in HANDLERS {
        let playground = playground(&format!("{REQUIRE} --handler {handler}"));
        for header in [line(CLAIMED), binary(CLAIMED)] {
            let whole = [&header[..], b"!peer\n"].concat();
            for cut in 1..whole.len() {
                let mut client = connect_behind(&playground, &whole[..cut]);
                // When the next connection is accepted, the server has most likely read the first piece.
                drop(playground.connect());
                client.send_wire(&whole[cut..]);
                assert_eq!(client.receive(), CLAIMED, "{handler} cut at {cut}");
            }
        }
    }
}

#[test]
fn a_header_is_parsed_byte_by_byte() {
    for handler in HANDLERS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {handler}"));
            for header in [line(V6), binary_with(V6, &[0xea, 0, 3, 1, b'a', b'b'])] {
                let mut client = playground.connect();
                [&header[..], b"!peer\n"].concat().iter().for_each(|byte| client.send_wire(&[*byte]));
                assert_eq!(client.receive(), V6, "{handler}");
            }
        }
    }
}

#[test]
fn a_local_header_keeps_the_socket_address() {
    for handler in HANDLERS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {handler}"));
            for header in [
                b"PROXY UNKNOWN\r\n".to_vec(),
                b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
                version_2(0x20, 0, b""),
                version_2(0x20, 0x11, &[7; 12]),
                version_2(0x21, 0, b""),
            ] {
                let mut client = connect_behind(&playground, &header);
                let own = client.address().to_string();
                assert_eq!(client.ask("!peer"), own, "{handler} {}", header.escape_ascii());
            }
        }
    }
}

#[test]
fn optional_treats_other_bytes_as_data() {
    for handler in HANDLERS {
        let playground = playground(&format!("{OPTIONAL} --handler {handler}"));
        for packet in ["hello", "PROXIMITY", "P", "", "PROX"] {
            let mut client = playground.connect();
            assert_eq!(client.ask(packet), packet, "{handler}");
            let own = client.address().to_string();
            assert_eq!(client.ask("!peer"), own, "{handler}");
        }
    }
}

#[test]
fn a_partial_signature_before_fin_is_data() {
    for handler in HANDLERS {
        let playground = playground(&format!("{} --handler {handler}", OPTIONAL.replace("lines", "raw")));
        for data in ["", "P", "PROXY", "\r\n\r\n"] {
            let mut client = playground.connect();
            client.send_wire(data.as_bytes());
            client.finish();
            assert_eq!(client.until_gone(), data, "{handler}");
        }
        playground.has_closed("peer", 4);
    }
}
