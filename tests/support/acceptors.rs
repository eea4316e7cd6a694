//! Acceptors in tests: end them, block their threads, have all of them serve.

use std::sync::mpsc;

use actix::prelude::*;
use actix_acceptor::{Acceptor, Pool};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{connect, eventually, in_time, Peer};

/// How an acceptor may fail.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub enum AcceptorFailure {
    Stop,
    Panic,
    WithArbiter,
}

impl AcceptorFailure {
    pub const ALL: [AcceptorFailure; 3] = [AcceptorFailure::Stop, AcceptorFailure::Panic, AcceptorFailure::WithArbiter];
}

impl Handler<AcceptorFailure> for Acceptor {
    type Result = ();

    fn handle(&mut self, die: AcceptorFailure, ctx: &mut Context<Self>) {
        match die {
            AcceptorFailure::Stop => ctx.stop(),
            AcceptorFailure::Panic => panic!("an acceptor dies"),
            AcceptorFailure::WithArbiter => {
                Arbiter::current().stop();
            }
        }
    }
}

/// How often acceptors were replaced.
pub fn restarts<A>(pool: &Pool<A>) -> u64 {
    pool.info().acceptors.iter().map(|acceptor| acceptor.restarts).sum()
}

/// Ends the first acceptor, and waits until its successor runs.
pub async fn kill<A>(pool: &Pool<A>, die: AcceptorFailure) {
    fail_acceptor_at(pool, 0, die).await;
}

/// The same for the one of this number, modulo their count.
pub async fn fail_acceptor_at<A>(pool: &Pool<A>, number: usize, die: AcceptorFailure) {
    let (before, at_work) = (restarts(pool), pool.acceptors());
    at_work[number % at_work.len()].do_send(die);
    eventually(|| restarts(pool) == before + 1 && pool.acceptors().len() == at_work.len()).await;
}

/// Peers that were served, until every acceptor has one at least.
pub async fn one_peer_per_acceptor<A>(pool: &Pool<A>) -> Vec<Peer> {
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

/// Acceptors whose arbiters are blocked until this is dropped.
pub struct Blocked {
    _gates: Vec<mpsc::Sender<()>>,
}

/// Blocks some acceptors, the first ones.
pub async fn block<A>(pool: &Pool<A>, count: usize) -> Blocked {
    let mut gates = Vec::new();
    for acceptor in pool.acceptors().into_iter().take(count) {
        gates.push(block_acceptor(acceptor).await);
    }
    Blocked { _gates: gates }
}

/// Blocks the acceptor of this number.
pub async fn block_at<A>(pool: &Pool<A>, number: usize) -> Blocked {
    Blocked { _gates: vec![block_acceptor(pool.acceptors().swap_remove(number)).await] }
}

async fn block_acceptor(acceptor: Addr<Acceptor>) -> mpsc::Sender<()> {
    let ((begun, begins), (open, gate)) = (oneshot::channel(), mpsc::channel());
    acceptor.do_send(Block { begun, gate });
    in_time(begins).await.expect("an acceptor at work");
    open
}

/// Whether the kernel refuses peers at the pool's first port.
pub async fn refuses<A>(pool: &Pool<A>) -> bool {
    let address = pool.local_addr().expect("a TCP port");
    match in_time(TcpStream::connect(address)).await {
        Ok(_) => false,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    }
}

/// Lets the actors of this thread handle their messages.
pub async fn run_local_tasks() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}
