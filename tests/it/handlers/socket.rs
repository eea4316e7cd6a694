//! What a `Socket` keeps for its owner: the word how it ended, the time in which the peer is silent, who waits for the drain.

use std::io::{self, ErrorKind};
use std::time::Duration;

use actix_acceptor::transport::{Accepted, Address, Stream};
use actix_acceptor::{handlers::NoActor, telemetry::CloseReason, AcceptorPool, Pool, Socket};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver};

/// Notes this, reads one byte, tells how that went, and returns as is said.
async fn pool_with_reason(
    reasons: &'static [CloseReason],
    returns: fn() -> io::Result<()>,
    limit: Option<Duration>,
) -> (Pool<NoActor>, UnboundedReceiver<Result<u8, ErrorKind>>) {
    let (tell, told) = unbounded_channel();
    let serve = move |mut socket: Socket| {
        let tell = tell.clone();
        async move {
            reasons.iter().for_each(|reason| socket.set_close_reason(*reason));
            tell.send(socket.read_u8().await.map_err(|error| error.kind())).unwrap();
            returns()
        }
    };
    let pool = AcceptorPool::with_fn(serve).idle_timeout(limit).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    (pool, told)
}

async fn counted_as(pool: &Pool<NoActor>, reason: CloseReason) {
    eventually(|| pool.connections() == 0).await;
    let closed = pool.info().closed;
    assert_eq!((closed.get(reason), closed.total()), (1, 1), "{closed:?}");
}

#[actix::test]
async fn a_sockets_close_reason_is_counted() {
    for reason in CloseReason::ALL.iter().copied() {
        let notes: &'static [CloseReason] = Box::leak(Box::new([reason]));
        let (pool, mut told) = pool_with_reason(notes, || Ok(()), None).await;
        let mut peer = connect(&pool).await;
        peer.send("x").await;
        peer.until_gone().await;
        // Whatever the word is, reading goes on.
        assert_eq!(in_time(told.recv()).await, Some(Ok(b'x')), "{reason:?}");
        counted_as(&pool, reason).await;
        in_time(pool.stop(None)).await;
    }
}

#[actix::test]
async fn the_first_close_reason_wins() {
    let returns: [fn() -> io::Result<()>; 2] = [|| Ok(()), || Err(ErrorKind::BrokenPipe.into())];
    for returns in returns {
        let (pool, _told) = pool_with_reason(&[CloseReason::TooLong, CloseReason::Local], returns, None).await;
        let mut peer = connect(&pool).await;
        peer.send("x").await;
        peer.until_gone().await;
        counted_as(&pool, CloseReason::TooLong).await;
        in_time(pool.stop(None)).await;
    }
}

#[actix::test]
async fn the_pools_close_reason_precedes_the_sockets() {
    let (pool, mut told) = pool_with_reason(&[CloseReason::Error], || Ok(()), None).await;
    let mut peer = connect(&pool).await;
    eventually(|| pool.connections() == 1).await;
    assert!(pool.kill(pool.list()[0].id));
    // Not dropped because it did not look: it looks, and sees it.
    assert_eq!(in_time(told.recv()).await, Some(Err(ErrorKind::ConnectionAborted)));
    peer.until_gone().await;
    counted_as(&pool, CloseReason::Killed).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_socket_with_a_close_reason_keeps_its_limits() {
    let (pool, mut told) = pool_with_reason(&[CloseReason::Error], || Ok(()), Some(Duration::from_millis(100))).await;
    let mut peer = connect(&pool).await;
    assert_eq!(in_time(told.recv()).await, Some(Err(ErrorKind::TimedOut)));
    peer.until_gone().await;
    counted_as(&pool, CloseReason::Idle).await;
    in_time(pool.stop(None)).await;
}

#[test]
fn an_async_fn_may_clean_up_after_a_kill() {
    paused(async {
        let (tell, mut told) = unbounded_channel();
        let serve = move |mut socket: Socket| {
            let tell = tell.clone();
            async move {
                let error = socket.read_u8().await.unwrap_err().kind();
                elapse(ms(50)).await;
                tell.send(error).unwrap();
            }
        };
        let (pool, script_handle) = in_memory(AcceptorPool::with_fn(serve)).await;
        let mut peer = script_handle.connect();
        eventually(|| pool.connections() == 1).await;
        assert!(pool.kill(pool.list()[0].id));
        assert_eq!(in_time(told.recv()).await, Some(ErrorKind::ConnectionAborted));
        peer.until_gone().await;
        counted_as(&pool, CloseReason::Killed).await;
    });
}

#[test]
fn silence_between_two_reads_does_not_count() {
    paused(async {
        let limit = Duration::from_secs(1);
        let serve = move |mut socket: Socket| async move {
            for _ in 0..2 {
                let byte = socket.read_u8().await?;
                // Nobody listens.
                elapse(2 * limit).await;
                socket.write_u8(byte).await?;
            }
            io::Result::Ok(())
        };
        let (pool, script_handle) = in_memory(AcceptorPool::with_fn(serve).idle_timeout(limit)).await;
        let mut peer = script_handle.connect();
        peer.echo("1").await;
        peer.echo("2").await;
        assert_eq!(peer.read_to_end().await, b"");
        counted_as(&pool, CloseReason::Local).await;
    });
}

#[test]
fn the_idle_timeout_still_fires_after_a_pause_between_reads() {
    paused(async {
        let limit = Duration::from_secs(1);
        let (tell, mut told) = unbounded_channel();
        let serve = move |mut socket: Socket| {
            let tell = tell.clone();
            async move {
                let byte = socket.read_u8().await.unwrap();
                elapse(2 * limit).await;
                socket.write_u8(byte).await.unwrap();
                tell.send(socket.read_u8().await.unwrap_err().kind()).unwrap();
            }
        };
        let (pool, script_handle) = in_memory(AcceptorPool::with_fn(serve).idle_timeout(limit)).await;
        let mut peer = script_handle.connect();
        elapse(limit / 2).await;
        peer.echo("1").await;
        assert_eq!(in_time(told.recv()).await, Some(ErrorKind::TimedOut));
        counted_as(&pool, CloseReason::Idle).await;
    });
}

#[test]
fn a_peer_that_keeps_sending_is_not_idle() {
    paused(async {
        let limit = Duration::from_secs(1);
        let serve = |mut socket: Socket| async move {
            loop {
                socket.read_u8().await?;
            }
            #[allow(unreachable_code)]
            io::Result::Ok(())
        };
        let (pool, script_handle) = in_memory(AcceptorPool::with_fn(serve).idle_timeout(limit)).await;
        let mut peer = script_handle.connect();
        for _ in 0..10 {
            peer.send(".").await;
            elapse(limit * 9 / 10).await;
            assert_eq!(pool.connections(), 1);
        }
        peer.read_to_end().await;
        counted_as(&pool, CloseReason::Idle).await;
    });
}

#[test]
fn a_slow_reader_is_kept_and_a_stalled_one_is_closed() {
    paused(async {
        let limit = Duration::from_secs(1);
        let (tell, mut told) = unbounded_channel();
        let serve = move |mut socket: Socket| {
            let tell = tell.clone();
            async move { tell.send(socket.write_all(&[7; 200 * 1024]).await.unwrap_err().kind()).unwrap() }
        };
        let (pool, script_handle) =
            in_memory(AcceptorPool::with_fn(serve).send_timeout(limit).idle_timeout(None)).await;
        let mut peer = script_handle.connect();
        for _ in 0..5 {
            elapse(limit * 9 / 10).await;
            assert!(told.is_empty());
            peer.read_exact(1).await;
        }
        let last = tokio::time::Instant::now();
        assert_eq!(in_time(told.recv()).await, Some(ErrorKind::TimedOut));
        assert!(last.elapsed() >= limit && last.elapsed() <= limit * 11 / 10, "{:?}", last.elapsed());
        counted_as(&pool, CloseReason::SendTimeout).await;
    });
}

#[actix::test]
async fn draining_resolves_when_the_socket_is_gone() {
    let (tell, mut told) = unbounded_channel();
    let serve = move |socket: Socket| {
        let (tell, draining) = (tell.clone(), socket.draining());
        actix_rt::spawn(async move {
            draining.await;
            tell.send(()).unwrap();
        });
        async move { drop(socket) }
    };
    let pool = AcceptorPool::with_fn(serve).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    connect(&pool).await.until_gone().await;
    in_time(told.recv()).await.unwrap();
    counted_as(&pool, CloseReason::Local).await;
    in_time(pool.stop(None)).await;
}

#[test]
fn a_finished_flush_ends_the_send_timeout() {
    paused(async {
        let limit = Duration::from_secs(1);
        let serve = |mut socket: Socket| async move {
            socket.write_all(&[7; 100 * 1024]).await?;
            socket.flush().await?;
            let byte = socket.read_u8().await?;
            socket.write_u8(byte).await?;
            socket.shutdown().await
        };
        let builder = AcceptorPool::with_fn(serve).send_timeout(limit).idle_timeout(None);
        let (pool, script_handle) = in_memory(builder).await;
        let (theirs, ours) = tokio::io::duplex(64 * 1024);
        script_handle.accept(move || {
            // Takes everything at once, so that only the flush waits for the peer.
            let buffered = BufWriter::with_capacity(256 * 1024, ours);
            Ok(Accepted { stream: Stream::other(buffered), peer: Address::Other("memory".into()) })
        });
        let mut peer = Peer(theirs);
        elapse(limit / 2).await;
        peer.read_exact(100 * 1024).await;
        elapse(5 * limit).await;
        peer.send("x").await;
        assert_eq!(peer.read_to_end().await, b"x");
        counted_as(&pool, CloseReason::Local).await;
    });
}

#[test]
fn a_partial_write_counts_the_bytes_that_were_written() {
    paused(async {
        const LENGTH: usize = 200 * 1024;
        let serve = |mut socket: Socket| async move { socket.write_all(&[7; LENGTH]).await };
        let (pool, script_handle) = in_memory(AcceptorPool::with_fn(serve)).await;
        let mut peer = script_handle.connect();
        // The transport holds 64 KiB.
        eventually(|| pool.info().bytes_out > 0).await;
        assert_eq!(pool.info().bytes_out, 64 * 1024);
        assert_eq!(peer.read_to_end().await.len(), LENGTH);
        counted_as(&pool, CloseReason::Local).await;
        assert_eq!(pool.info().bytes_out, LENGTH as u64);
    });
}
