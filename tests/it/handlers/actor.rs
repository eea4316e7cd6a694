//! `AcceptorPool::with_actor`: ack and refusal.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{telemetry::CloseReason, AcceptorPool, Ack, ConnectionId, Pool, Socket};
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};

/// What happened to an actor, reported to the test.
#[derive(Debug, PartialEq, Eq)]
enum ActorEvent {
    Acked { id: ConnectionId, found_itself: bool, listed: bool },
    Stopped,
}

/// Holds its socket, and looks itself up when it is acked.
struct Holder {
    socket: Option<Socket>,
    drained: Option<SpawnHandle>,
    pool: Arc<OnceLock<Pool<Holder>>>,
    words: UnboundedSender<ActorEvent>,
}

impl Actor for Holder {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Context<Self>) {
        let _ = self.words.send(ActorEvent::Stopped);
    }
}

impl Handler<Ack> for Holder {
    type Result = ();

    fn handle(&mut self, ack: Ack, ctx: &mut Context<Self>) {
        assert_eq!(self.socket.as_ref().unwrap().id(), ack.id);
        let pool = self.pool.get().expect("the pool had started");
        let found_itself = pool.find(ack.id).is_some_and(|address| address == ctx.address());
        let listed = pool.list().iter().any(|connection| connection.id == ack.id);
        self.words.send(ActorEvent::Acked { id: ack.id, found_itself, listed }).unwrap();
        // It does not read, so nothing else would wake it.
        let draining = self.socket.as_ref().unwrap().draining();
        self.drained = Some(ctx.spawn(draining.into_actor(self).map(|(), _, ctx| ctx.stop())));
    }
}

#[derive(Message)]
#[rtype(result = "()")]
enum ActorCommand {
    Say(&'static str),
    LetGo,
    Stop,
    Panic,
}

impl Handler<ActorCommand> for Holder {
    type Result = ();

    fn handle(&mut self, order: ActorCommand, ctx: &mut Context<Self>) {
        match order {
            ActorCommand::Say(text) => {
                let mut socket = self.socket.take().unwrap();
                let say = async move { socket.write_all(text.as_bytes()).await.map(|()| socket) };
                ctx.wait(say.into_actor(self).map(|socket, me, _| me.socket = socket.ok()));
            }
            ActorCommand::LetGo => {
                self.socket = None;
                ctx.cancel_future(self.drained.unwrap());
            }
            ActorCommand::Stop => ctx.stop(),
            ActorCommand::Panic => panic!("as asked"),
        }
    }
}

async fn holders() -> (Pool<Holder>, tokio::sync::mpsc::UnboundedReceiver<ActorEvent>) {
    let (words, heard) = unbounded_channel();
    let shared = Arc::<OnceLock<Pool<Holder>>>::default();
    let known = shared.clone();
    let start = move |socket| {
        Ok(Holder { socket: Some(socket), drained: None, pool: known.clone(), words: words.clone() }.start())
    };
    let pool = AcceptorPool::with_actor(start).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    shared.set(pool.clone()).unwrap();
    (pool, heard)
}

#[actix::test]
async fn ack_arrives_once_after_registration() {
    let (pool, mut words) = holders().await;
    let mut peers = Vec::new();
    let mut acked = HashSet::new();
    for _ in 0..50 {
        peers.push(connect(&pool).await);
    }
    for _ in 0..50 {
        match in_time(words.recv()).await.unwrap() {
            ActorEvent::Acked { id, found_itself: true, listed: true } => assert!(acked.insert(id), "{id} twice"),
            other => panic!("{other:?}"),
        }
    }
    let books: HashSet<_> = pool.addresses().into_iter().map(|(id, _)| id).collect();
    assert_eq!(books, acked);
    for (_, address) in pool.addresses() {
        in_time(address.send(ActorCommand::Say("hello"))).await.unwrap();
    }
    for peer in &mut peers {
        peer.expect(b"hello").await;
    }
    assert!(words.is_empty(), "nobody was acked twice, nobody has stopped");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn the_pool_keeps_an_unreferenced_actor_alive() {
    let (pool, mut words) = holders().await;
    let mut peer = connect(&pool).await;
    let ActorEvent::Acked { id, .. } = in_time(words.recv()).await.unwrap() else { panic!("not acked") };
    // Several rounds of every arbiter: an actor without an address would have stopped.
    for _ in 0..5 {
        in_time(pool.find(id).unwrap().send(ActorCommand::Say("."))).await.unwrap();
        peer.expect(b".").await;
    }
    assert!(words.is_empty());
    // It drops the socket: the peer sees the end and the pool forgets the connection.
    pool.find(id).unwrap().do_send(ActorCommand::LetGo);
    assert_eq!(peer.read_to_end().await, b"");
    assert_eq!(in_time(words.recv()).await, Some(ActorEvent::Stopped));
    assert!(pool.find(id).is_none());
    assert_eq!(pool.info().closed.get(CloseReason::Local), 1);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn an_actor_that_stops_or_panics_closes_its_socket_and_no_other() {
    for (order, reason) in [(ActorCommand::Stop, CloseReason::Local), (ActorCommand::Panic, CloseReason::Panic)] {
        let (pool, mut words) = holders().await;
        let mut peer = connect(&pool).await;
        let ActorEvent::Acked { id, .. } = in_time(words.recv()).await.unwrap() else { panic!("not acked") };
        let _other = connect(&pool).await;
        let ActorEvent::Acked { id: other, .. } = in_time(words.recv()).await.unwrap() else { panic!("not acked") };
        pool.find(id).unwrap().do_send(order);
        assert_eq!(peer.until_gone().await, b"");
        eventually(|| pool.info().closed.get(reason) == 1).await;
        assert!(pool.find(id).is_none() && pool.find(other).is_some());
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn a_refusing_actor_closes_only_its_socket() {
    let calls = AtomicUsize::new(0);
    let (words, mut heard) = unbounded_channel();
    let shared = Arc::<OnceLock<Pool<Holder>>>::default();
    let known = shared.clone();
    let start = move |socket: Socket| match calls.fetch_add(1, Relaxed) % 3 {
        0 => Err("not with you".into()),
        1 => {
            drop(socket);
            Err("the socket is gone already".into())
        }
        _ => Ok(Holder { socket: Some(socket), drained: None, pool: known.clone(), words: words.clone() }.start()),
    };
    let pool = AcceptorPool::with_actor(start).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    shared.set(pool.clone()).unwrap();
    let mut taken = Vec::new();
    for _ in 0..5 {
        assert_eq!(connect(&pool).await.until_gone().await, b"");
        assert_eq!(connect(&pool).await.until_gone().await, b"");
        taken.push(connect(&pool).await);
        assert!(matches!(in_time(heard.recv()).await, Some(ActorEvent::Acked { .. })));
    }
    assert_eq!(pool.connections(), 5);
    let info = pool.info();
    assert_eq!((info.accepted, info.closed.get(CloseReason::Error), info.closed.total()), (15, 10, 10));
    assert_eq!(info.acceptors[0].restarts, 0);
    for ((_, address), peer) in pool.addresses().into_iter().zip(&mut taken) {
        in_time(address.send(ActorCommand::Say("untouched"))).await.unwrap();
        peer.expect(b"untouched").await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}
