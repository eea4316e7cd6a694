//! Much, in small pieces, from many, over TLS.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Papers, BACKENDS};
use crate::client::Wire;
use crate::process::eventually;
use crate::support::soon;
use crate::DOORS;

const MUCH: usize = 10_000_000;

/// Sends much and reads it at the same time; whether it comes back as it is.
async fn echoes_much(papers: &Papers, address: SocketAddr) {
    let tcp = TcpStream::connect(address).await.unwrap();
    let (mut reads, mut writes) = tokio::io::split(papers.pki.connect(tcp, "localhost").await.unwrap());
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
async fn ten_megabytes_come_back_both_directions_at_once() {
    let papers = Papers::new("much");
    for backend in BACKENDS {
        for door in DOORS {
            let playground = papers.playground(backend, &format!("--handler {door}"));
            echoes_much(&papers, playground.address()).await;
            playground.has_closed("peer", 1);
        }
    }
}

/// The server's way out is full before the peer begins to read.
#[test]
fn who_reads_late_gets_everything() {
    let papers = Papers::new("late");
    for backend in BACKENDS {
        for door in DOORS {
            let options = format!("--handler {door} --framing lines --high-watermark 1000");
            let playground = papers.playground(backend, &options);
            let mut client = papers.connect(&playground);
            client.send_all(&["!flood 20000", "!count", "!bye end"]);
            eventually(|| {
                let bytes = || playground.json("list")[0]["bytes_out"].as_u64();
                bytes() > Some(100_000) && bytes() == bytes()
            });
            let packet = "x".repeat(1024) + "\n";
            let flood = client.read(20_000 * packet.len());
            assert!(flood == packet.repeat(20_000).as_bytes(), "{backend} {door}");
            assert_eq!(client.until_the_end(), "2\nend\n", "{backend} {door}");
        }
    }
}

/// The last bytes lie in the TLS layer, where a refusal_message must not overtake them.
#[test]
fn who_is_slow_at_the_end_loses_nothing() {
    let papers = Papers::new("slow-end");
    for backend in BACKENDS {
        for door in DOORS {
            let playground = papers.playground(backend, &format!("--handler {door} --framing lines"));
            let mut clients: Vec<_> = (0..40).map(|number| (100 + 40 * number, papers.narrow(&playground))).collect();
            for (packets, client) in &mut clients {
                client.send_all(&[&format!("!flood {packets}"), "!bye end"]);
            }
            // Longer than a closing connection waits for a peer that says nothing.
            assert!(papers.greeted(&playground).is_silent_for(Duration::from_millis(2500)));
            for (packets, client) in &mut clients {
                let whole = ("x".repeat(1024) + "\n").repeat(*packets) + "end\n";
                assert!(client.until_the_end() == whole, "{backend} {door}: {packets}");
            }
        }
    }
}

#[test]
fn who_takes_no_more_is_gone_after_the_send_timeout_wherever_the_bytes_lie() {
    let papers = Papers::new("kept-back");
    for backend in BACKENDS {
        for door in DOORS {
            let options = format!("--handler {door} --framing lines --send-timeout 500");
            let playground = papers.playground(backend, &options);
            let mut clients: Vec<_> = (0..40).map(|number| (100 + 40 * number, papers.narrow(&playground))).collect();
            for (packets, client) in &mut clients {
                client.send(&format!("!flood {packets}"));
            }
            // Those who are not gone have nothing waiting for them.
            let mut last = papers.greeted(&playground);
            assert!(last.is_silent_for(Duration::from_millis(2000)));
            for (packets, client) in &mut clients {
                let came = client.counted(*packets * 1025);
                let is_gone = came < *packets * 1025;
                let listed = playground.json("list").to_string();
                let peer = client.address().to_string();
                assert_eq!(listed.contains(&peer), !is_gone, "{backend} {door}: {came} of {packets} packets");
            }
            assert_eq!(last.ask("still here"), "still here");
        }
    }
}

#[test]
fn who_takes_no_more_can_be_killed_wherever_the_bytes_lie() {
    let papers = Papers::new("kept-back-kill");
    for backend in BACKENDS {
        for door in DOORS {
            let playground = papers.playground(backend, &format!("--handler {door} --framing lines"));
            let mut clients: Vec<_> = (0..40).map(|number| (100 + 40 * number, papers.narrow(&playground))).collect();
            for (packets, client) in &mut clients {
                client.send(&format!("!flood {packets}"));
            }
            for id in 1..=40 {
                assert_eq!(playground.command(&format!("kill {id}")), "ok", "{backend} {door}");
            }
            playground.has_closed("killed", 40);
        }
    }
}

#[test]
fn a_peer_that_sends_byte_by_byte_is_understood() {
    let papers = Papers::new("bytes");
    for backend in BACKENDS {
        for door in DOORS {
            let playground = papers.playground(backend, &format!("--handler {door} --framing len2"));
            let mut client = papers.connect(&playground);
            for packet in ["hello", "!count", &"x".repeat(300)] {
                let wire = [&(packet.len() as u16).to_be_bytes(), packet.as_bytes()].concat();
                wire.iter().for_each(|byte| client.send_wire(&[*byte]));
                assert_eq!(client.receive(), if packet == "!count" { "2" } else { packet }, "{backend} {door}");
            }
        }
    }
}

#[test]
fn many_peers_at_once_are_all_served() {
    let papers = Papers::new("many");
    for backend in BACKENDS {
        for door in DOORS {
            let playground = papers.playground(backend, &format!("--handler {door} --framing lines"));
            let (address, papers) = (playground.address(), &papers);
            let connect = move || papers.connect_at(address, Wire::Lines);
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
