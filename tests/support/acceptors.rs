//! What a test may do to acceptors: end them, keep their threads busy, have all of them serve.

use std::sync::mpsc;

use actix::prelude::*;
use actix_acceptor::{Acceptor, Pool};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{connect, eventually, soon, Peer};

/// How an acceptor may die by its own doing.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub enum Die {
    Stop,
    Panic,
    WithArbiter,
}

impl Die {
    pub const ALL: [Die; 3] = [Die::Stop, Die::Panic, Die::WithArbiter];
}

impl Handler<Die> for Acceptor {
    type Result = ();

    fn handle(&mut self, die: Die, ctx: &mut Context<Self>) {
        match die {
            Die::Stop => ctx.stop(),
            Die::Panic => panic!("an acceptor dies"),
            Die::WithArbiter => {
                Arbiter::current().stop();
            }
        }
    }
}

/// How often acceptors were replaced.
pub fn restarts<A>(pool: &Pool<A>) -> u64 {
    pool.info().acceptors.iter().map(|acceptor| acceptor.restarts).sum()
}

/// Kills an acceptor, the first one, and waits until its successor is at work.
pub async fn kill<A>(pool: &Pool<A>, die: Die) {
    kill_one(pool, 0, die).await;
}

/// The same for the one of this number, counted round and round.
pub async fn kill_one<A>(pool: &Pool<A>, number: usize, die: Die) {
    let (before, at_work) = (restarts(pool), pool.acceptors());
    at_work[number % at_work.len()].do_send(die);
    eventually(|| restarts(pool) == before + 1 && pool.acceptors().len() == at_work.len()).await;
}

/// Peers that were served, until every acceptor has one at least.
pub async fn a_peer_for_each<A>(pool: &Pool<A>) -> Vec<Peer> {
    let mut peers = Vec::new();
    while pool.info().acceptors.iter().any(|acceptor| acceptor.connections == 0) {
        assert!(peers.len() < 2_000, "an acceptor serves nobody: {:?}", pool.info());
        let mut peer = connect(pool).await;
        peer.echo("hello\n").await;
        peers.push(peer);
    }
    peers
}

/// Blocks the thread of an acceptor.
#[derive(Message)]
#[rtype(result = "()")]
struct Block {
    begun: oneshot::Sender<()>,
    gate: mpsc::Receiver<()>,
}

impl Handler<Block> for Acceptor {
    type Result = ();

    fn handle(&mut self, block: Block, _: &mut Context<Self>) {
        let _ = block.begun.send(());
        let _ = block.gate.recv();
    }
}

/// Acceptors whose arbiters do nothing as long as this is there.
pub struct Blocked {
    _gates: Vec<mpsc::Sender<()>>,
}

/// Blocks some acceptors, the first ones.
pub async fn block<A>(pool: &Pool<A>, count: usize) -> Blocked {
    let mut gates = Vec::new();
    for acceptor in pool.acceptors().into_iter().take(count) {
        let ((begun, begins), (open, gate)) = (oneshot::channel(), mpsc::channel());
        acceptor.do_send(Block { begun, gate });
        soon(begins).await.expect("an acceptor at work");
        gates.push(open);
    }
    Blocked { _gates: gates }
}

/// Whether the kernel refuses peers at the pool's first port.
pub async fn refuses<A>(pool: &Pool<A>) -> bool {
    let address = pool.local_addr().expect("a TCP port");
    match soon(TcpStream::connect(address)).await {
        Ok(_) => false,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    }
}

/// Lets the actors of this thread do what they have been sent.
pub async fn breathe() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
