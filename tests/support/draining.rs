//! A pool whose connections handle a shutdown as their peers have asked.

use std::time::Duration;

use actix_acceptor::{
    handlers::ProtocolService,
    info::{DrainReport, Status},
    AcceptorPool, Builder, Conn, Connection, Drain, Framing, Next, Pool, Protocol,
};
use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::*;

/// Longer than any test.
pub const LONG: Duration = Duration::from_secs(600);
/// As much as no kernel takes at once from a peer with a small window.
pub const FLOOD: usize = 512 * 1024;

/// Sends `bye` and stops at a shutdown, unless its peer has sent `stay` or `flood`.
pub struct ByeOnShutdown {
    stays: bool,
    shutdowns: UnboundedSender<ShutdownCall>,
}

/// A call of `shutdown`: when, and with which deadline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShutdownCall {
    pub at: Instant,
    pub deadline: Option<Instant>,
}

impl Protocol for ByeOnShutdown {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.stays |= packet == "stay" || packet == "flood";
        if packet == "flood" {
            conn.send(vec![b'x'; FLOOD].into()).unwrap();
        }
        Next::Send(packet)
    }

    fn shutdown(&mut self, deadline: Option<Instant>, _: &mut Conn<Self>) -> Next<Self> {
        self.shutdowns.send(ShutdownCall { at: Instant::now(), deadline }).unwrap();
        if self.stays {
            Next::Continue
        } else {
            Next::SendAndStop(Bytes::from("bye"))
        }
    }
}

/// The pool, and the calls of `shutdown`.
pub struct DrainPool {
    pub pool: Pool<Connection<ByeOnShutdown>>,
    pub shutdowns: UnboundedReceiver<ShutdownCall>,
}

pub async fn start_drain_pool(acceptors: usize) -> DrainPool {
    start_drain_pool_with(acceptors, |pool| pool).await
}

pub async fn start_drain_pool_with(
    acceptors: usize,
    set: impl FnOnce(Builder<ProtocolService<ByeOnShutdown>>) -> Builder<ProtocolService<ByeOnShutdown>>,
) -> DrainPool {
    let (shutdown_sender, shutdowns) = unbounded_channel();
    let pool = set(drain_builder(acceptors, shutdown_sender));
    DrainPool { pool: pool.bind("127.0.0.1:0").await.unwrap(), shutdowns }
}

pub fn drain_builder(
    acceptors: usize,
    shutdowns: UnboundedSender<ShutdownCall>,
) -> Builder<ProtocolService<ByeOnShutdown>> {
    let pool = AcceptorPool::with_protocol(move |_| ByeOnShutdown { stays: false, shutdowns: shutdowns.clone() });
    pool.framing(Framing::lines()).acceptors(acceptors).idle_timeout(None)
}

impl DrainPool {
    /// So many peers that have said a word and got it back.
    pub async fn connected_peers(&self, count: usize, word: &str) -> Vec<Peer> {
        let mut peers = queued(&self.pool, count).await;
        join_all(peers.iter_mut().map(|peer| peer.echo(format!("{word}\n")))).await;
        peers
    }

    /// One with a lot on its way to it, of which it has read nothing.
    pub async fn flooded(&self) -> Peer {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let mut peer = Peer(in_time(socket.connect(self.pool.local_addr().unwrap())).await.unwrap());
        peer.send("flood\n").await;
        // What it begins with: the rest is queued by then.
        peer.expect(b"x").await;
        peer
    }

    pub async fn next_shutdown(&mut self) -> ShutdownCall {
        in_time(self.shutdowns.recv()).await.unwrap()
    }
}

/// Peers that are connected, and no more than that.
pub async fn queued<A>(pool: &Pool<A>, count: usize) -> Vec<Peer> {
    join_all((0..count).map(|_| connect(pool))).await
}

/// A drain that has begun.
pub async fn begin<A: 'static>(pool: &Pool<A>, drain: Drain) -> JoinHandle<DrainReport> {
    let draining = actix_rt::spawn({
        let pool = pool.clone();
        async move { pool.drain(drain).await }
    });
    eventually(|| pool.status() != Status::Running && !matches!(pool.status(), Status::Suspended(_))).await;
    draining
}

/// What becomes of each connection: asked, finished, forced, unserved.
pub fn counts(report: &DrainReport) -> [usize; 4] {
    [report.asked, report.finished, report.forced, report.unserved]
}
