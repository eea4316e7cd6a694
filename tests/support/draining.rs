//! A pool whose connections take a shutdown as their peers have told them to.

use std::time::{Duration, Instant};

use actix_acceptor::{
    handlers::ProtocolService,
    info::{DrainReport, Status},
    AcceptorPool, Builder, Conn, Connection, Drain, Framing, Next, Pool, Protocol,
};
use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use crate::*;

/// Longer than any test.
pub const LONG: Duration = Duration::from_secs(600);
/// As much as no kernel takes at once from a peer with a small window.
pub const FLOOD: usize = 512 * 1024;

/// Says `bye` and leaves when it is told, unless its peer has said `stay` or `flood`.
pub struct Guest {
    stays: bool,
    told: UnboundedSender<Told>,
}

/// One was told: when, and by when it is to be gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    pub at: Instant,
    pub deadline: Option<Instant>,
}

impl Protocol for Guest {
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
        self.told.send(Told { at: Instant::now(), deadline }).unwrap();
        if self.stays {
            Next::Continue
        } else {
            Next::SendAndStop(Bytes::from("bye"))
        }
    }
}

/// The pool, and who was told.
pub struct House {
    pub pool: Pool<Connection<Guest>>,
    pub told: UnboundedReceiver<Told>,
}

pub async fn house(acceptors: usize) -> House {
    house_with(acceptors, |pool| pool).await
}

pub async fn house_with(
    acceptors: usize,
    set: impl FnOnce(Builder<ProtocolService<Guest>>) -> Builder<ProtocolService<Guest>>,
) -> House {
    let (telling, told) = unbounded_channel();
    let pool = AcceptorPool::with_protocol(move |_| Guest { stays: false, told: telling.clone() });
    let pool = set(pool.framing(Framing::lines()).acceptors(acceptors).idle_timeout(None));
    House { pool: pool.bind("127.0.0.1:0").await.unwrap(), told }
}

impl House {
    /// So many peers that have said a word and got it back.
    pub async fn guests(&self, count: usize, word: &str) -> Vec<Peer> {
        let mut peers = queued(&self.pool, count).await;
        join_all(peers.iter_mut().map(|peer| peer.echo(format!("{word}\n")))).await;
        peers
    }

    /// One with a lot on its way to it, of which it has read nothing.
    pub async fn flooded(&self) -> Peer {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let mut peer = Peer(soon(socket.connect(self.pool.local_addr().unwrap())).await.unwrap());
        peer.send("flood\n").await;
        // What it begins with: the rest is queued by then.
        peer.expect(b"x").await;
        peer
    }

    pub async fn next_told(&mut self) -> Told {
        soon(self.told.recv()).await.unwrap()
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
