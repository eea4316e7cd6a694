//! Replies that were left out because an outbox had no room for them.

use std::sync::{Arc, Mutex};

use actix_acceptor::limits::SlowConsumer;
use actix_acceptor::telemetry::{ConnectionId, Observer, PoolEvent};
use actix_acceptor::{AcceptorPool, Connection, Framing, Pool, Socket};
use bytes::Bytes;
use support::*;
use tokio::io::AsyncWriteExt;

/// The connections whose replies were left out, with their number, and those that have ended, with 0.
#[derive(Clone, Default)]
struct Dropped(Arc<Mutex<Vec<(ConnectionId, u64)>>>);

impl Dropped {
    fn seen(&self) -> Vec<(ConnectionId, u64)> {
        self.0.lock().unwrap().clone()
    }

    /// The number of replies so far.
    fn replies(&self) -> u64 {
        self.seen().iter().map(|(_, replies)| replies).sum()
    }
}

impl Observer for Dropped {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        match *event {
            PoolEvent::RepliesDropped { id, replies, listener, .. } => {
                assert_eq!(listener, "drop");
                self.0.lock().unwrap().push((id, replies));
            }
            PoolEvent::ConnectionStopped { id, .. } => self.0.lock().unwrap().push((id, 0)),
            _ => {}
        }
    }
}

/// A pool with outboxes of 10,000 bytes.
async fn start() -> (Pool<Connection<Echo>>, Dropped) {
    let dropped = Dropped::default();
    let builder = AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(1).name("drop");
    let builder = builder.outbox(10_000, SlowConsumer::DropNewest).observer(dropped.clone());
    (builder.bind("127.0.0.1:0").await.unwrap(), dropped)
}

#[actix::test]
async fn a_reply_larger_than_the_outbox_is_reported_at_once() {
    let (pool, dropped) = start().await;
    let mut peer = connect(&pool).await;
    peer.echo("ready").await;
    let id = pool.list()[0].id;
    assert_eq!(pool.broadcast(Bytes::from(vec![0; 10_001])).unwrap().full, [id]);
    eventually(|| dropped.seen() == [(id, 1)]).await;
    peer.echo("still served").await;
}

#[actix::test]
async fn replies_left_out_are_reported_when_the_outbox_is_empty() {
    let (pool, dropped) = start().await;
    let mut peer = connect(&pool).await;
    peer.echo("ready").await;
    let id = pool.list()[0].id;
    let mut sent = 0;
    while pool.info().dropped < 20 {
        sent += pool.broadcast(Bytes::from(vec![b'x'; 5_000])).unwrap().delivered;
        tokio::task::yield_now().await;
    }
    // While the peer reads nothing, the outbox stays full once the kernel's buffers are.
    let left_out = pool.info().dropped;
    peer.read_exact(sent * 5_000).await;
    eventually(|| dropped.replies() == left_out).await;
    peer.echo("still served").await;
    assert!(dropped.seen().iter().all(|(of, replies)| *of == id && *replies > 0), "{:?}", dropped.seen());
}

#[actix::test]
async fn replies_left_out_are_reported_before_the_end() {
    let (pool, dropped) = start().await;
    let mut peer = connect(&pool).await;
    peer.echo("ready").await;
    let id = pool.list()[0].id;
    while pool.info().dropped < 20 {
        let _ = pool.broadcast(Bytes::from(vec![b'x'; 5_000])).unwrap();
        tokio::task::yield_now().await;
    }
    let left_out = pool.info().dropped;
    pool.kill(id);
    eventually(|| dropped.seen().last() == Some(&(id, 0))).await;
    assert_eq!(dropped.replies(), left_out);
    assert_eq!(dropped.seen().iter().filter(|(_, replies)| *replies == 0).count(), 1);
}

#[actix::test]
async fn pushes_left_out_are_reported_by_the_owner_of_a_socket() {
    let dropped = Dropped::default();
    let (opened, gate) = tokio::sync::watch::channel(false);
    let builder = AcceptorPool::with_fn(move |mut socket: Socket| {
        let mut gate = gate.clone();
        async move {
            let mut pushes = socket.pushes();
            let _ = gate.wait_for(|opened| *opened).await;
            while let Some(bytes) = pushes.recv().await {
                socket.write_all(&bytes).await?;
            }
            std::io::Result::Ok(())
        }
    });
    let builder = builder.outbox(10_000, SlowConsumer::DropNewest).acceptors(1).name("drop").observer(dropped.clone());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    eventually(|| pool.connections() == 1).await;
    let id = pool.list()[0].id;
    for _ in 0..5 {
        let _ = pool.untyped().broadcast(vec![b'x'; 5_000]);
    }
    assert_eq!(dropped.seen(), []);
    opened.send_replace(true);
    peer.read_exact(10_000).await;
    eventually(|| dropped.seen() == [(id, 3)]).await;
}
