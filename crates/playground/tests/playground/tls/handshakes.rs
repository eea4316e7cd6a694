//! Handshakes that fail or stall do not affect other connections.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use super::{TestCerts, BACKENDS};
use crate::client::{tcp, Client, Wire};
use crate::process::{eventually, playground_with_tls_and, Playground};
use crate::HANDLERS;

/// A playground with a TLS port and a plain port.
fn with_every_handler(name: &str, options: &str, test: impl Fn(&TestCerts, &Playground, &str)) {
    let certs = TestCerts::new(name);
    for backend in BACKENDS {
        for handler in HANDLERS {
            let listen = "--listen tcp://127.0.0.1:0 --framing lines";
            let options = format!("{} {listen} --handler {handler} {options}", certs.options(backend));
            test(&certs, &playground_with_tls_and(1, &options), &format!("{backend} {handler}"));
        }
    }
}

fn plain(playground: &Playground) -> Client {
    let mut client = Client::connect(playground.addresses()[1], Wire::Lines);
    assert_eq!(client.ask("in clear"), "in clear");
    client
}

/// A connection to the TLS port that has sent these bytes.
fn saying(playground: &Playground, bytes: &[u8]) -> TcpStream {
    let mut tcp = tcp(playground.address()).unwrap();
    tcp.write_all(bytes).unwrap();
    tcp
}

/// Waits until `count` connections have been accepted.
fn has_accepted(playground: &Playground, count: u64) {
    eventually(|| playground.json("info")["accepted"] == json!(count));
}

/// Asserts that accepted = refused + connections + closed.
pub fn adds_up(info: &Value) {
    let sum = |counts: &Value| counts.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum::<u64>();
    let number = |name: &str| info[name].as_u64().unwrap();
    assert_eq!(number("accepted"), sum(&info["refused"]) + number("connections") + sum(&info["closed"]), "{info}");
}

#[test]
fn bytes_other_than_tls_end_only_that_connection() {
    with_every_handler("no-tls", "", |certs, playground, what| {
        let mut good = certs.greeted(playground);
        for (count, bytes) in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], &[0xff; 20_000], b"\x16\x03\x01\xff\xff"]
            .into_iter()
            .enumerate()
        {
            let mut tcp = saying(playground, bytes);
            // The server waits for the rest of an incomplete record, so the bytes exceed one record.
            let _ = tcp.shutdown(std::net::Shutdown::Write);
            let _ = std::io::Read::read_to_end(&mut tcp, &mut Vec::new());
            playground.has_closed("handshake", count as u64 + 1);
        }
        assert_eq!(good.ask("still here"), "still here", "{what}");
        adds_up(&playground.json("info"));
    });
}

#[test]
fn a_silent_peer_ends_at_the_handshake_timeout() {
    with_every_handler("silent", "--handshake-timeout 500 --acceptors 1", |certs, playground, what| {
        let hello = certs.hello();
        let began = Instant::now();
        let silent = [saying(playground, b""), saying(playground, &hello[..1]), saying(playground, &hello[..50])];
        let (mut plain, mut secure) = (plain(playground), certs.greeted(playground));
        for client in [&mut plain, &mut secure] {
            assert_eq!(client.ask("meanwhile"), "meanwhile", "{what}");
        }
        for mut silent in silent {
            let _ = std::io::Read::read_to_end(&mut silent, &mut Vec::new());
            assert!(began.elapsed() >= Duration::from_millis(500), "{what}: early");
        }
        playground.has_closed("handshake", 3);
        assert_eq!(plain.ask("still here"), "still here");
        assert_eq!(secure.ask("still here"), "still here");
    });
}

#[test]
fn aborted_handshakes_are_counted_and_leave_nothing() {
    with_every_handler("leavers", "", |certs, playground, what| {
        let hello = certs.hello();
        let mut good = certs.greeted(playground);
        for number in 0..200 {
            let cut = [0, 1, 5, 100, hello.len()][number % 5];
            let tcp = saying(playground, &hello[..cut.min(hello.len())]);
            if number % 2 == 0 {
                socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
        has_accepted(playground, 201);
        eventually(|| playground.json("info")["connections"] == json!(1));
        let info = playground.json("info");
        adds_up(&info);
        assert_eq!(info["closed"]["handshake"], json!(200), "{what}: {info}");
        assert_eq!(good.ask("still here"), "still here");
        certs.greeted(playground);
    });
}

#[test]
fn a_connection_in_its_handshake_is_listed_and_killable() {
    with_every_handler("kill", "", |certs, playground, what| {
        let mut stalled = saying(playground, &certs.hello()[..50]);
        has_accepted(playground, 1);
        let list = playground.json("list");
        assert_eq!(list[0]["peer"], json!(stalled.local_addr().unwrap().to_string()), "{what}");
        assert_eq!(list[0]["listener"], json!(playground.url()));
        assert_eq!(playground.command("kill 1"), "ok");
        let _ = std::io::Read::read_to_end(&mut stalled, &mut Vec::new());
        playground.has_closed("killed", 1);
        adds_up(&playground.json("info"));
    });
}

#[test]
fn a_drain_waits_for_handshakes_until_its_deadline() {
    with_every_handler("drain", "--goodbye bye --grace 10000", |certs, playground, what| {
        let hello = certs.hello();
        let mut silent = saying(playground, &hello[..50]);
        let late = tcp(playground.address()).unwrap();
        has_accepted(playground, 2);
        let (mut console, mut other) = (playground.console(), playground.console());
        assert!(other.ask("info").contains("running"));
        console.send("drain 1500");
        eventually(|| other.ask("info").contains("draining"));
        let mut late = Client::over(certs.secure(late).unwrap(), Wire::Lines);
        assert_eq!(late.until_the_end(), "bye\n", "{what}");
        let _ = std::io::Read::read_to_end(&mut silent, &mut Vec::new());
        let report: Value = serde_json::from_str(&console.receive()).unwrap();
        let counts = ["asked", "finished", "forced", "unserved"].map(|name| report[name].as_u64().unwrap());
        assert_eq!(counts, [2, 1, 1, 0], "{what}: {report}");
        assert_eq!((&report["closed"]["shutdown"], &report["closed"]["killed"]), (&json!(1), &json!(1)), "{what}");
    });
}

#[test]
fn pending_handshakes_count_as_connections() {
    with_every_handler("limit", "--max-connections 2 --at-limit close", |certs, playground, what| {
        let hello = certs.hello();
        let held = [saying(playground, &hello[..50]), saying(playground, b"")];
        has_accepted(playground, 2);
        let mut third = Client::connect(playground.addresses()[1], Wire::Lines);
        assert_eq!(third.until_gone(), "", "{what}");
        drop(held);
        playground.has_closed("handshake", 2);
        certs.greeted(playground);
        let info = playground.json("info");
        adds_up(&info);
        assert_eq!(info["refused"]["limit"], json!(1));
    });
}

#[test]
fn a_peer_waiting_for_a_stalled_handshake_is_served_later() {
    with_every_handler(
        "wait",
        "--max-connections 1 --at-limit wait --handshake-timeout 300",
        |certs, playground, what| {
            let held = saying(playground, &certs.hello()[..50]);
            has_accepted(playground, 1);
            assert_eq!(certs.connect(playground).ask("at last"), "at last", "{what}");
            drop(held);
            playground.has_closed("handshake", 1);
        },
    );
}

#[test]
fn the_handshake_timeout_changes_live() {
    with_every_handler("live-limit", "--handshake-timeout 0", |_, playground, what| {
        let old = saying(playground, b"");
        has_accepted(playground, 1);
        assert_eq!(playground.command("set handshake-timeout 200"), "ok");
        let began = Instant::now();
        let mut new = saying(playground, b"");
        let _ = std::io::Read::read_to_end(&mut new, &mut Vec::new());
        assert!(began.elapsed() >= Duration::from_millis(200), "{what}: early");
        playground.has_closed("handshake", 1);
        drop(old);
        playground.has_closed("handshake", 2);
    });
}
