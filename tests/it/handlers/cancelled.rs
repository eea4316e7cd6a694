//! Reads and writes that the owner of a `Socket` drops before they are done: their timeouts end with them.

use std::io::{self, ErrorKind};
use std::time::Duration;

use actix_acceptor::transport::{Accepted, Address, Stream};
use actix_acceptor::{handlers::NoActor, telemetry::CloseReason, AcceptorPool, Pool, Socket};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{timeout, Instant};

const LIMIT: Duration = Duration::from_secs(1);
/// More than the transport holds.
const LARGE: usize = 200 * 1024;

async fn counted_as(pool: &Pool<NoActor>, reason: CloseReason) {
    eventually(|| pool.connections() == 0).await;
    let closed = pool.info().closed;
    assert_eq!((closed.get(reason), closed.total()), (1, 1), "{closed:?}");
}

#[test]
fn a_dropped_write_causes_no_send_timeout() {
    paused(async {
        let serve = |mut socket: Socket| async move {
            assert!(timeout(LIMIT / 4, socket.write_all(&[7; LARGE])).await.is_err());
            // Another read each time, and one that is outstanding when the send timeout would act.
            for _ in 0..2 {
                socket.read_u8().await?;
                elapse(2 * LIMIT).await;
            }
            socket.write_all(b"done").await
        };
        let builder = AcceptorPool::with_fn(serve).send_timeout(LIMIT).idle_timeout(None);
        let (pool, script_handle) = in_memory(builder).await;
        let mut peer = script_handle.connect();
        for _ in 0..2 {
            elapse(3 * LIMIT).await;
            peer.send("x").await;
        }
        elapse(LIMIT).await;
        assert!(peer.read_to_end().await.ends_with(b"done"));
        counted_as(&pool, CloseReason::Local).await;
    });
}

#[test]
fn a_write_that_hangs_after_a_dropped_one_times_out() {
    paused(async {
        let (tell, mut told) = unbounded_channel();
        let serve = move |mut socket: Socket| {
            let tell = tell.clone();
            async move {
                assert!(timeout(LIMIT / 4, socket.write_all(&[7; LARGE])).await.is_err());
                elapse(3 * LIMIT).await;
                let begun = Instant::now();
                let error = socket.write_all(&[7; LARGE]).await.unwrap_err();
                tell.send((error.kind(), begun, Instant::now())).unwrap();
            }
        };
        let builder = AcceptorPool::with_fn(serve).send_timeout(LIMIT).idle_timeout(None);
        let (pool, script_handle) = in_memory(builder).await;
        let _peer = script_handle.connect();
        let (error, begun, ended) = in_time(told.recv()).await.unwrap();
        assert_eq!(error, ErrorKind::TimedOut);
        assert_on_time(begun, ended, LIMIT);
        counted_as(&pool, CloseReason::SendTimeout).await;
    });
}

#[test]
fn a_dropped_flush_or_shutdown_causes_no_send_timeout() {
    for shutdown in [false, true] {
        paused(async move {
            let serve = move |mut socket: Socket| async move {
                socket.write_all(&[7; LARGE]).await?;
                if shutdown {
                    assert!(timeout(LIMIT / 4, socket.shutdown()).await.is_err());
                } else {
                    assert!(timeout(LIMIT / 4, socket.flush()).await.is_err());
                }
                socket.read_u8().await?;
                socket.flush().await
            };
            let builder = AcceptorPool::with_fn(serve).send_timeout(LIMIT).idle_timeout(None);
            let (pool, script_handle) = in_memory(builder).await;
            let (theirs, ours) = tokio::io::duplex(64 * 1024);
            script_handle.accept(move || {
                // Takes everything at once, so that only the flush waits for the peer.
                let buffered = BufWriter::with_capacity(2 * LARGE, ours);
                Ok(Accepted { stream: Stream::other(buffered), peer: Address::Other("memory".into()) })
            });
            let mut peer = Peer(theirs);
            elapse(5 * LIMIT).await;
            assert_eq!(pool.connections(), 1, "{:?}", pool.info().closed);
            peer.send("x").await;
            assert_eq!(peer.read_to_end().await.len(), LARGE);
            counted_as(&pool, CloseReason::Local).await;
        });
    }
}

#[test]
fn a_dropped_read_stops_the_idle_timeout() {
    for work in [LIMIT * 6 / 10, LIMIT * 3] {
        paused(async move {
            let (tell, mut told) = unbounded_channel();
            let serve = move |mut socket: Socket| {
                let tell = tell.clone();
                async move {
                    assert!(timeout(LIMIT / 3, socket.read_u8()).await.is_err());
                    elapse(work).await;
                    // The peer has waited for this.
                    socket.write_all(b"answer").await.unwrap();
                    let begun = Instant::now();
                    let error = socket.read_u8().await.unwrap_err();
                    tell.send((error.kind(), begun.elapsed())).unwrap();
                }
            };
            let (pool, script_handle) = in_memory(AcceptorPool::with_fn(serve).idle_timeout(LIMIT)).await;
            let mut peer = script_handle.connect();
            peer.expect(b"answer").await;
            let (error, after) = in_time(told.recv()).await.unwrap();
            assert_eq!(error, ErrorKind::TimedOut);
            assert!(after >= LIMIT - LIMIT / 3, "after {after:?} of silence during the second read, {work:?}");
            assert!(after <= LIMIT * 11 / 10, "after {after:?} of silence during the second read, {work:?}");
            counted_as(&pool, CloseReason::Idle).await;
        });
    }
}

#[test]
fn reads_dropped_and_begun_again_at_once_time_out_together() {
    paused(async {
        let (tell, mut told) = unbounded_channel();
        let serve = move |mut socket: Socket| {
            let tell = tell.clone();
            async move {
                let begun = Instant::now();
                let error = loop {
                    match timeout(LIMIT / 10, socket.read_u8()).await {
                        Err(_) => {}
                        Ok(read) => break read.unwrap_err(),
                    }
                };
                tell.send((error.kind(), begun, Instant::now())).unwrap();
            }
        };
        let (pool, script_handle) = in_memory(AcceptorPool::with_fn(serve).idle_timeout(LIMIT)).await;
        let _peer = script_handle.connect();
        let (error, begun, ended) = in_time(told.recv()).await.unwrap();
        assert_eq!(error, ErrorKind::TimedOut);
        assert_on_time(begun, ended, LIMIT);
        counted_as(&pool, CloseReason::Idle).await;
    });
}

#[test]
fn a_send_timeout_ends_the_read_of_another_task() {
    paused(async {
        let (tell, mut told) = unbounded_channel();
        let serve = move |socket: Socket| {
            let tell = tell.clone();
            async move {
                let (mut reader, mut writer) = tokio::io::split(socket);
                let reading = actix_rt::spawn(async move { reader.read_u8().await.unwrap_err().kind() });
                let written = writer.write_all(&[7; LARGE]).await.unwrap_err().kind();
                tell.send((written, reading.await.unwrap())).unwrap();
                io::Result::Ok(())
            }
        };
        let builder = AcceptorPool::with_fn(serve).send_timeout(LIMIT).idle_timeout(None);
        let (pool, script_handle) = in_memory(builder).await;
        let _peer = script_handle.connect();
        assert_eq!(in_time(told.recv()).await, Some((ErrorKind::TimedOut, ErrorKind::TimedOut)));
        counted_as(&pool, CloseReason::SendTimeout).await;
    });
}
