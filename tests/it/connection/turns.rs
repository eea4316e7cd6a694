//! How much a turn takes before others on the thread have theirs: over streams that never run dry, on one thread.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_acceptor::transport::{Accepted, Stream};
use actix_acceptor::{transport::Address, Framing, Next, PoolHandle, User};
use bytes::Bytes;
use futures::stream;
use support::*;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::yield_now;

const KIB: usize = 1024;

/// Repeats its pattern up to a total length whenever it is read; accepts everything that is written.
struct EndlessStream {
    pattern: Vec<u8>,
    left: usize,
    /// How many bytes were read so far.
    read: Arc<AtomicUsize>,
}

impl AsyncRead for EndlessStream {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Pending;
        }
        let bytes = buf.remaining().min(self.left);
        let at = self.read.load(Relaxed) % self.pattern.len();
        let wave: Vec<u8> = self.pattern[at..].iter().chain(self.pattern.iter().cycle()).take(bytes).copied().collect();
        buf.put_slice(&wave);
        self.left -= bytes;
        self.read.fetch_add(bytes, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for EndlessStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn accept(script_handle: &ScriptHandle, stream: EndlessStream) {
    script_handle.accept(move || Ok(Accepted { stream: Stream::other(stream), peer: Address::Other("spring".into()) }));
}

/// The most that a count moves on between two of our own turns, until it is at its end.
async fn largest_step(count: &AtomicUsize, end: usize) -> usize {
    let (mut greatest, mut before) = (0, 0);
    in_time(async {
        while before < end {
            yield_now().await;
            let now = count.load(Relaxed);
            greatest = greatest.max(now - before);
            before = now;
        }
    })
    .await;
    greatest
}

#[actix::test]
async fn a_turn_reads_about_64_kib() {
    const ALL: usize = 8 * 1024 * KIB;
    let (builder, _diary) = Probe::pool(|call, _| protocol_default(call));
    let (pool, script_handle) = in_memory(builder.framing(Framing::len4())).await;
    let read = Arc::<AtomicUsize>::default();
    // Not so small that it is their number that ends a turn.
    let pattern = [&(40 * KIB as u32).to_be_bytes()[..], &vec![b'x'; 40 * KIB]].concat();
    accept(&script_handle, EndlessStream { pattern, left: ALL, read: read.clone() });
    let step = largest_step(&read, ALL).await;
    assert!(step <= 64 * KIB + 64 * KIB, "{step} bytes in a turn");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_turn_delivers_128_packets() {
    const ALL: usize = 100_000;
    let taken = Arc::<AtomicUsize>::default();
    let counted = taken.clone();
    let (builder, _diary) = Probe::pool(move |call, _| {
        if let Call::Packet(_) = call {
            counted.fetch_add(1, Relaxed);
        }
        protocol_default(call)
    });
    let (pool, script_handle) = in_memory(builder.framing(Framing::lines())).await;
    accept(&script_handle, EndlessStream { pattern: b"\n".to_vec(), left: ALL, read: Arc::default() });
    let step = largest_step(&taken, ALL).await;
    assert!(step <= 128, "{step} packets in a turn");
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_burst_of_peers_does_not_delay_connections() {
    let (builder, _diary) = Probe::pool(|call, _| match call {
        Call::Packet(bytes) => Next::Send(bytes.clone()),
        call => protocol_default(call),
    });
    let (pool, script_handle) = in_memory(builder).await;
    let mut standing = script_handle.connect();
    standing.echo("before").await;
    let crowd: Vec<_> = (0..1_000).map(|_| script_handle.connect()).collect();
    standing.echo("meanwhile").await;
    assert!(script_handle.left() > 500, "only {} of {} were left to be accepted", script_handle.left(), crowd.len());
    eventually(|| pool.connections() == 1_001).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

/// Each message brings the next one, so that the mailbox is never empty; more of them than a turn takes.
#[actix::test]
async fn stream_items_pass_a_mailbox_that_is_never_empty() {
    const FLOOD: &[u8] = b"flood";
    let (items, incoming) = unbounded_channel();
    let incoming = Arc::new(Mutex::new(incoming));
    let (builder, _diary) = Probe::pool(move |call, conn| match call {
        Call::Ack => {
            let incoming = incoming.clone();
            conn.add_stream(stream::poll_fn(move |cx| incoming.lock().unwrap().poll_recv(cx)));
            (0..200).for_each(|_| conn.address().do_send(User(FLOOD.into())));
            Next::Continue
        }
        Call::User(bytes) if bytes == FLOOD => {
            conn.address().do_send(User(FLOOD.into()));
            Next::Continue
        }
        Call::User(bytes) | Call::Packet(bytes) => Next::Send(bytes.clone()),
        call => protocol_default(call),
    });
    let (pool, script_handle) = in_memory(builder).await;
    let mut peer = script_handle.connect();
    for item in ["one", "two", "three"] {
        peer.echo("flooded").await;
        items.send(Bytes::from_static(item.as_bytes())).unwrap();
        peer.expect(item.as_bytes()).await;
    }
    in_time(pool.stop(Duration::ZERO)).await;
}

/// Also the other way round: two streams that never end, and a mailbox.
#[actix::test]
async fn a_message_gets_through_streams_that_never_end() {
    let (builder, _diary) = Probe::pool(move |call, conn| match call {
        Call::Ack => {
            for _ in 0..2 {
                conn.add_stream(stream::repeat(Bytes::new()));
            }
            Next::Continue
        }
        Call::User(bytes) if bytes.is_empty() => Next::Continue,
        Call::User(bytes) | Call::Packet(bytes) => Next::Send(bytes.clone()),
        call => protocol_default(call),
    });
    let (pool, script_handle) = in_memory(builder).await;
    let mut peer = script_handle.connect();
    peer.echo("flooded").await;
    pool.addresses()[0].1.do_send(User(Bytes::from_static(b"message")));
    peer.expect(b"message").await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[test]
fn during_a_wait_one_buffer_is_read_ahead() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
            Call::Packet(bytes) if bytes == "wait" => {
                conn.wait(elapse(Duration::from_secs(30)), |_, _, _| Next::Continue)
            }
            call => protocol_default(call),
        });
        let (pool, script_handle) = in_memory(builder.framing(Framing::lines()).max_frame(1024 * KIB)).await;
        let mut peer = script_handle.connect();
        peer.send("wait\n").await;
        callbacks.until(&Call::packet("wait")).await;
        let flood = [vec![b'x'; 512 * KIB], b"\n".to_vec()].concat();
        let sending = tokio::time::timeout(Duration::from_secs(10), peer.0.write_all(&flood));
        assert!(sending.await.is_err(), "all of it was taken in");
        let ahead = pool.list()[0].bytes_in as usize;
        assert!((1..=64 * KIB).contains(&ahead), "{ahead} bytes were read ahead");
        in_time(pool.stop(Duration::ZERO)).await;
    });
}

/// What is written is counted by then.
struct WriteCounter {
    pool: Arc<Mutex<Option<PoolHandle>>>,
    written: usize,
    weighed: Arc<Mutex<Vec<(usize, usize)>>>,
    request: Option<&'static [u8]>,
}

impl AsyncRead for WriteCounter {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.request.take() {
            Some(request) => {
                buf.put_slice(request);
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for WriteCounter {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let counted = self.pool.lock().unwrap().as_ref().unwrap().info().bytes_out;
        let bytes = buf.len().min(3);
        self.written += bytes;
        self.weighed.lock().unwrap().push((self.written, counted as usize));
        Poll::Ready(Ok(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[actix::test]
async fn bytes_are_counted_before_they_are_visible() {
    let (builder, mut callbacks) = Probe::pool(|call, _| match call {
        Call::Packet(_) => Next::Send(Bytes::from_static(b"0123456789")),
        call => protocol_default(call),
    });
    let (pool, script_handle) = in_memory(builder).await;
    let (known, weighed) = (Arc::new(Mutex::new(Some(pool.untyped()))), Arc::<Mutex<Vec<_>>>::default());
    let scales = WriteCounter { pool: known.clone(), written: 0, weighed: weighed.clone(), request: Some(b"go") };
    script_handle.accept(move || Ok(Accepted { stream: Stream::other(scales), peer: Address::Other("scales".into()) }));
    callbacks.until(&Call::packet("go")).await;
    eventually(|| weighed.lock().unwrap().len() == 4).await;
    assert!(weighed.lock().unwrap().iter().all(|(written, counted)| counted >= written), "{weighed:?}");
    assert_eq!(pool.info().bytes_out, 10);
    known.lock().unwrap().take();
    in_time(pool.stop(Duration::ZERO)).await;
}
