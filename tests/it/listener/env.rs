//! The value of a listener, as its connections see it.

use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{
    AcceptorPool, Conn, Connection, Framing, Listener, Next, Peer as NewPeer, Pool, Protocol, Socket,
};
use bytes::Bytes;
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A tenant, whose drop can be observed.
struct Tenant(&'static str, #[allow(dead_code)] Option<Arc<()>>);

/// Answers with the tenant of its factory and that of its callbacks.
struct Names(&'static str);

impl Protocol for Names {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, _: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let tenant = conn.env::<Tenant>().map_or("none", |tenant| tenant.0);
        let of_other_type = conn.env::<String>().is_some();
        Next::send(format!("{} {tenant} {of_other_type}", self.0))
    }
}

async fn started(listeners: Vec<Listener>) -> Pool<Connection<Names>> {
    let factory = |peer: &NewPeer| Names(peer.env::<Tenant>().map_or("none", |tenant| tenant.0));
    let builder = AcceptorPool::with_protocol(factory).framing(Framing::lines()).acceptors(1);
    in_time(listeners.into_iter().fold(builder, |builder, listener| builder.listener(listener)).start()).await.unwrap()
}

async fn peer<A>(pool: &Pool<A>, index: usize) -> Peer<TcpStream> {
    Peer(in_time(TcpStream::connect(pool.local_addrs()[index].socket().unwrap())).await.unwrap())
}

fn anywhere(name: &str) -> Listener {
    Listener::tcp("127.0.0.1:0").name(name.to_owned())
}

#[actix::test]
async fn each_listener_has_its_own_value() {
    let one = anywhere("one").env(0).env(Tenant("first", None));
    let pool = started(vec![one, anywhere("two").env(Tenant("second", None)), anywhere("three")]).await;
    for (index, answer) in ["first first false\n", "second second false\n", "none none false\n"].into_iter().enumerate()
    {
        let mut peer = peer(&pool, index).await;
        peer.send(b"?\n").await;
        peer.expect(answer.as_bytes()).await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_socket_has_the_value_of_its_listener() {
    let handler = |mut socket: Socket| async move {
        let tenant = socket.env::<Tenant>().map_or("none", |tenant| tenant.0);
        let _ = socket.write_all(tenant.as_bytes()).await;
    };
    let builder = AcceptorPool::with_fn(handler).listener(anywhere("one").env(Tenant("first", None)));
    let pool = in_time(builder.listener(anywhere("two")).start()).await.unwrap();
    assert_eq!(peer(&pool, 0).await.read_to_end().await, b"first");
    assert_eq!(peer(&pool, 1).await.read_to_end().await, b"none");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_new_value_is_for_new_connections() {
    let witness = Arc::new(());
    let pool = started(vec![anywhere("one").env(Tenant("old", Some(witness.clone())))]).await;
    let mut before = peer(&pool, 0).await;
    before.send(b"?\n").await;
    before.expect(b"old old false\n").await;
    let changed = in_time(pool.set_listeners(vec![anywhere("one").env(Tenant("new", None))])).await.unwrap();
    assert_eq!(changed.changed, ["one"]);
    before.send(b"?\n").await;
    before.expect(b"old old false\n").await;
    let mut after = peer(&pool, 0).await;
    after.send(b"?\n").await;
    after.expect(b"new new false\n").await;
    assert_eq!(Arc::strong_count(&witness), 2, "a connection has it");
    drop(before);
    eventually(|| Arc::strong_count(&witness) == 1).await;
    let changed = in_time(pool.set_listeners(vec![anywhere("one")])).await.unwrap();
    assert_eq!(changed.changed, ["one"]);
    let changed = in_time(pool.set_listeners(vec![anywhere("one")])).await.unwrap();
    assert_eq!(changed.unchanged, ["one"]);
    let mut last = peer(&pool, 0).await;
    last.send(b"?\n").await;
    last.expect(b"none none false\n").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

struct DropPanics;

impl Drop for DropPanics {
    fn drop(&mut self) {
        panic!("as asked");
    }
}

#[actix::test]
async fn a_value_whose_drop_panics_harms_nothing() {
    let pool = started(vec![anywhere("one").env(DropPanics)]).await;
    let mut before = peer(&pool, 0).await;
    before.send(b"?\n").await;
    before.expect(b"none none false\n").await;
    in_time(pool.set_listeners(vec![anywhere("one").env(Tenant("new", None))])).await.unwrap();
    drop(before);
    eventually(|| pool.connections() == 0).await;
    let mut after = peer(&pool, 0).await;
    after.send(b"?\n").await;
    after.expect(b"new new false\n").await;
    in_time(pool.stop(Duration::ZERO)).await;
}
