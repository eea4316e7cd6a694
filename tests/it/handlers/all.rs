//! What holds for all four handlers.

use std::io;
use std::time::Duration;

use actix_acceptor::{
    telemetry::CloseReason, AcceptorPool, Builder, Closed, Conn, ConnectionId, ConnectionInfo, Event, Framing, Init,
    Next, Pool, PoolHandle, Protocol, Socket,
};
use bytes::Bytes;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a server of this file does with a packet.
enum Verdict {
    Echo,
    Quit,
    Fail,
}

fn verdict(packet: &[u8]) -> Verdict {
    match packet {
        b"quit" => Verdict::Quit,
        b"fail" => Verdict::Fail,
        b"panic" => panic!("as asked"),
        _ => Verdict::Echo,
    }
}

struct ReportsReasons;

impl Protocol for ReportsReasons {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        match verdict(&packet) {
            Verdict::Echo => Next::Send(packet),
            Verdict::Quit => Next::Stop,
            Verdict::Fail => Next::fail("as asked"),
        }
    }
}

async fn serve(mut socket: Socket) -> io::Result<()> {
    let draining = socket.draining();
    let mut draining = std::pin::pin!(draining);
    let mut buffer = [0; 1024];
    loop {
        let read = tokio::select! {
            () = &mut draining => return Ok(()),
            read = socket.read(&mut buffer) => read?,
        };
        if read == 0 {
            return Ok(());
        }
        match verdict(&buffer[..read]) {
            Verdict::Echo => socket.write_all(&buffer[..read]).await?,
            Verdict::Quit => return Ok(()),
            Verdict::Fail => return Err(io::Error::other("as asked")),
        }
    }
}

/// A pool with each handler, two acceptors and the same settings.
async fn every_handler() -> Vec<(&'static str, PoolHandle)> {
    fn two<D>(builder: Builder<D>) -> Builder<D> {
        builder.acceptors(2)
    }
    let events = AcceptorPool::with_events(
        |_| Init::new(()),
        |_, event, _| match event {
            Event::Packet(packet) => match verdict(&packet) {
                Verdict::Echo => Next::Send(packet),
                Verdict::Quit => Next::Stop,
                Verdict::Fail => Next::fail("as asked"),
            },
            event => event.default_next(),
        },
    );
    let address = "127.0.0.1:0";
    vec![
        ("protocol", two(AcceptorPool::with_protocol(|_| ReportsReasons)).bind(address).await.unwrap().untyped()),
        ("events", two(events).bind(address).await.unwrap().untyped()),
        ("serve", two(AcceptorPool::with_fn(serve)).bind(address).await.unwrap().untyped()),
        (
            "start",
            two(AcceptorPool::with_actor(|s| Ok(SocketActor::start(s, serve)))).bind(address).await.unwrap().untyped(),
        ),
    ]
}

async fn closed<A>(pool: &Pool<A>, reason: CloseReason, count: u64) {
    eventually(|| pool.info().closed.get(reason) == count).await;
    assert_eq!(pool.info().closed.total(), count, "all for {reason:?}");
}

#[actix::test]
async fn every_handler_counts_and_lists_connections() {
    for (handler, pool) in every_handler().await {
        let mut peers = Vec::new();
        for _ in 0..3 {
            let mut peer = connect(&pool).await;
            // One after the other: else the second acceptor may be faster with the second peer.
            peer.echo("hello").await;
            peers.push(peer);
        }
        assert_eq!(pool.connections(), 3, "{handler}");
        // The peer may have its answer before the count has it.
        eventually(|| pool.info().bytes_out == 15).await;
        let list = pool.list();
        assert_eq!(list.iter().map(|connection| connection.id.get()).collect::<Vec<_>>(), [1, 2, 3], "{handler}");
        for (connection, peer) in list.iter().zip(&peers) {
            assert_eq!(connection.peer.socket(), Some(peer.address()), "{handler}");
            assert_eq!(&*connection.listener, pool.name(), "{handler}");
            assert_eq!((connection.bytes_in, connection.bytes_out), (5, 5), "{handler}");
        }
        let info = pool.info();
        assert_eq!((info.accepted, info.connections, info.closed.total()), (3, 3, 0), "{handler}");
        assert_eq!((info.bytes_in, info.bytes_out), (15, 15), "{handler}");
        peers[1].finish().await;
        assert_eq!(peers[1].read_to_end().await, b"", "{handler}");
        closed(&pool, CloseReason::Peer, 1).await;
        assert_eq!(pool.list().iter().map(|connection| connection.id.get()).collect::<Vec<_>>(), [1, 3], "{handler}");
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn every_handler_tells_peer_local_and_reset_apart() {
    for (handler, pool) in every_handler().await {
        let mut peer = connect(&pool).await;
        peer.echo("hello").await;
        peer.send("quit").await;
        assert_eq!(peer.read_to_end().await, b"", "{handler}");
        closed(&pool, CloseReason::Local, 1).await;
        let mut peer = connect(&pool).await;
        peer.echo("hello").await;
        peer.reset();
        eventually(|| pool.info().closed.get(CloseReason::Peer) == 1).await;
        assert_eq!(pool.info().closed.total(), 2, "{handler}");
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn every_handler_kills_exactly_one_connection() {
    for (handler, pool) in every_handler().await {
        let (mut killed, mut other) = (connect(&pool).await, connect(&pool).await);
        killed.echo("hello").await;
        other.echo("hello").await;
        let id = pool.list().iter().find(|info| info.peer.socket() == Some(killed.address())).unwrap().id;
        assert!(pool.kill(id), "{handler}");
        assert_eq!(killed.until_gone().await, b"", "{handler}");
        closed(&pool, CloseReason::Killed, 1).await;
        assert!(!pool.kill(id), "{handler}: it is dead already");
        assert!(!pool.kill(ConnectionId::from(1_000_000)), "{handler}: there was never one");
        other.echo("untouched").await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn every_handler_drains() {
    for (handler, pool) in every_handler().await {
        let mut peers = [connect(&pool).await, connect(&pool).await, connect(&pool).await];
        for peer in &mut peers {
            peer.echo("hello").await;
        }
        let report = in_time(pool.stop(Duration::from_secs(60))).await;
        assert_eq!((report.asked, report.finished, report.forced), (3, 3, 0), "{handler}");
        closed(&pool, CloseReason::Shutdown, 3).await;
        for peer in &mut peers {
            assert_eq!(peer.read_to_end().await, b"", "{handler}");
        }
    }
}

#[actix::test]
async fn a_panic_ends_one_connection_with_every_handler() {
    for (handler, pool) in every_handler().await {
        let mut others = Vec::new();
        for number in 0..100 {
            let (mut bad, mut good) = (connect(&pool).await, connect(&pool).await);
            bad.echo("hello").await;
            good.echo(format!("I am {number}")).await;
            bad.send("panic").await;
            assert_eq!(bad.until_gone().await, b"", "{handler}");
            others.push(good);
        }
        for other in &mut others {
            other.echo("untouched").await;
        }
        closed(&pool, CloseReason::Panic, 100).await;
        assert!(pool.info().acceptors.iter().all(|acceptor| acceptor.restarts == 0), "{handler}");
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn errors_are_counted_with_every_handler() {
    for (handler, pool) in every_handler().await {
        let mut peer = connect(&pool).await;
        peer.send("fail").await;
        assert_eq!(peer.read_to_end().await, b"", "{handler}");
        closed(&pool, if handler == "start" { CloseReason::Local } else { CloseReason::Error }, 1).await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

/// Panics in the user's function itself for the first connection; serves the second one.
#[actix::test]
async fn a_panic_in_the_users_function_ends_one_connection() {
    fn first(id: ConnectionId) {
        assert_ne!(id.get(), 1, "the first one panics");
    }
    async fn first_connection_panics(handler: &str, pool: PoolHandle) {
        assert_eq!(connect(&pool).await.until_gone().await, b"", "{handler}");
        closed(&pool, CloseReason::Panic, 1).await;
        connect(&pool).await.echo("the second one").await;
        assert_eq!(pool.info().acceptors[0].restarts, 0, "{handler}");
        in_time(pool.stop(Duration::ZERO)).await;
    }
    let address = "127.0.0.1:0";
    let factory = AcceptorPool::with_protocol(|peer| {
        first(peer.id);
        ReportsReasons
    });
    first_connection_panics("protocol", factory.acceptors(1).bind(address).await.unwrap().untyped()).await;
    let on_init = AcceptorPool::with_events(
        |conn| {
            first(conn.id());
            Init::new(())
        },
        |_, event, _| match event {
            Event::Packet(packet) => Next::Send(packet),
            event => event.default_next(),
        },
    );
    first_connection_panics("events", on_init.acceptors(1).bind(address).await.unwrap().untyped()).await;
    let before_the_future = AcceptorPool::with_fn(|socket| {
        first(socket.id());
        serve(socket)
    });
    first_connection_panics("serve", before_the_future.acceptors(1).bind(address).await.unwrap().untyped()).await;
    let in_the_future = AcceptorPool::with_fn(|socket| async {
        first(socket.id());
        serve(socket).await
    });
    first_connection_panics("serve", in_the_future.acceptors(1).bind(address).await.unwrap().untyped()).await;
    let start = AcceptorPool::with_actor(|socket| {
        first(socket.id());
        Ok(SocketActor::start(socket, serve))
    });
    first_connection_panics("start", start.acceptors(1).bind(address).await.unwrap().untyped()).await;
}

#[actix::test]
async fn a_codec_factory_panic_ends_one_connection() {
    let made = std::sync::atomic::AtomicUsize::new(0);
    let codec = move || {
        assert_ne!(made.fetch_add(1, std::sync::atomic::Ordering::Relaxed), 0, "the first one panics");
        Framing::raw()
    };
    let pool = AcceptorPool::with_codec(|_| ReportsReasons, codec).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.until_gone().await;
    closed(&pool, CloseReason::Panic, 1).await;
    connect(&pool).await.echo("the second one").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

/// Panics again in `closed`, after the panic that ended it.
struct PanicsTwice(Recorder);

impl Protocol for PanicsTwice {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        panic!("once")
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.0.note(why);
        panic!("twice");
    }
}

#[actix::test]
async fn a_panic_in_closed_ends_no_other_connection() {
    let (recorder, mut closings) = Recorder::new();
    let factory = move |_: &_| PanicsTwice(recorder.clone());
    let pool = AcceptorPool::with_protocol(factory).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    for _ in 0..3 {
        let mut peer = connect(&pool).await;
        peer.send("hello").await;
        assert_eq!(peer.until_gone().await, b"");
        let (reason, text) = closings.next().await;
        assert_eq!((reason, text.contains("once")), (CloseReason::Panic, true), "{text}");
    }
    closed(&pool, CloseReason::Panic, 3).await;
    assert_eq!(pool.info().acceptors[0].restarts, 0);
    in_time(pool.stop(Duration::ZERO)).await;
    drop(pool);
    assert_eq!(closings.rest().await, [], "each closed once");
}
