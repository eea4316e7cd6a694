//! What was queued before a stop arrives, whatever the peer is doing meanwhile.

use std::time::Duration;

use actix_acceptor::{
    messages::Close, telemetry::CloseReason, AcceptorPool, Closed, Conn, Connection, ConnectionInfo, Framing, Next,
    Pool, Protocol,
};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use support::*;

/// Answers `way length` with that many bytes, and ends in that way.
struct SendAndEnd(Recorder);

impl Protocol for SendAndEnd {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let (way, length) = std::str::from_utf8(&packet).unwrap().rsplit_once(' ').unwrap();
        let reply = bytes(length.parse().unwrap());
        if way == "send and stop" {
            return Next::SendAndStop(reply);
        }
        conn.send(reply).unwrap();
        match way {
            "stop" => Next::Stop,
            "fail" => Next::fail("no good"),
            "wait" => conn.wait(tokio::task::yield_now(), |_, _, _| Next::Stop),
            _ => {
                conn.address().do_send(Close);
                Next::Continue
            }
        }
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.note(why);
    }
}

/// So many bytes. The stretch that repeats fits no buffer evenly: nothing is lost or doubled unseen.
fn bytes(length: usize) -> Bytes {
    let stretch: Vec<u8> = (0..4_099).map(|at| b'!' + (at % 89) as u8).collect();
    let mut bytes = stretch.repeat(length / stretch.len() + 1);
    bytes.truncate(length);
    bytes.into()
}

/// The same with the end of line that `Framing::lines` adds.
fn answer(length: usize) -> Vec<u8> {
    [&bytes(length)[..], b"\n"].concat()
}

async fn ending_pool() -> (Pool<Connection<SendAndEnd>>, Closings) {
    let (recorder, closings) = Recorder::new();
    let builder =
        AcceptorPool::with_protocol(move |_| SendAndEnd(recorder.clone())).framing(Framing::lines()).acceptors(1);
    (builder.bind("127.0.0.1:0").await.unwrap(), closings)
}

/// A peer that the kernel keeps little for.
async fn connect_with_small_buffer(pool: &Pool<Connection<SendAndEnd>>) -> Peer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    Peer(in_time(socket.connect(pool.local_addr().unwrap())).await.unwrap())
}

const MIB: usize = 1024 * 1024;

#[actix::test]
async fn a_slow_peer_gets_all_queued_bytes() {
    let (pool, mut closings) = ending_pool().await;
    for (way, reason) in [
        ("stop", CloseReason::Local),
        ("send and stop", CloseReason::Local),
        ("fail", CloseReason::Error),
        ("wait", CloseReason::Local),
        ("close", CloseReason::Local),
    ] {
        // 8 MiB are more than the kernel takes.
        for length in [1, MIB, 8 * MIB] {
            let mut peer = connect_with_small_buffer(&pool).await;
            peer.send(format!("{way} {length}\n")).await;
            let mut read = peer.read_exact(1).await;
            assert!(length < 8 * MIB || closings.is_empty(), "{way} {length}: over before it was sent");
            while read.len() < length {
                read.extend(peer.read_exact((length - read.len()).min(7_000)).await);
                tokio::task::yield_now().await;
            }
            read.extend(peer.read_to_end().await);
            assert!(read == answer(length), "{way} {length}: {} bytes, or other ones", read.len());
            assert_eq!(closings.reason().await, reason, "{way} {length}");
        }
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn unread_input_does_not_destroy_the_last_reply() {
    let (pool, mut closings) = ending_pool().await;
    // What comes behind a short reply must come within a second; behind one that waits to be read it may take its time.
    for (reply, behind) in [(5, 1), (5, 20_000), (5, 100_000), (5, 2 * MIB), (MIB, 2 * MIB), (16 * MIB, 16 * MIB)] {
        let mut peer = connect(&pool).await;
        // The peer sends all it has before it reads anything.
        let mut request = format!("send and stop {reply}\n").into_bytes();
        request.resize(request.len() + behind, b'x');
        peer.send(request).await;
        let mut read = Vec::new();
        let end = in_time(peer.0.read_to_end(&mut read)).await;
        assert!(end.is_ok(), "{reply} before {behind}: {end:?} after {} bytes", read.len());
        assert!(read == answer(reply), "{reply} before {behind}: {} bytes, or other ones", read.len());
        drop(peer);
        assert_eq!(closings.reason().await, CloseReason::Local, "{reply} before {behind}");
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_peer_still_sending_after_its_reply_is_not_reset() {
    let (pool, mut closings) = ending_pool().await;
    let mut peer = connect(&pool).await;
    let mut request = b"send and stop 5\n".to_vec();
    request.resize(100_000, b'x');
    peer.send(request).await;
    peer.expect(&answer(5)).await;
    eventually(|| pool.info().bytes_in == 100_000).await;
    for more in 1..=15 {
        peer.send("and more").await;
        eventually(|| pool.info().bytes_in == 100_000 + more * 8).await;
    }
    assert!(closings.is_empty(), "over while the peer was sending");
    peer.finish().await;
    assert_eq!(peer.read_to_end().await, b"");
    assert_eq!(closings.reason().await, CloseReason::Local);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_peer_that_keeps_sending_is_closed_after_a_stop() {
    let (pool, mut closings) = ending_pool().await;
    let mut peer = connect(&pool).await;
    peer.send("send and stop 5\n").await;
    // Until the pool has had enough.
    let endless = async { while peer.0.write_all(&[b'x'; 4096]).await.is_ok() {} };
    within(Duration::from_secs(10), endless).await;
    assert_eq!(closings.reason().await, CloseReason::Local);
    eventually(|| pool.connections() == 0).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[test]
fn a_peer_that_still_sends_after_a_stop_is_not_closed_early() {
    paused(async {
        let (recorder, mut closings) = Recorder::new();
        let builder = AcceptorPool::with_protocol(move |_| SendAndEnd(recorder.clone())).framing(Framing::lines());
        let (pool, script_handle) = in_memory(builder).await;
        let mut peer = script_handle.connect();
        // More than one read: the rest arrives after the stop.
        let mut request = b"send and stop 5\n".to_vec();
        request.resize(60_000, b'x');
        peer.send(request).await;
        assert_eq!(peer.read_to_end().await, answer(5));
        for _ in 0..4 {
            elapse(Duration::from_millis(400)).await;
            assert!(closings.is_empty(), "over while the peer was sending");
            peer.send("x").await;
        }
        assert_eq!(closings.reason().await, CloseReason::Local);
        in_time(pool.stop(Duration::ZERO)).await;
    });
}

#[test]
fn a_half_closed_peer_that_does_not_read_counts_as_send_timeout() {
    paused(async {
        let (recorder, mut closings) = Recorder::new();
        let builder = AcceptorPool::with_protocol(move |_| Recorded(recorder.clone()));
        let (pool, script_handle) = in_memory(builder.send_timeout(Duration::from_secs(1))).await;
        let mut peer = script_handle.connect();
        let answer = vec![b'x'; 60_000];
        peer.send(&answer).await;
        eventually(|| pool.info().bytes_in == 60_000).await;
        peer.send(&answer).await;
        peer.finish().await;
        assert_eq!(closings.reason().await, CloseReason::SendTimeout);
        in_time(pool.stop(Duration::ZERO)).await;
    });
}

#[test]
fn a_failed_write_keeps_the_reason_of_a_failure() {
    paused(async {
        let (recorder, mut closings) = Recorder::new();
        let builder = AcceptorPool::with_protocol(move |_| SendAndEnd(recorder.clone())).framing(Framing::lines());
        let (pool, script_handle) = in_memory(builder).await;
        for (way, reason) in [("fail", CloseReason::Error), ("stop", CloseReason::Peer)] {
            let mut peer = script_handle.connect();
            peer.send(format!("{way} {MIB}\n")).await;
            // It is closing by now, and most of the answer is queued.
            peer.read_exact(1).await;
            drop(peer);
            assert_eq!(closings.reason().await, reason, "{way}");
        }
        in_time(pool.stop(Duration::ZERO)).await;
    });
}
