//! Connections counted by their protocol, and what every test of a limit checks.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{
    handlers::ProtocolService,
    telemetry::{CloseReason, RefusalReason},
    Acceptor, AcceptorPool, Builder, Closed, Conn, ConnectionInfo, Framing, Next, Pool, Protocol,
};
use bytes::Bytes;
use tokio::net::TcpSocket;

use support::*;

/// How many connections there are, and the most there were at once, as the protocol counts them.
#[derive(Clone, Default)]
pub(super) struct ConnectionCounter(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    alive: usize,
    most: usize,
    served: usize,
}

impl ConnectionCounter {
    /// A pool whose connections are counted: an echo.
    pub(super) fn pool(&self) -> Builder<ProtocolService<Counted>> {
        let counter = self.clone();
        AcceptorPool::with_protocol(move |_| Counted(counter.clone())).acceptors(1)
    }

    pub(super) fn alive(&self) -> usize {
        self.0.lock().unwrap().alive
    }

    /// The most there were at once since [`begin`](Census::begin).
    pub(super) fn most(&self) -> usize {
        self.0.lock().unwrap().most
    }

    /// How many came in since [`begin`](Census::begin).
    pub(super) fn served(&self) -> usize {
        self.0.lock().unwrap().served
    }

    /// Counts anew.
    pub(super) fn begin(&self) {
        let mut counts = self.0.lock().unwrap();
        (counts.most, counts.served) = (counts.alive, 0);
    }
}

/// An echo that is counted, and dies where and how its peer says.
pub(super) struct Counted(ConnectionCounter);

impl Protocol for Counted {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn init(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        let mut counts = self.0 .0.lock().unwrap();
        counts.alive += 1;
        counts.served += 1;
        counts.most = counts.most.max(counts.alive);
        Next::Continue
    }

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Send(packet)
    }

    fn closed(&mut self, _: &Closed, _: &ConnectionInfo) {
        self.0 .0.lock().unwrap().alive -= 1;
    }
}

/// A peer that was echoed already: it is a connection by now.
pub(super) async fn served<A>(pool: &Pool<A>) -> Peer {
    let mut peer = connect(pool).await;
    peer.echo("hello").await;
    peer
}

pub(super) async fn fill<A>(pool: &Pool<A>, count: usize) -> Vec<Peer> {
    let mut peers = Vec::new();
    for _ in 0..count {
        peers.push(served(pool).await);
    }
    peers
}

/// A peer that has said hello and should wait for its answer.
pub(super) async fn unserved_peer<A>(pool: &Pool<A>) -> Peer {
    let mut peer = connect(pool).await;
    peer.send("hello").await;
    peer
}

/// A peer of another address on this machine.
pub(super) async fn connect_from<A>(pool: &Pool<A>, ip: &str) -> Peer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(ip.parse::<IpAddr>().unwrap(), 0)).unwrap();
    Peer(in_time(socket.connect(pool.local_addr().unwrap())).await.expect("connected"))
}

pub(super) async fn served_from<A>(pool: &Pool<A>, ip: &str) -> Peer {
    let mut peer = connect_from(pool, ip).await;
    peer.echo("hello").await;
    peer
}

/// Waits until the limit counts this number of connections.
#[track_caller]
pub(super) fn counting<A>(pool: &Pool<A>, count: usize) -> impl std::future::Future<Output = ()> + '_ {
    eventually(move || pool.listeners().iter().map(|listener| listener.connections).sum::<usize>() == count)
}

/// Answered by an acceptor when what it was at is done.
#[derive(Message)]
#[rtype(result = "()")]
struct Ping;

impl Handler<Ping> for Acceptor {
    type Result = ();

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

/// Waits until every acceptor has done with the peers it had in hand.
pub(super) async fn acceptors_are_idle<A>(pool: &Pool<A>) {
    for acceptor in pool.acceptors() {
        in_time(acceptor.send(Ping)).await.unwrap();
    }
}

/// An empty pool admits exactly this number.
pub(super) async fn assert_capacity<A>(pool: &Pool<A>, count: usize) {
    counting(pool, 0).await;
    let peers = fill(pool, count).await;
    let mut more = unserved_peer(pool).await;
    more.expect_waiting().await;
    assert_eq!(pool.connections(), count);
    drop(peers);
    more.expect_served().await;
}

pub(super) fn refused<A>(pool: &Pool<A>, refusal: RefusalReason) -> u64 {
    pool.info().refused.get(refusal)
}

pub(super) fn closed<A>(pool: &Pool<A>, reason: CloseReason) -> u64 {
    pool.info().closed.get(reason)
}

#[track_caller]
pub(super) fn assert_adds_up<A>(pool: &Pool<A>) {
    let info = pool.info();
    assert_eq!(info.accepted, info.refused.total() + info.connections + info.closed.total(), "{info:?}");
}

pub(super) async fn ends<A>(pool: &Pool<A>) {
    assert_adds_up(pool);
    in_time(pool.stop(Duration::ZERO)).await;
    assert_adds_up(pool);
    assert_eq!(pool.connections(), 0);
}
