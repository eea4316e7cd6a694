//! `AcceptorPool::with_fn` and `Socket`: limits and signals act in its reads and writes.

use std::future::{pending, Future};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use actix_acceptor::transport::TransportKind;
use actix_acceptor::{
    handlers::{FnService, IntoServeResult, NoActor},
    telemetry::CloseReason,
    AcceptorPool, BoxError, Builder, Closed, Framing, Pool, Socket,
};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver};

/// An async fn that tells what it has to tell, beside serving.
fn reporting_pool<T, S, F, O>(serve: S) -> (Builder<FnService>, UnboundedReceiver<T>)
where
    T: Send + 'static,
    S: Fn(Socket, tokio::sync::mpsc::UnboundedSender<T>) -> F + Send + Sync + 'static,
    F: Future<Output = O> + 'static,
    O: IntoServeResult,
{
    let (tell, told) = unbounded_channel();
    (AcceptorPool::with_fn(move |socket| serve(socket, tell.clone())).acceptors(1), told)
}

async fn bind(builder: Builder<FnService>) -> Pool<NoActor> {
    builder.bind("127.0.0.1:0").await.unwrap()
}

/// More than the kernel takes for a peer that does not read.
async fn write_without_end(socket: &mut (impl AsyncWriteExt + Unpin)) -> io::Error {
    loop {
        if let Err(error) = socket.write_all(&[7; 64 * 1024]).await {
            return error;
        }
    }
}

async fn ended(pool: &Pool<NoActor>, reason: CloseReason) {
    eventually(|| pool.connections() == 0).await;
    assert_eq!(pool.info().closed.get(reason), 1, "{:?}", pool.info().closed);
}

#[actix::test]
async fn an_async_fn_may_return_nothing_or_a_result_of_any_error() {
    async fn returns_unit(_: Socket) {}
    async fn number(_: Socket) -> Result<(), std::num::ParseIntError> {
        "x".parse::<u8>().map(drop)
    }
    async fn fails_with_io_error(_: Socket) -> io::Result<()> {
        Err(ErrorKind::BrokenPipe.into())
    }
    async fn fails_with_str(_: Socket) -> Result<(), &'static str> {
        Err("no")
    }
    async fn half_a_packet(_: Socket) -> Result<(), Closed> {
        Err(Closed::PacketTimeout)
    }
    async fn fails_with_box_error(_: Socket) -> Result<(), BoxError> {
        Err(Closed::Shutdown.into())
    }
    for (builder, reason) in [
        (AcceptorPool::with_fn(returns_unit), CloseReason::Local),
        (AcceptorPool::with_fn(number), CloseReason::Error),
        (AcceptorPool::with_fn(fails_with_io_error), CloseReason::Peer),
        (AcceptorPool::with_fn(fails_with_str), CloseReason::Error),
        (AcceptorPool::with_fn(half_a_packet), CloseReason::PacketTimeout),
        (AcceptorPool::with_fn(fails_with_box_error), CloseReason::Shutdown),
    ] {
        let pool = bind(builder).await;
        assert_eq!(connect(&pool).await.until_gone().await, b"");
        ended(&pool, reason).await;
        in_time(pool.stop(None)).await;
    }
}

#[actix::test]
async fn a_socket_knows_both_addresses() {
    let (builder, mut told) = reporting_pool(|socket, tell| async move {
        tell.send((socket.id(), socket.peer().socket(), socket.local_addr().unwrap().socket())).unwrap();
        assert_eq!((socket.listener(), socket.transport()), ("with fn", TransportKind::Tcp));
    });
    let pool = bind(builder.name("with fn")).await;
    let mut peer = connect(&pool).await;
    let (id, there, here) = in_time(told.recv()).await.unwrap();
    assert_eq!((id.get(), there, here), (1, Some(peer.address()), pool.local_addr()));
    peer.until_gone().await;
    ended(&pool, CloseReason::Local).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_framed_socket_yields_packets() {
    async fn reverse(socket: Socket) -> Result<(), actix_acceptor::BoxError> {
        let mut packets = socket.framed(Framing::lines());
        while let Some(packet) = packets.next().await {
            packets.send(packet?.iter().rev().copied().collect::<Bytes>()).await?;
        }
        Ok(())
    }
    let pool = bind(AcceptorPool::with_fn(reverse)).await;
    let mut peer = connect(&pool).await;
    peer.send("abc\ndef\n").await;
    peer.expect(b"cba\nfed\n").await;
    peer.finish().await;
    assert_eq!(peer.read_to_end().await, b"");
    ended(&pool, CloseReason::Peer).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_read_from_a_silent_peer_fails_at_the_idle_timeout() {
    let limit = Duration::from_millis(250);
    let (builder, mut told) = reporting_pool(|mut socket, tell| async move {
        assert_eq!(socket.read(&mut [0; 8]).await.unwrap(), 6);
        let error = socket.read_u8().await.unwrap_err();
        tell.send((error.kind(), Instant::now())).unwrap();
        Err::<(), _>(error)
    });
    let pool = bind(builder.idle_timeout(limit)).await;
    let mut peer = connect(&pool).await;
    let spoken = Instant::now();
    peer.send("a word").await;
    let (kind, failed) = in_time(told.recv()).await.unwrap();
    assert_eq!(kind, ErrorKind::TimedOut);
    assert!(failed - spoken >= limit, "{:?}", failed - spoken);
    peer.until_gone().await;
    ended(&pool, CloseReason::Idle).await;
    in_time(pool.stop(None)).await;
}

#[test]
fn silence_without_a_read_does_not_count() {
    paused(async {
        let limit = Duration::from_secs(1);
        let (builder, mut told) = reporting_pool(move |mut socket, tell| async move {
            elapse(3 * limit).await;
            tell.send(()).unwrap();
            socket.read_u8().await.map(drop)
        });
        let (pool, script_handle) = in_memory(builder.idle_timeout(limit)).await;
        let mut peer = script_handle.connect();
        in_time(told.recv()).await.unwrap();
        peer.send("x").await;
        assert_eq!(peer.read_to_end().await, b"");
        ended(&pool, CloseReason::Local).await;
    });
}

#[actix::test]
async fn a_write_to_a_stalled_peer_fails_at_the_send_timeout() {
    let limit = Duration::from_millis(250);
    let (builder, mut told) = reporting_pool(|mut socket, tell| async move {
        let started = Instant::now();
        let error = write_without_end(&mut socket).await;
        tell.send((error.kind(), started.elapsed())).unwrap();
        Err::<(), _>(error)
    });
    let pool = bind(builder.send_timeout(limit).idle_timeout(None)).await;
    let _peer = connect(&pool).await;
    let (kind, took) = in_time(told.recv()).await.unwrap();
    assert_eq!(kind, ErrorKind::TimedOut);
    assert!(took >= limit, "{took:?}");
    ended(&pool, CloseReason::SendTimeout).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn at_the_maximum_age_reads_and_writes_fail_however_busy() {
    let limit = Duration::from_millis(250);
    let (builder, mut told) = reporting_pool(|socket, tell| async move {
        let error = echo(socket).await.unwrap_err();
        tell.send((error.kind(), Instant::now())).unwrap();
        Err::<(), _>(error)
    });
    let pool = bind(builder.max_age(limit)).await;
    let born = Instant::now();
    let mut peer = connect(&pool).await;
    let chatter = async {
        while peer.0.write_all(b"chatter").await.is_ok() && peer.0.read_exact(&mut [0; 7]).await.is_ok() {}
        pending().await
    };
    let (kind, failed) = tokio::select! {
        told = in_time(told.recv()) => told.unwrap(),
        () = chatter => unreachable!(),
    };
    assert_eq!(kind, ErrorKind::TimedOut);
    assert!(failed - born >= limit, "{:?}", failed - born);
    ended(&pool, CloseReason::MaxAge).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn draining_resolves_when_the_pool_drains_and_borrows_nothing() {
    let (builder, mut told) = reporting_pool(|socket, tell| async move {
        let elsewhere = actix_rt::spawn(socket.draining());
        tell.send("at work").unwrap();
        let mut socket = socket;
        let draining = socket.draining();
        let told = tokio::select! {
            () = draining => "drained",
            _ = socket.read_u8() => "read",
        };
        tell.send(told).unwrap();
        elsewhere.await.unwrap();
        socket.draining().await;
        socket.write_all(b"bye").await
    });
    let pool = bind(builder).await;
    let mut peer = connect(&pool).await;
    assert_eq!(in_time(told.recv()).await, Some("at work"));
    let report = in_time(pool.stop(Duration::from_secs(60))).await;
    assert_eq!((report.asked, report.finished, report.forced), (1, 1, 0));
    assert_eq!(in_time(told.recv()).await, Some("drained"));
    assert_eq!(peer.read_to_end().await, b"bye");
    assert_eq!(pool.info().closed.get(CloseReason::Shutdown), 1);
}

#[actix::test]
async fn a_kill_resolves_draining_too() {
    let (builder, mut told) = reporting_pool(|mut socket, tell| async move {
        tell.send(None).unwrap();
        socket.draining().await;
        tell.send(Some(socket.read_u8().await.unwrap_err().kind())).unwrap();
    });
    let pool = bind(builder).await;
    let mut peer = connect(&pool).await;
    in_time(told.recv()).await.unwrap();
    assert!(pool.kill(pool.list()[0].id));
    assert_eq!(in_time(told.recv()).await, Some(Some(ErrorKind::ConnectionAborted)));
    peer.until_gone().await;
    ended(&pool, CloseReason::Killed).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_socket_may_move_to_another_task_and_is_counted_there() {
    let pool = bind(AcceptorPool::with_fn(|socket| async {
        actix_rt::spawn(echo(socket));
    }))
    .await;
    let (mut killed, mut other) = (connect(&pool).await, connect(&pool).await);
    killed.echo("the async fn has returned").await;
    other.echo("long ago").await;
    assert_eq!(pool.connections(), 2);
    assert!(pool.kill(pool.list()[0].id));
    killed.until_gone().await;
    expect_one_ended(&pool, CloseReason::Killed).await;
    other.echo("untouched").await;
    drop(other);
    eventually(|| pool.info().closed.get(CloseReason::Peer) == 1).await;
    in_time(pool.stop(None)).await;
}

async fn expect_one_ended(pool: &Pool<NoActor>, reason: CloseReason) {
    eventually(|| pool.connections() == 1).await;
    assert_eq!(pool.info().closed.get(reason), 1);
}

#[actix::test]
async fn a_panic_in_the_task_a_socket_moved_to_is_counted_as_one() {
    let pool = bind(AcceptorPool::with_fn(|mut socket| async move {
        actix_rt::spawn(async move {
            let _ = socket.read_u8().await;
            panic!("as asked");
        });
    }))
    .await;
    let mut peer = connect(&pool).await;
    peer.send("x").await;
    peer.until_gone().await;
    ended(&pool, CloseReason::Panic).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_kill_wakes_both_halves_of_a_split_socket() {
    let (builder, mut told) = reporting_pool(|socket, tell| async move {
        let (mut reads, mut writes) = tokio::io::split(socket);
        let reader = actix_rt::spawn({
            let tell = tell.clone();
            async move {
                tell.send(None).unwrap();
                tell.send(Some(reads.read_u8().await.unwrap_err().kind())).unwrap();
            }
        });
        let error = write_without_end(&mut writes).await;
        tell.send(Some(error.kind())).unwrap();
        reader.await.unwrap();
    });
    let pool = bind(builder).await;
    let mut peer = connect(&pool).await;
    in_time(told.recv()).await.unwrap();
    // The writer is stuck once nothing more goes out.
    let mut sent = 0;
    eventually(|| std::mem::replace(&mut sent, pool.info().bytes_out) == pool.info().bytes_out && sent > 100_000).await;
    assert!(pool.kill(pool.list()[0].id));
    assert_eq!(in_time(told.recv()).await, Some(Some(ErrorKind::ConnectionAborted)));
    assert_eq!(in_time(told.recv()).await, Some(Some(ErrorKind::ConnectionAborted)));
    peer.until_gone().await;
    ended(&pool, CloseReason::Killed).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn an_async_fn_that_ignores_its_socket_ends_at_the_deadline() {
    let (builder, mut told) = reporting_pool(|socket, tell| async move {
        tell.send(()).unwrap();
        pending::<()>().await;
        drop(socket);
    });
    let pool = bind(builder).await;
    let mut peer = connect(&pool).await;
    in_time(told.recv()).await.unwrap();
    let report = in_time(pool.stop(Duration::from_millis(100))).await;
    assert_eq!((report.asked, report.finished, report.forced), (1, 0, 1));
    assert_eq!(peer.until_gone().await, b"");
    ended(&pool, CloseReason::Killed).await;
}

#[actix::test]
async fn reading_past_the_peers_end_is_the_peers_end() {
    async fn read_number(mut socket: Socket) -> io::Result<u32> {
        socket.read_u32().await
    }
    async fn own_error(socket: Socket) -> Result<(), BoxError> {
        let _ = read_number(socket).await;
        Err("the database is full".into())
    }
    let numbers = AcceptorPool::with_fn(|socket| async { read_number(socket).await.map(drop) });
    let unread = AcceptorPool::with_fn(|_: Socket| async { io::Result::Err(ErrorKind::UnexpectedEof.into()) });
    let cases = [
        (numbers, CloseReason::Peer),
        (AcceptorPool::with_fn(own_error), CloseReason::Error),
        (unread, CloseReason::Error),
    ];
    for (builder, reason) in cases {
        let pool = bind(builder).await;
        let mut peer = connect(&pool).await;
        if reason == CloseReason::Peer {
            peer.send("\0\0").await;
        }
        let _ = peer.0.shutdown().await;
        peer.until_gone().await;
        ended(&pool, reason).await;
        in_time(pool.stop(None)).await;
    }
}
