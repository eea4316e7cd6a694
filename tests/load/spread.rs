//! How connections spread over the arbiters, and how they are numbered.

use std::collections::HashSet;
use std::sync::{mpsc, Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use actix_acceptor::{AcceptorPool, Conn, ConnectionId, Framing, Next, Pool, Protocol};
use bytes::Bytes;
use futures::future::join_all;
use support::*;
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};

const CONNECTIONS: usize = 2_000;

/// Both ends of every connection are in this process; a shell's usual 1,024 descriptors are not enough.
fn raise_the_limit_of_descriptors() {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::resource::{getrlimit, setrlimit, Resource};
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    }
}

fn assert_spread<A>(pool: &Pool<A>) {
    let shares: Vec<u64> = pool.info().acceptors.iter().map(|acceptor| acceptor.connections).collect();
    let fullest = *shares.iter().max().unwrap() as usize;
    assert!(fullest <= CONNECTIONS / shares.len() * 5 / 4, "{shares:?}");
}

#[actix::test]
async fn the_fullest_of_4_arbiters_holds_at_most_1_25_times_the_mean() {
    raise_the_limit_of_descriptors();
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(4).bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS / 100 {
        peers.extend(join_all((0..100).map(|_| connect(&pool))).await);
    }
    eventually(|| pool.connections() == CONNECTIONS).await;
    assert_spread(&pool);
    join_all(peers.iter_mut().map(|peer| peer.echo("all are served"))).await;
    // A quarter leaves, unevenly; as many come: the newcomers fill the gaps.
    let first: HashSet<_> = pool.list().iter().take(CONNECTIONS / 4).map(|info| info.peer.socket().unwrap()).collect();
    peers.retain(|peer| !first.contains(&peer.address()));
    eventually(|| pool.connections() == CONNECTIONS - CONNECTIONS / 4).await;
    for _ in 0..CONNECTIONS / 4 {
        peers.push(connect(&pool).await);
    }
    eventually(|| pool.connections() == CONNECTIONS).await;
    assert_spread(&pool);
    in_time(pool.stop(Duration::ZERO)).await;
}

/// Blocks its arbiter at the word, until the gate is opened.
struct Blocking {
    blocks: UnboundedSender<()>,
    gate: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Protocol for Blocking {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        if packet == "block" {
            self.blocks.send(()).unwrap();
            let _ = self.gate.lock().unwrap().recv();
        }
        Next::Send(packet)
    }
}

#[actix::test]
async fn peers_do_not_queue_behind_a_blocked_arbiter() {
    let (open, gate) = mpsc::channel();
    let gate = Arc::new(Mutex::new(gate));
    let (blocks, mut blocked) = unbounded_channel();
    let factory = move |_: &_| Blocking { blocks: blocks.clone(), gate: gate.clone() };
    let pool = AcceptorPool::with_protocol(factory).acceptors(4).bind("127.0.0.1:0").await.unwrap();
    let mut blocker = connect(&pool).await;
    blocker.echo("hello").await;
    blocker.send("block").await;
    in_time(blocked.recv()).await.unwrap();
    let mut peers = join_all((0..200).map(|_| connect(&pool))).await;
    within(Duration::from_secs(5), join_all(peers.iter_mut().map(|peer| peer.echo("served")))).await;
    open.send(()).unwrap();
    blocker.expect(b"block").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn connections_are_numbered_in_the_order_of_acceptance() {
    let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..50 {
        let mut peer = connect(&pool).await;
        peer.echo("one after the other").await;
        peers.push(peer);
    }
    let list = pool.list();
    let ids: Vec<u64> = list.iter().map(|info| info.id.get()).collect();
    assert_eq!(ids, (1..=50).collect::<Vec<_>>());
    for (info, peer) in list.iter().zip(&peers) {
        assert_eq!(info.peer.socket(), Some(peer.address()));
    }
    peers.clear();
    eventually(|| pool.connections() == 0).await;
    connect(&pool).await.echo("a number is not given twice").await;
    assert_eq!(pool.info().accepted, 51);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn numbers_are_unique_over_all_arbiters() {
    let ids = Arc::<Mutex<Vec<ConnectionId>>>::default();
    let taken = ids.clone();
    let factory = move |peer: &actix_acceptor::Peer| {
        taken.lock().unwrap().push(peer.id);
        Echo
    };
    let pool = AcceptorPool::with_protocol(factory).acceptors(4).bind("127.0.0.1:0").await.unwrap();
    for _ in 0..5 {
        join_all((0..100).map(|_| async { connect(&pool).await.echo("me too").await })).await;
    }
    let mut ids = ids.lock().unwrap().clone();
    ids.sort();
    assert_eq!(ids, (1..=500).map(ConnectionId::from).collect::<Vec<_>>());
    in_time(pool.stop(Duration::ZERO)).await;
}

/// The threads that connections are made on.
#[derive(Clone, Default)]
struct Threads(Arc<Mutex<HashSet<ThreadId>>>);

impl Threads {
    fn assert_here(&self) {
        self.0.lock().unwrap().insert(thread::current().id());
    }

    fn seen(&self) -> HashSet<ThreadId> {
        self.0.lock().unwrap().clone()
    }
}

#[actix::test]
async fn each_acceptor_has_a_thread_of_its_own() {
    let threads = Threads::default();
    let seen = threads.clone();
    let pool = AcceptorPool::with_protocol(move |_| {
        threads.assert_here();
        Echo
    })
    .acceptors(3)
    .bind("127.0.0.1:0")
    .await
    .unwrap();
    let mut peers = Vec::new();
    while pool.info().acceptors.iter().any(|acceptor| acceptor.connections == 0) {
        assert!(peers.len() < 1_000, "an arbiter serves nobody: {:?}", pool.info());
        peers.extend(join_all((0..20).map(|_| connect(&pool))).await);
        eventually(|| pool.connections() == peers.len()).await;
    }
    assert_eq!(seen.seen().len(), 3);
    assert!(!seen.seen().contains(&thread::current().id()));
    drop(peers);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn on_the_current_arbiter_everything_is_on_one_thread() {
    for acceptors in [1, 3] {
        let threads = Threads::default();
        let seen = threads.clone();
        let pool = AcceptorPool::with_protocol(move |_| {
            threads.assert_here();
            Echo
        })
        .on_current_arbiter()
        .acceptors(acceptors)
        .bind("127.0.0.1:0")
        .await
        .unwrap();
        let mut peers = join_all((0..50).map(|_| connect(&pool))).await;
        join_all(peers.iter_mut().map(|peer| peer.echo("hello"))).await;
        assert_eq!(seen.seen(), HashSet::from([thread::current().id()]));
        assert_eq!(pool.acceptors().len(), acceptors);
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn the_default_is_one_acceptor_per_core() {
    let pool = AcceptorPool::with_protocol(|_| Echo).bind("127.0.0.1:0").await.unwrap();
    assert_eq!(pool.acceptors().len(), thread::available_parallelism().unwrap().get());
    in_time(pool.stop(Duration::ZERO)).await;
    let pool = AcceptorPool::with_protocol(|_| Echo).on_current_arbiter().bind("127.0.0.1:0").await.unwrap();
    assert_eq!(pool.acceptors().len(), 1);
    in_time(pool.stop(Duration::ZERO)).await;
}
