//! TLS with much data, small pieces and many peers.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{TestCerts, BACKENDS};
use crate::client::Wire;
use crate::process::eventually;
use crate::support::soon;
use crate::HANDLERS;

const MUCH: usize = 10_000_000;

/// Sends much data, reads the echo at the same time and compares it.
async fn echoes_much(certs: &TestCerts, address: SocketAddr) {
    let tcp = TcpStream::connect(address).await.unwrap();
    let (mut reads, mut writes) = tokio::io::split(certs.pki.connect(tcp, "localhost").await.unwrap());
    let sent: Vec<u8> = (0..MUCH).map(|at| (at % 251) as u8).collect();
    let expected = sent.clone();
    let writing = async move {
        writes.write_all(&sent).await.unwrap();
        writes.flush().await.unwrap();
        writes
    };
    let mut came = vec![0; MUCH];
    let (mut writes, read) = soon(async { tokio::join!(writing, reads.read_exact(&mut came)) }).await;
    assert_eq!(read.unwrap(), MUCH);
    assert!(came == expected);
    soon(writes.shutdown()).await.unwrap();
    let mut rest = Vec::new();
    soon(reads.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn ten_megabytes_are_echoed_while_they_are_sent() {
    let certs = TestCerts::new("much");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = certs.playground(backend, &format!("--handler {handler}"));
            echoes_much(&certs, playground.address()).await;
            playground.has_closed("peer", 1);
        }
    }
}

/// The send buffers of the server are full before the peer begins to read.
#[test]
fn a_late_reader_gets_everything() {
    let certs = TestCerts::new("late");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let options = format!("--handler {handler} --framing lines --high-watermark 1000");
            let playground = certs.playground(backend, &options);
            let mut client = certs.connect(&playground);
            client.send_all(&["!flood 20000", "!count", "!bye end"]);
            eventually(|| {
                let bytes = || playground.json("list")[0]["bytes_out"].as_u64();
                bytes() > Some(100_000) && bytes() == bytes()
            });
            let packet = "x".repeat(1024) + "\n";
            let flood = client.read(20_000 * packet.len());
            assert!(flood == packet.repeat(20_000).as_bytes(), "{backend} {handler}");
            assert_eq!(client.until_the_end(), "2\nend\n", "{backend} {handler}");
        }
    }
}

/// The last bytes are in the TLS layer, where nothing may overtake them.
#[test]
fn a_slow_reader_loses_nothing_at_the_end() {
    let certs = TestCerts::new("slow-end");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = certs.playground(backend, &format!("--handler {handler} --framing lines"));
            let mut clients: Vec<_> = (0..40).map(|number| (100 + 40 * number, certs.narrow(&playground))).collect();
            for (packets, client) in &mut clients {
                client.send_all(&[&format!("!flood {packets}"), "!bye end"]);
            }
            // Longer than a closing connection waits for a silent peer.
            assert!(certs.greeted(&playground).is_silent_for(Duration::from_millis(2500)));
            for (packets, client) in &mut clients {
                let whole = ("x".repeat(1024) + "\n").repeat(*packets) + "end\n";
                assert!(client.until_the_end() == whole, "{backend} {handler}: {packets}");
            }
        }
    }
}

#[test]
fn a_peer_that_stops_reading_ends_at_the_send_timeout() {
    let certs = TestCerts::new("kept-back");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let options = format!("--handler {handler} --framing lines --send-timeout 500");
            let playground = certs.playground(backend, &options);
            let mut clients: Vec<_> = (0..40).map(|number| (100 + 40 * number, certs.narrow(&playground))).collect();
            for (packets, client) in &mut clients {
                client.send(&format!("!flood {packets}"));
            }
            // Connections that still exist have nothing unsent.
            let mut last = certs.greeted(&playground);
            assert!(last.is_silent_for(Duration::from_millis(2000)));
            for (packets, client) in &mut clients {
                let came = client.counted(*packets * 1025);
                let is_gone = came < *packets * 1025;
                let listed = playground.json("list").to_string();
                let peer = client.address().to_string();
                assert_eq!(listed.contains(&peer), !is_gone, "{backend} {handler}: {came} of {packets} packets");
            }
            assert_eq!(last.ask("still here"), "still here");
        }
    }
}

#[test]
fn a_peer_that_stops_reading_can_be_killed() {
    let certs = TestCerts::new("kept-back-kill");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = certs.playground(backend, &format!("--handler {handler} --framing lines"));
            let mut clients: Vec<_> = (0..40).map(|number| (100 + 40 * number, certs.narrow(&playground))).collect();
            for (packets, client) in &mut clients {
                client.send(&format!("!flood {packets}"));
            }
            for id in 1..=40 {
                assert_eq!(playground.command(&format!("kill {id}")), "ok", "{backend} {handler}");
            }
            playground.has_closed("killed", 40);
        }
    }
}

#[test]
fn packets_sent_byte_by_byte_are_received() {
    let certs = TestCerts::new("bytes");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = certs.playground(backend, &format!("--handler {handler} --framing len2"));
            let mut client = certs.connect(&playground);
            for packet in ["hello", "!count", &"x".repeat(300)] {
                let wire = [&(packet.len() as u16).to_be_bytes(), packet.as_bytes()].concat();
                wire.iter().for_each(|byte| client.send_wire(&[*byte]));
                assert_eq!(client.receive(), if packet == "!count" { "2" } else { packet }, "{backend} {handler}");
            }
        }
    }
}

#[test]
fn many_concurrent_peers_are_served() {
    let certs = TestCerts::new("many");
    for backend in BACKENDS {
        for handler in HANDLERS {
            let playground = certs.playground(backend, &format!("--handler {handler} --framing lines"));
            let (address, certs) = (playground.address(), &certs);
            let connect = move || certs.connect_at(address, Wire::Lines);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(move || {
                        let mut clients: Vec<_> = (0..8).map(|_| connect()).collect();
                        for client in &mut clients {
                            client.send_all(&["a"; 100]);
                            client.expect(&["a"; 100]);
                            client.send("!stop");
                            assert_eq!(client.until_the_end(), "");
                        }
                    });
                }
            });
            playground.has_closed("local", 64);
            assert_eq!(playground.json("info")["connections"], json!(0));
        }
    }
}
