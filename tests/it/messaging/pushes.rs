//! The pushes of a socket: how its owner gets them.

use std::future::{poll_fn, Future};
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::*};
use std::sync::Arc;

use actix_acceptor::info::ConnectionPhase::{self, Closing, Handshaking, Open};
use actix_acceptor::messages::StatelessEncoder;
use actix_acceptor::telemetry::CloseReason;
use actix_acceptor::transport::{Address, Handshake, HandshakeError, Handshaken, LocalBoxFuture, Stream};
use actix_acceptor::{Listener, PoolHandle, Pushes, Socket};
use futures::future::join;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};
use tokio::time::Instant;
use tokio_util::codec::LinesCodec;

use super::*;

async fn only(pool: &PoolHandle) -> ConnectionRef<Bytes> {
    eventually(|| pool.connections() == 1).await;
    pool.connection(pool.list()[0].id).unwrap()
}

#[actix::test]
async fn of_several_pushes_each_item_is_returned_by_one() {
    async fn take(mut pushes: Pushes, items: UnboundedSender<Bytes>) {
        while let Some(bytes) = pushes.recv().await {
            items.send(bytes).unwrap();
        }
    }
    let (items, mut received) = unbounded_channel();
    let serve = move |socket: Socket| {
        let (first, other, items) = (socket.pushes(), socket.pushes(), items.clone());
        // One that waited, and is gone.
        drop(poll_once(socket.pushes()));
        items.send("ready".into()).unwrap();
        async move {
            let tasks = [actix_rt::spawn(take(first, items.clone())), actix_rt::spawn(take(other, items))];
            for task in tasks {
                task.await.unwrap();
            }
            drop(socket);
        }
    };
    let pool = AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await.unwrap().untyped();
    let _peer = connect(&pool).await;
    let connection = only(&pool).await;
    assert_eq!(in_time(received.recv()).await.unwrap(), "ready");
    for n in 0..100u32 {
        connection.send(n.to_be_bytes().to_vec()).unwrap();
        assert_eq!(in_time(received.recv()).await.unwrap(), n.to_be_bytes().to_vec());
    }
    assert!(connection.close(Some("last".into()), ms(5_000)));
    assert_eq!(in_time(received.recv()).await.unwrap(), "last");
    eventually(|| pool.connections() == 0).await;
    assert!(received.is_empty());
}

/// Polls once, with a waker that does nothing.
fn poll_once(mut pushes: Pushes) -> Pushes {
    let polled = pin!(pushes.recv()).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(polled.is_pending());
    pushes
}

#[test]
fn untaken_pushes_keep_no_task_busy() {
    paused(async {
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        let serve = move |mut socket: Socket| {
            let polls = counted.clone();
            async move {
                let (closing, draining) = (socket.closing(), socket.draining());
                let mut waits = Box::pin(join(join(closing, draining), async { socket.read_u8().await }));
                poll_fn(|cx| {
                    // A task that is always ready would never let a paused clock advance.
                    assert!(polls.fetch_add(1, Relaxed) < 100);
                    waits.as_mut().poll(cx)
                })
                .await
            }
        };
        let (pool, script_handle) = in_memory(AcceptorPool::with_fn(move |socket| {
            let served = serve(socket);
            async move { drop(served.await) }
        }))
        .await;
        let (pool, _peer) = (pool.untyped(), script_handle.connect());
        let connection = only(&pool).await;
        elapse(ms(100)).await;
        let before = polls.load(Relaxed);
        for _ in 0..10 {
            connection.send("x").unwrap();
            elapse(ms(10)).await;
        }
        assert!(polls.load(Relaxed) <= before + 2);
        assert_eq!(pool.connections(), 1);
    });
}

#[test]
fn an_owner_that_sees_no_close_fails_after_the_grace() {
    paused(async {
        let (tell, mut errors) = unbounded_channel();
        let serve = move |mut socket: Socket| {
            let tell = tell.clone();
            async move {
                let draining = socket.draining();
                tell.send((socket.read_u8().await.unwrap_err().kind(), Instant::now())).unwrap();
                draining.await;
            }
        };
        let actor = {
            let serve = serve.clone();
            AcceptorPool::with_actor(move |socket| Ok(SocketActor::start(socket, serve.clone())))
        };
        let (actor, actors_script) = in_memory(actor).await;
        let (by_fn, script) = in_memory(AcceptorPool::with_fn(serve)).await;
        for (pool, script) in [(by_fn.untyped(), script), (actor.untyped(), actors_script)] {
            let mut peer = script.connect();
            let connection = only(&pool).await;
            let began = Instant::now();
            assert!(connection.close(Some("not sent".into()), ms(60_000)));
            // The earliest end counts.
            assert!(connection.close(None, ms(1_000)));
            let (error, at) = in_time(errors.recv()).await.unwrap();
            assert_eq!(error, ErrorKind::ConnectionAborted);
            assert_on_time(began, at, ms(1_000));
            assert_eq!(peer.until_gone().await, b"");
            eventually(|| pool.connections() == 0).await;
            assert_eq!(pool.info().closed.get(CloseReason::Local), 1);
        }
    });
}

/// Takes one byte from the peer.
struct OneByte;

impl Handshake for OneByte {
    fn handshake(
        &self,
        mut stream: Stream,
        _: &Address,
    ) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        Box::pin(async move {
            stream.read_u8().await?;
            Ok(Handshaken::new(stream))
        })
    }
}

#[actix::test]
async fn what_is_sent_during_a_handshake_arrives_afterwards() {
    async fn serve(mut socket: Socket) -> std::io::Result<()> {
        let mut pushes = socket.pushes();
        while let Some(bytes) = pushes.recv().await {
            socket.write_all(&bytes).await?;
        }
        std::future::pending().await
    }
    let phase = |pool: &PoolHandle| pool.list().first().map(|connection| connection.state);
    let reaches = async |pool: &PoolHandle, expected: ConnectionPhase| {
        eventually(|| phase(pool) == Some(expected)).await;
    };
    let listener = || Listener::tcp("127.0.0.1:0").handshake(OneByte);
    let pool = AcceptorPool::with_fn(serve).listener(listener()).start().await.unwrap().untyped();
    let mut peer = connect(&pool).await;
    reaches(&pool, Handshaking).await;
    let connection = only(&pool).await;
    connection.send("early").unwrap();
    peer.send("x").await;
    peer.expect(b"early").await;
    reaches(&pool, Open).await;
    assert!(connection.close(Some("last".into()), ms(5_000)));
    peer.expect(b"last").await;
    reaches(&pool, Closing).await;
    connection.kill();
    peer.until_gone().await;
    // During the handshake nothing is sent.
    let mut peer = connect(&pool).await;
    reaches(&pool, Handshaking).await;
    let connection = only(&pool).await;
    connection.send("early").unwrap();
    assert!(connection.close(Some("last".into()), ms(60_000)));
    assert_eq!(peer.until_gone().await, b"");
    eventually(|| pool.info().closed.get(CloseReason::Local) == 1).await;
}

/// Encodes text as lines.
struct Texts;

impl Protocol for Texts {
    type Codec = StatelessEncoder<LinesCodec>;
    type Reply = String;
    type User = ();

    fn packet(&mut self, _: String, _: &mut Conn<Self>) -> Next<Self> {
        Next::Continue
    }
}

#[actix::test]
async fn a_socket_in_a_topic_of_protocols_receives_bytes() {
    let members = start().await;
    let texts = AcceptorPool::with_codec(|_| Texts, || StatelessEncoder(LinesCodec::new()));
    let texts = texts.bind("127.0.0.1:0").await.unwrap();
    let topics = (members.untyped().topic("lobby"), texts.untyped().topic("lobby"));
    let serve = move |mut socket: Socket| {
        let topics = topics.clone();
        async move {
            assert!(socket.join(&topics.0) && socket.join(&topics.1));
            let mut pushes = socket.pushes();
            while let Some(bytes) = pushes.recv().await {
                socket.write_all(&bytes).await.unwrap();
            }
        }
    };
    let pool = AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await.unwrap();
    let (mut peer, mut member) = (connect(&pool).await, member(&members).await);
    eventually(|| members.topic("lobby").len() == 2 && texts.topic("lobby").len() == 1).await;
    // The reply of a protocol, without its framing.
    assert_eq!(members.topic("lobby").publish("hello").members, 2);
    assert_eq!(line(&mut member).await, "hello");
    peer.expect(b"hello").await;
    // A reply of another type has no bytes.
    assert_eq!(texts.topic("lobby").publish("text").members, 0);
    assert_eq!(texts.untyped().topic("lobby").publish("raw").members, 1);
    peer.expect(b"raw").await;
}

#[actix::test]
async fn a_closing_socket_belongs_to_nothing_new() {
    let (tell, mut told) = unbounded_channel();
    let serve = move |mut socket: Socket| {
        let tell = tell.clone();
        async move {
            let (pool, mut pushes) = (socket.pool(), socket.pushes());
            let lobby = pool.topic("lobby");
            assert!(socket.join(&lobby));
            // A burst: all but the first are deferred.
            (0..5).for_each(|n| assert_eq!(lobby.publish(n.to_string()).members, 1));
            pushes.close();
            socket.register("late").unwrap();
            socket.register_replacing("later");
            tell.send((pool.names(), socket.join(&lobby), lobby.len(), socket.outbox().is_closed())).unwrap();
            while let Some(bytes) = pushes.recv().await {
                socket.write_all(&bytes).await?;
            }
            std::io::Result::Ok(())
        }
    };
    let pool = AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    assert_eq!(in_time(told.recv()).await.unwrap(), (vec![], false, 0, true));
    assert_eq!(peer.read_to_end().await, b"01234");
}

#[actix::test]
async fn small_pushes_are_joined_up_to_16_kib() {
    let (tell, mut told) = unbounded_channel();
    let serve = move |mut socket: Socket| {
        let tell = tell.clone();
        async move {
            let mut pushes = socket.pushes();
            socket.read_u8().await?;
            let items: Vec<_> = std::iter::from_fn(|| pushes.try_recv()).collect();
            tell.send(items).unwrap();
            std::io::Result::Ok(())
        }
    };
    let pool = AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await.unwrap().untyped();
    let mut peer = connect(&pool).await;
    let connection = only(&pool).await;
    for n in 0..100u8 {
        connection.send(vec![n; 1_000]).unwrap();
    }
    peer.send("x").await;
    let items = in_time(told.recv()).await.unwrap();
    let sizes: Vec<_> = items.iter().map(Bytes::len).collect();
    assert_eq!(sizes, [16_000, 16_000, 16_000, 16_000, 16_000, 16_000, 4_000]);
    assert!(items.concat().chunks(1_000).zip(0u8..).all(|(message, n)| message == [n; 1_000]));
}
