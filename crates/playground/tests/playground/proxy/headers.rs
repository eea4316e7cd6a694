//! Headers that are understood, in whatever pieces they come.

use super::{behind, binary, binary_with, line, version_2, CLAIMED, OPTIONAL, REQUIRE};
use crate::process::playground;
use crate::DOORS;

const V6: &str = "[2001:db8::7]:4711";

#[test]
fn the_peer_is_whom_the_header_names() {
    for door in DOORS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {door}"));
            for (header, peer) in
                [(line(CLAIMED), CLAIMED), (binary(CLAIMED), CLAIMED), (line(V6), V6), (binary(V6), V6)]
            {
                let mut client = behind(&playground, &header);
                assert_eq!(client.ask("!peer"), peer, "{door} {options}");
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
fn packets_right_behind_the_header_are_packets() {
    for door in DOORS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {door}"));
            let lines = [b"!peer\nx\n".repeat(500), b"!bye bye\n".to_vec()].concat();
            for header in [line(CLAIMED), binary(CLAIMED)] {
                let mut client = behind(&playground, &[header, lines.clone()].concat());
                assert_eq!(client.until_gone(), format!("{CLAIMED}\nx\n").repeat(500) + "bye\n", "{door} {options}");
            }
        }
    }
}

#[test]
fn a_header_in_any_two_pieces_is_one() {
    for door in DOORS {
        let playground = playground(&format!("{REQUIRE} --handler {door}"));
        for header in [line(CLAIMED), binary(CLAIMED)] {
            let whole = [&header[..], b"!peer\n"].concat();
            for cut in 1..whole.len() {
                let mut client = behind(&playground, &whole[..cut]);
                // The other side has seen the first piece by the time it has accepted the next connection, or nearly so.
                drop(playground.connect());
                client.send_wire(&whole[cut..]);
                assert_eq!(client.receive(), CLAIMED, "{door} cut at {cut}");
            }
        }
    }
}

#[test]
fn a_header_byte_by_byte_is_one() {
    for door in DOORS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {door}"));
            for header in [line(V6), binary_with(V6, &[0xea, 0, 3, 1, b'a', b'b'])] {
                let mut client = playground.connect();
                [&header[..], b"!peer\n"].concat().iter().for_each(|byte| client.send_wire(&[*byte]));
                assert_eq!(client.receive(), V6, "{door}");
            }
        }
    }
}

#[test]
fn who_speaks_for_itself_is_the_peer() {
    for door in DOORS {
        for options in [REQUIRE, OPTIONAL] {
            let playground = playground(&format!("{options} --handler {door}"));
            for header in [
                b"PROXY UNKNOWN\r\n".to_vec(),
                b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(),
                version_2(0x20, 0, b""),
                version_2(0x20, 0x11, &[7; 12]),
                version_2(0x21, 0, b""),
            ] {
                let mut client = behind(&playground, &header);
                let own = client.address().to_string();
                assert_eq!(client.ask("!peer"), own, "{door} {}", header.escape_ascii());
            }
        }
    }
}

#[test]
fn where_it_is_optional_what_is_no_header_is_data() {
    for door in DOORS {
        let playground = playground(&format!("{OPTIONAL} --handler {door}"));
        for packet in ["hello", "PROXIMITY", "P", "", "PROX"] {
            let mut client = playground.connect();
            assert_eq!(client.ask(packet), packet, "{door}");
            let own = client.address().to_string();
            assert_eq!(client.ask("!peer"), own, "{door}");
        }
    }
}

#[test]
fn a_part_of_the_signature_and_an_end_is_data() {
    for door in DOORS {
        let playground = playground(&format!("{} --handler {door}", OPTIONAL.replace("lines", "raw")));
        for data in ["", "P", "PROXY", "\r\n\r\n"] {
            let mut client = playground.connect();
            client.send_wire(data.as_bytes());
            client.finish();
            assert_eq!(client.until_gone(), data, "{door}");
        }
        playground.has_closed("peer", 4);
    }
}
