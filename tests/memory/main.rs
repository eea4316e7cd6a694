//! The memory of idle connections. A binary of its own: it measures its process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use actix_acceptor::{AcceptorPool, Framing};
use support::*;

const KIB: usize = 1024;
const CONNECTIONS: usize = 300;

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * KIB
}

#[actix::test]
async fn idle_connections_own_no_buffer() {
    for half in [&b""[..], b"\0\0\xffbegun"] {
        let pool = AcceptorPool::with_protocol(|_| Echo)
            .framing(Framing::len4())
            .idle_timeout(None)
            .packet_timeout(None)
            .acceptors(1)
            .bind("127.0.0.1:0")
            .await
            .unwrap();
        let packet = [&(12 * KIB as u32).to_be_bytes()[..], &[b'x'; 12 * KIB]].concat();
        let mut peers = Vec::new();
        let mut before = 0;
        for number in 0..CONNECTIONS + 10 {
            // The first ones fill what the process keeps for all.
            if number == 10 {
                before = resident();
            }
            let mut peer = connect(&pool).await;
            peer.send([&packet, half].concat()).await;
            peer.expect(&packet).await;
            peers.push(peer);
        }
        eventually(|| pool.info().bytes_in as usize == peers.len() * (packet.len() + half.len())).await;
        let each = resident().saturating_sub(before) / CONNECTIONS;
        assert!(each < 8 * KIB, "{each} bytes each, {} of them half a packet", half.len());
        in_time(pool.stop(Duration::ZERO)).await;
    }
}
