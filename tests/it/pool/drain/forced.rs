//! What is ended at the deadline, and what counts as that.

use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{
    telemetry::CloseReason, Acceptor, AcceptorPool, Closed, Conn, Connection, ConnectionId, ConnectionInfo, Drain,
    Framing, Next, Pool, Protocol,
};
use bytes::Bytes;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

use support::draining::*;
use support::*;

#[actix::test]
async fn a_second_immediate_drain_aborts_at_once() {
    let mut drained = start_drain_pool(1).await;
    let mut peer = drained.flooded().await;
    let first = begin(&drained.pool, Drain::grace(LONG)).await;
    drained.next_shutdown().await;
    let began = Instant::now();
    let report = in_time(drained.pool.stop(Duration::ZERO)).await;
    // Without the half second in which queued bytes are sent.
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(counts(&report), [1, 0, 1, 0]);
    assert!(peer.until_gone().await.len() < FLOOD);
    in_time(first).await.unwrap();
}

/// Answers a packet, and a shutdown, with a lot of bytes, and stops.
struct Flooder(UnboundedSender<CloseReason>);

impl Protocol for Flooder {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        if packet == "stop" {
            Next::SendAndStop(vec![b'x'; FLOOD].into())
        } else {
            Next::Send(packet)
        }
    }

    fn shutdown(&mut self, _: Option<Instant>, _: &mut Conn<Self>) -> Next<Self> {
        Next::SendAndStop(vec![b'x'; FLOOD].into())
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.send(why.reason()).unwrap();
    }
}

/// A peer with a small window that has got an answer to a word.
async fn flooder(word: &str) -> (Pool<Connection<Flooder>>, Peer, UnboundedReceiver<CloseReason>) {
    let (sender, closed) = unbounded_channel();
    let pool = AcceptorPool::with_protocol(move |_| Flooder(sender.clone())).framing(Framing::lines()).acceptors(1);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut peer = Peer(in_time(socket.connect(pool.local_addr().unwrap())).await.unwrap());
    peer.send(format!("{word}\n")).await;
    peer.expect(if word == "stop" { b"x" } else { &word.as_bytes()[..1] }).await;
    (pool, peer, closed)
}

#[actix::test]
async fn a_closing_connection_is_not_counted_as_forced() {
    let (pool, mut peer, mut closed) = flooder("hello").await;
    let grace = Duration::from_millis(200);
    let draining = begin(&pool, Drain::grace(grace)).await;
    // It stops by itself, and has not sent everything at the deadline.
    pass(grace + Duration::from_millis(100)).await;
    peer.until_gone().await;
    assert_eq!(in_time(closed.recv()).await, Some(CloseReason::Shutdown));
    let report = in_time(draining).await.unwrap();
    assert_eq!(counts(&report), [1, 1, 0, 0]);
    assert_eq!(report.closed.get(CloseReason::Shutdown), 1);
}

/// Kills a connection, and stops the arbiter before the connection has run.
#[derive(Message)]
#[rtype(result = "()")]
struct KillAndStop(Pool<Connection<Flooder>>, ConnectionId);

impl Handler<KillAndStop> for Acceptor {
    type Result = ();

    fn handle(&mut self, KillAndStop(pool, id): KillAndStop, _: &mut Context<Self>) {
        Arbiter::current().stop();
        // More tasks than a `LocalSet` runs before it looks at its own end.
        (0..200).for_each(|_| drop(actix_rt::spawn(async {})));
        assert!(pool.kill(id));
    }
}

#[actix::test]
async fn a_killed_connection_of_a_dead_arbiter_counts_as_killed() {
    let (pool, _peer, mut closed) = flooder("stop").await;
    let id = pool.list()[0].id;
    // It was closing for another reason.
    pool.acceptors()[0].do_send(KillAndStop(pool.clone(), id));
    assert_eq!(in_time(closed.recv()).await, Some(CloseReason::Killed));
    eventually(|| pool.info().closed.get(CloseReason::Killed) == 1).await;
    in_time(pool.stop(Duration::ZERO)).await;
}
