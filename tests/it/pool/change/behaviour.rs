//! New connections served otherwise, beside old ones that go on as they began.

use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::error::PoolEnded;
use actix_acceptor::{AcceptorPool, Ack, Framing, Next, Pool, Socket};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use support::*;

/// A factory of protocols that answer everything with this.
fn greeting_factory(what: &'static str) -> impl Fn(&actix_acceptor::Peer) -> Probe + Send + Sync + 'static {
    let (factory, _) = Probe::factory(move |call, _| match call {
        Call::Packet(_) => Next::Send(Bytes::from(what)),
        call => protocol_default(call),
    });
    factory
}

async fn answer(peer: &mut Peer, expected: &[u8]) {
    peer.send("what do you say?").await;
    peer.expect(expected).await;
}

/// Old and new side by side, and the old ones go on to the end.
async fn side_by_side<A>(pool: &Pool<A>, change: impl FnOnce()) {
    let mut old = connect(pool).await;
    answer(&mut old, b"old").await;
    change();
    let mut new = connect(pool).await;
    for _ in 0..3 {
        answer(&mut new, b"new").await;
        answer(&mut old, b"old").await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn the_factory_can_be_replaced() {
    let pool = AcceptorPool::with_protocol(greeting_factory("old")).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    side_by_side(&pool, || pool.set_protocol(greeting_factory("new")).unwrap()).await;
    // A pool that has ended serves no connection.
    assert_eq!(pool.set_protocol(greeting_factory("new")), Err(PoolEnded));
}

async fn greet(mut socket: Socket, what: &'static str) {
    while socket.read(&mut [0; 100]).await.is_ok_and(|read| read > 0) {
        socket.write_all(what.as_bytes()).await.unwrap();
    }
}

#[actix::test]
async fn the_async_fn_can_be_replaced() {
    let pool = AcceptorPool::with_fn(|socket| greet(socket, "old")).acceptors(2).bind("127.0.0.1:0").await.unwrap();
    side_by_side(&pool, || pool.set_fn(|socket| greet(socket, "new")).unwrap()).await;
    assert_eq!(pool.set_fn(|socket| greet(socket, "new")), Err(PoolEnded));
}

struct GreetingActor(Option<Socket>, &'static str);

impl Actor for GreetingActor {
    type Context = Context<Self>;
}

impl Handler<Ack> for GreetingActor {
    type Result = ();

    fn handle(&mut self, _: Ack, ctx: &mut Context<Self>) {
        let greeting_factory = greet(self.0.take().unwrap(), self.1);
        ctx.spawn(greeting_factory.into_actor(self).map(|_, _, ctx| ctx.stop()));
    }
}

#[actix::test]
async fn the_actor_can_be_replaced() {
    let pool = AcceptorPool::with_actor(|socket| Ok(GreetingActor(Some(socket), "old").start())).acceptors(2);
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    side_by_side(&pool, || pool.set_actor(|socket| Ok(GreetingActor(Some(socket), "new").start())).unwrap()).await;
    assert_eq!(pool.set_actor(|socket| Ok(GreetingActor(Some(socket), "new").start())), Err(PoolEnded));
}

#[actix::test]
async fn the_framing_can_be_replaced() {
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    let mut old = connect(&pool).await;
    old.echo("a line\n").await;
    pool.set_framing(Framing::len2().with_max_frame(5)).unwrap();
    let mut new = connect(&pool).await;
    new.echo(b"\0\x05after").await;
    old.echo("a longer line\n").await;
    new.send(b"\0\x06longer").await;
    assert_eq!(new.until_gone().await, b"");
    pool.set_codec(|| Framing::lines().with_max_frame(3)).unwrap();
    let mut last = connect(&pool).await;
    last.echo("abc\n").await;
    last.send("abcd\n").await;
    assert_eq!(last.until_gone().await, b"");
    old.echo("still a line\n").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_broadcast_uses_the_framing_of_new_connections() {
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    pool.set_framing(Framing::len1()).unwrap();
    let mut peer = connect(&pool).await;
    peer.echo(b"\x02hi").await;
    assert_eq!(pool.broadcast(Bytes::from("all")).unwrap().delivered, 1);
    peer.expect(b"\x03all").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_panicking_new_factory_can_be_replaced() {
    let pool = AcceptorPool::with_protocol(greeting_factory("old")).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut old = connect(&pool).await;
    answer(&mut old, b"old").await;
    pool.set_protocol(|_| panic!("a factory panics")).unwrap();
    assert_eq!(connect(&pool).await.until_gone().await, b"");
    answer(&mut old, b"old").await;
    pool.set_protocol(greeting_factory("new")).unwrap();
    answer(&mut connect(&pool).await, b"new").await;
    in_time(pool.stop(Duration::ZERO)).await;
}
