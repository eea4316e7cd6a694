//! Every way to end is reported to `closed` once and counted once.

use std::time::Duration;

use actix_acceptor::{
    messages::Close, telemetry::CloseReason, AcceptorPool, Closed, Conn, ConnectionInfo, Framing, Next, Protocol, User,
};
use bytes::Bytes;

use support::*;

const SHORT_LIMIT: Duration = Duration::from_millis(30);

/// Ends as the packet says.
struct EndsOnRequest(Recorder);

impl Protocol for EndsOnRequest {
    type Codec = Framing;
    type Reply = Bytes;
    type User = &'static str;

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        match &packet[..] {
            b"stop" => return Next::Stop,
            b"fail" => return Next::fail("no good"),
            b"panic" => panic!("as asked"),
            b"idle" => conn.idle_timeout_once(SHORT_LIMIT),
            b"half" => conn.set_packet_timeout(SHORT_LIMIT),
            // More than the kernel buffers, and the peer does not read.
            b"flood" => return Next::Send(vec![b'x'; 16 * 1024 * 1024].into()),
            _ => {}
        }
        Next::Send(packet)
    }

    fn user(&mut self, message: &'static str, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(message.into())
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.note(why);
    }
}

#[actix::test]
async fn every_close_reason_is_reported_once_and_counted() {
    let (recorder, mut closings) = Recorder::new();
    let aging = recorder.clone();
    let pool = AcceptorPool::with_protocol(move |_| EndsOnRequest(recorder.clone()))
        .framing(Framing::lines().with_max_frame(100))
        .idle_timeout(None)
        .send_timeout(Duration::from_millis(300))
        .acceptors(2)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let ways: [(CloseReason, &[u8]); 7] = [
        (CloseReason::Local, b"stop\n"),
        (CloseReason::Error, b"fail\n"),
        (CloseReason::Panic, b"panic\n"),
        (CloseReason::Idle, b"idle\n"),
        (CloseReason::PacketTimeout, b"half\nhal"),
        (CloseReason::SendTimeout, b"flood\n"),
        (CloseReason::TooLong, &[b'x'; 101]),
    ];
    let mut expected = Vec::new();
    // The first way once, the second twice, and so on: no count is like another.
    for (times, (reason, words)) in ways.iter().enumerate() {
        for _ in 0..=times {
            let mut peer = connect(&pool).await;
            peer.send(words).await;
            let (told, why) = closings.next().await;
            assert_eq!(told, *reason, "{why}");
            expected.push(told);
        }
    }
    for reset in [false, true, true] {
        let mut peer = connect(&pool).await;
        peer.echo("hello\n").await;
        if reset {
            peer.reset();
        } else {
            drop(peer);
        }
        assert_eq!(closings.reason().await, CloseReason::Peer);
        expected.push(CloseReason::Peer);
    }
    for killed in [true, true, false] {
        let mut peer = connect(&pool).await;
        peer.echo("hello\n").await;
        let (id, address) = pool.addresses().pop().unwrap();
        let reason = if killed {
            assert!(pool.kill(id));
            CloseReason::Killed
        } else {
            in_time(address.send(User("last"))).await.unwrap();
            in_time(address.send(Close)).await.unwrap();
            CloseReason::Local
        };
        assert_eq!(peer.read_to_end().await, if killed { &b""[..] } else { b"last\n" });
        assert_eq!(closings.reason().await, reason);
        expected.push(reason);
    }
    let mut left = Vec::new();
    for _ in 0..4 {
        let mut peer = connect(&pool).await;
        peer.echo("hello\n").await;
        left.push(peer);
        expected.push(CloseReason::Shutdown);
    }
    in_time(pool.stop(None)).await;
    let info = pool.info();
    assert_eq!((info.accepted, info.connections), (expected.len() as u64, 0));
    for (reason, count) in info.closed.iter() {
        assert_eq!(count, expected.iter().filter(|told| **told == reason).count() as u64, "{reason:?}");
    }
    drop(pool);

    let pool = AcceptorPool::with_protocol(move |_| EndsOnRequest(aging.clone()))
        .max_age(SHORT_LIMIT)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    assert_eq!(connect(&pool).await.read_to_end().await, b"");
    in_time(pool.stop(Duration::ZERO)).await;
    assert_eq!((pool.info().closed.get(CloseReason::MaxAge), pool.info().closed.total()), (1, 1));
    drop(pool);
    assert_eq!(closings.rest().await, [&[CloseReason::Shutdown; 4][..], &[CloseReason::MaxAge]].concat());
}
