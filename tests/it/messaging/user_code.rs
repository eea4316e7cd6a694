//! User code in messages: clones, drops and codecs that panic or take long.

use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

use actix_acceptor::messages::EncodeOnce;
use actix_acceptor::{limits::SlowConsumer, telemetry::CloseReason, OutboxError};
use bytes::{BufMut, BytesMut};
use support::*;
use tokio_util::codec::{Decoder, Encoder};

use super::*;

/// A reply whose clones and drops are the test's.
struct Wild {
    text: &'static str,
    on_clone: Arc<dyn Fn() + Send + Sync>,
    panics_when_dropped: bool,
}

impl Wild {
    fn new(text: &'static str, on_clone: impl Fn() + Send + Sync + 'static) -> Self {
        Wild { text, on_clone: Arc::new(on_clone), panics_when_dropped: false }
    }
}

impl Clone for Wild {
    fn clone(&self) -> Self {
        (self.on_clone)();
        Wild { on_clone: self.on_clone.clone(), ..*self }
    }
}

impl Drop for Wild {
    fn drop(&mut self) {
        assert!(!self.panics_when_dropped, "dropped");
    }
}

/// Lines.
struct Lines;

impl Encoder<Wild> for Lines {
    type Error = io::Error;

    fn encode(&mut self, mut reply: Wild, wire: &mut BytesMut) -> io::Result<()> {
        reply.panics_when_dropped = false;
        wire.put(reply.text.as_bytes());
        wire.put_u8(b'\n');
        Ok(())
    }
}

impl Decoder for Lines {
    type Item = Bytes;
    type Error = io::Error;

    fn decode(&mut self, read: &mut BytesMut) -> io::Result<Option<Bytes>> {
        let end = read.iter().position(|byte| *byte == b'\n');
        Ok(end.map(|end| read.split_to(end + 1).freeze()))
    }
}

impl EncodeOnce for Lines {}

/// A member of `lobby` whose replies only its own codec encodes; or one that never becomes ready.
struct Own {
    is_ready: bool,
}

impl Protocol for Own {
    type Codec = Lines;
    type Reply = Wild;
    type User = ();

    fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        conn.codec_mut();
        let lobby = conn.pool().topic("lobby");
        conn.join(&lobby);
        match self.is_ready {
            true => Next::Continue,
            false => conn.wait(std::future::pending::<()>(), |(), _, _| Next::Stop),
        }
    }

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let lobby = conn.pool().topic("lobby");
        match &packet[..] {
            b"leave\n" if conn.leave(&lobby) => Next::send(Wild::new("left", || {})),
            _ => Next::send(Wild::new("here", || {})),
        }
    }
}

async fn start_own(is_ready: bool, outbox: usize) -> Pool<Connection<Own>> {
    let builder = AcceptorPool::with_codec(move |_| Own { is_ready }, || Lines).acceptors(1);
    builder.outbox(outbox, SlowConsumer::DropNewest).bind("127.0.0.1:0").await.unwrap()
}

/// Connects so many members, one after the other.
async fn members(pool: &Pool<Connection<Own>>, count: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    for n in 1..=count {
        peers.push(connect(pool).await);
        eventually(|| pool.topic("lobby").len() == n).await;
    }
    peers
}

#[actix::test]
async fn a_panic_while_publishing_leaves_no_member_asleep() {
    let pool = start_own(true, 1 << 20).await;
    let mut peers = members(&pool, 3).await;
    type Send = fn(&Pool<Connection<Own>>, Wild);
    let senders: [Send; 3] = [
        |pool, reply| drop(pool.topic("lobby").publish(reply)),
        |pool, reply| drop(pool.broadcast(reply)),
        |pool, reply| drop(pool.send_to(pool.list().into_iter().map(|connection| connection.id), reply)),
    ];
    for send in senders {
        let left = AtomicUsize::new(3);
        // One clone is encoded for the codec of new connections.
        let reply = Wild::new("first", move || assert!(left.fetch_sub(1, SeqCst) > 0, "the third member's clone"));
        assert!(catch_unwind(AssertUnwindSafe(|| send(&pool, reply))).is_err());
        assert_eq!(line(&mut peers[0]).await, "first");
        assert_eq!(line(&mut peers[1]).await, "first");
        send(&pool, Wild::new("second", || {}));
        for peer in &mut peers {
            assert_eq!(line(peer).await, "second");
        }
    }
}

#[actix::test]
async fn a_member_that_left_while_a_reply_was_cloned_gets_nothing() {
    let pool = start_own(true, 1 << 20).await;
    let mut peers = members(&pool, 1).await;
    let (gate, open) = Gate::new();
    let (cloning, is_cloning) = std::sync::mpsc::channel();
    let clones = AtomicUsize::new(0);
    let reply = Wild::new("late", move || {
        // The first clone is encoded for the codec of new connections.
        if clones.fetch_add(1, SeqCst) == 1 {
            cloning.send(()).unwrap();
            assert!(gate.pass());
        }
    });
    let publisher = std::thread::spawn({
        let lobby = pool.topic("lobby");
        move || lobby.publish(reply)
    });
    is_cloning.recv_timeout(TIME_LIMIT).unwrap();
    assert_eq!(ask(&mut peers[0], "leave").await, "left");
    open.send(()).unwrap();
    assert_eq!(publisher.join().unwrap().members, 0);
    assert_eq!(ask(&mut peers[0], "?").await, "here");
}

#[actix::test]
async fn replies_whose_drop_panics_cost_no_permit() {
    let pool = start_own(false, 1 << 20).await;
    for round in 1..=3 {
        let peers = members(&pool, 1).await;
        let id = pool.list()[0].id;
        let connection = pool.connection(id).unwrap();
        for _ in 0..3 {
            let mut reply = Wild::new("never sent", || {});
            reply.panics_when_dropped = true;
            assert!(connection.send(reply).is_ok());
        }
        assert!(pool.kill(id));
        eventually(|| pool.connections() == 0).await;
        in_time(pool.wait_for(|connections| connections == 0, None)).await.unwrap();
        assert_eq!(pool.info().closed.get(CloseReason::Killed), round);
        assert_eq!(connection.outbox().pending(), 0);
        drop(peers);
    }
    // The replies count, the permits are back, and nothing keeps the pool from ending.
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn tiny_replies_are_bounded_too() {
    struct Tiny;

    struct Codec;

    impl Encoder<()> for Codec {
        type Error = io::Error;

        fn encode(&mut self, (): (), wire: &mut BytesMut) -> io::Result<()> {
            wire.put_u8(b'.');
            Ok(())
        }
    }

    impl Decoder for Codec {
        type Item = ();
        type Error = io::Error;

        fn decode(&mut self, _: &mut BytesMut) -> io::Result<Option<()>> {
            Ok(None)
        }
    }

    impl Protocol for Tiny {
        type Codec = Codec;
        type Reply = ();
        type User = ();

        fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
            conn.wait(std::future::pending::<()>(), |(), _, _| Next::Stop)
        }

        fn packet(&mut self, (): (), _: &mut Conn<Self>) -> Next<Self> {
            Next::Continue
        }
    }

    let pool = AcceptorPool::with_codec(|_| Tiny, || Codec).outbox(64_000, SlowConsumer::DropNewest);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let _peer = connect(&pool).await;
    eventually(|| pool.connections() == 1).await;
    let outbox = pool.connection(pool.list()[0].id).unwrap().outbox();
    let sent = (0..10_000).take_while(|_| outbox.send(()).is_ok()).count();
    assert_eq!(sent, 1_000);
    assert!(matches!(outbox.send(()), Err(OutboxError::Full(()))));
}
