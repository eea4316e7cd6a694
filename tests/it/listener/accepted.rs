//! What is set on an accepted TCP socket, and what a connection says of its two ends.

use std::time::Duration;

use actix_acceptor::transport::TransportKind;
use actix_acceptor::{Framing, Next};
use bytes::Bytes;
use support::*;

#[actix::test]
async fn a_connection_knows_both_addresses() {
    let (builder, _diary) = Probe::pool(|call, conn| match call {
        Call::Packet(_) => {
            assert_eq!(conn.transport(), TransportKind::Tcp);
            let (here, there) = (conn.local_addr().unwrap(), conn.peer());
            Next::Send(Bytes::from(format!("{} {here} {there} {}", conn.id(), conn.listener())))
        }
        call => protocol_default(call),
    });
    let pool = builder.framing(Framing::lines()).name("by the wire").bind("127.0.0.1:0").await.unwrap();
    for id in 1..=2 {
        let mut peer = connect(&pool).await;
        peer.send("who?\n").await;
        let said = format!("{id} {} {} by the wire\n", pool.local_addr().unwrap(), peer.address());
        peer.expect(said.as_bytes()).await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

/// Nagle's algorithm would keep the second of two small replies until the peer's kernel has acknowledged the first, which
/// takes 40 ms where that waits for something to send along.
#[cfg(target_os = "linux")]
#[actix::test]
async fn small_replies_are_not_delayed() {
    use std::{sync::Arc, time::Instant};

    use tokio::sync::Notify;

    let first_came = Arc::new(Notify::new());
    let gate = first_came.clone();
    let (builder, _diary) = Probe::pool(move |call, conn| match call {
        Call::Packet(_) => {
            conn.send(Bytes::from_static(b"1")).unwrap();
            let gate = gate.clone();
            conn.wait(async move { gate.notified().await }, |(), _, _| Next::Send(Bytes::from_static(b"2")))
        }
        call => protocol_default(call),
    });
    let pool = builder.framing(Framing::lines()).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    let mut times = Vec::new();
    for _ in 0..30 {
        socket2::SockRef::from(&peer.0).set_tcp_quickack(false).unwrap();
        let asked = Instant::now();
        peer.send("go\n").await;
        peer.expect(b"1\n").await;
        first_came.notify_one();
        peer.expect(b"2\n").await;
        times.push(asked.elapsed());
    }
    times.sort();
    assert!(times[10] < Duration::from_millis(25), "{times:?}");
    in_time(pool.stop(Duration::ZERO)).await;
}
