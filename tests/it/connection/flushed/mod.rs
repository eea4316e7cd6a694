//! `Conn::flushed`, `Outbox::send_acknowledged`, and the flush of a `Socket`: when bytes are with the kernel.

mod acknowledged;

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_acceptor::tls::{Tls, TlsBackend};
use actix_acceptor::transport::{Address, FileRange, Io, Stream};
use actix_acceptor::{
    transport::Accepted, AcceptorPool, Conn, Connection, FlushError, Framing, Listener, Next, Pool, Protocol, Socket,
};
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use support::pki::Pki;
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};

/// More than the buffers of a socket hold.
const LARGE: usize = 12 << 20;
/// The buffer of a stream in memory.
const BUFFER: usize = 64 * 1024;

/// The number of bytes that a peer has read. Each flush is reported with it.
#[derive(Clone)]
struct Flushes {
    read: Arc<AtomicUsize>,
    reports: UnboundedSender<(Result<(), FlushError>, usize)>,
}

type Reports = UnboundedReceiver<(Result<(), FlushError>, usize)>;

impl Flushes {
    fn new() -> (Flushes, Reports) {
        let (reports, received) = unbounded_channel();
        (Flushes { read: Arc::default(), reports }, received)
    }

    fn report(&self, flushed: Result<(), FlushError>) {
        let _ = self.reports.send((flushed, self.read.load(SeqCst)));
    }

    /// Reads this many bytes, and counts them.
    async fn read<S: AsyncRead + Unpin>(&self, peer: &mut Peer<S>, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            let mut buffer = vec![0; left.min(16 * 1024)];
            let read = in_time(peer.0.read(&mut buffer)).await.unwrap();
            assert!(read > 0, "{left} bytes are missing");
            left -= read;
            self.read.fetch_add(read, SeqCst);
        }
    }
}

/// Asks for a flush as its packet says: `wait N`, `spawn N` or `task N`, after N bytes; `file`; `none`.
struct Sender {
    flushes: Flushes,
    file: Option<FileRange>,
}

impl Protocol for Sender {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let line = String::from_utf8(line.to_vec()).unwrap();
        let (verb, bytes) = line.split_once(' ').unwrap_or((&line, "0"));
        let bytes: usize = bytes.parse().unwrap();
        if bytes > 0 {
            conn.push(vec![b'x'; bytes - 1]);
        }
        let flushes = self.flushes.clone();
        match verb {
            "wait" => conn.wait(conn.flushed(), |flushed, me, _| {
                me.flushes.report(flushed);
                Next::send("flushed")
            }),
            "spawn" => {
                conn.spawn(conn.flushed(), |flushed, me: &mut Self, _| {
                    me.flushes.report(flushed);
                    Next::Continue
                });
                Next::Continue
            }
            "task" => {
                let flushed = conn.flushed();
                actix_rt::spawn(async move { flushes.report(flushed.await) });
                Next::Continue
            }
            "file" => {
                conn.send_file(self.file.take().unwrap()).unwrap();
                conn.wait(conn.flushed(), |flushed, me, _| {
                    me.flushes.report(flushed);
                    Next::Continue
                })
            }
            "last" => {
                let flushed = conn.flushed();
                actix_rt::spawn(async move { flushes.report(flushed.await) });
                Next::Stop
            }
            _ => {
                self.flushes.report(conn.flushed().now_or_never().expect("nothing is unsent"));
                Next::Continue
            }
        }
    }
}

fn builder(flushes: &Flushes) -> actix_acceptor::Builder<actix_acceptor::handlers::ProtocolService<Sender>> {
    let flushes = flushes.clone();
    AcceptorPool::with_protocol(move |_| Sender { flushes: flushes.clone(), file: None }).framing(Framing::lines())
}

async fn memory(flushes: &Flushes) -> (Pool<Connection<Sender>>, Peer<DuplexStream>) {
    let (pool, script) = in_memory(builder(flushes)).await;
    (pool, script.connect())
}

#[actix::test]
async fn without_unsent_bytes_a_flush_is_done_at_once() {
    let (flushes, mut reports) = Flushes::new();
    let (_pool, mut peer) = memory(&flushes).await;
    peer.send("none\n").await;
    assert_eq!(in_time(reports.recv()).await.unwrap(), (Ok(()), 0));
    peer.send("wait 0\n").await;
    peer.expect(b"flushed\n").await;
}

#[actix::test]
async fn a_flush_waits_until_the_stream_has_accepted_all() {
    let (flushes, mut reports) = Flushes::new();
    let (pool, mut peer) = memory(&flushes).await;
    // Also above the high-water mark, where packets and messages wait.
    assert!(pool.settings().high_watermark < 3_000_000);
    for verb in ["wait", "spawn", "task"] {
        flushes.read.store(0, SeqCst);
        peer.send(format!("{verb} 3000000\n")).await;
        flushes.read(&mut peer, 3_000_000).await;
        let (flushed, read) = in_time(reports.recv()).await.unwrap();
        assert_eq!(flushed, Ok(()));
        assert!(read >= 3_000_000 - BUFFER, "{verb}: {read} bytes were read");
        if verb == "wait" {
            peer.expect(b"flushed\n").await;
        }
    }
}

#[actix::test]
async fn a_flush_resolves_with_a_steady_stream_behind_it() {
    let (flushes, mut reports) = Flushes::new();
    let (_pool, mut peer) = memory(&flushes).await;
    peer.send("task 100000\ntask 200000\nlast 300000\n").await;
    flushes.read(&mut peer, 600_000).await;
    for sent in [100_000, 300_000, 600_000] {
        let (flushed, read) = in_time(reports.recv()).await.unwrap();
        assert_eq!(flushed, Ok(()));
        assert!((sent - BUFFER..=sent + BUFFER).contains(&read), "{sent}: {read} bytes were read");
    }
    assert!(peer.read_to_end().await.is_empty());
}

#[actix::test]
async fn a_flush_includes_files() {
    let (folder, (flushes, mut reports)) = (Folder::create(), Flushes::new());
    std::fs::write(folder.path("file"), vec![1; 1_000_000]).unwrap();
    let (path, sender) = (folder.path("file"), flushes.clone());
    let factory = move |_: &_| Sender { flushes: sender.clone(), file: Some(FileRange::open(&path).unwrap()) };
    let (_pool, script) = in_memory(AcceptorPool::with_protocol(factory).framing(Framing::lines())).await;
    let mut peer = script.connect();
    peer.send("file 10\n").await;
    flushes.read(&mut peer, 1_000_010).await;
    let (flushed, read) = in_time(reports.recv()).await.unwrap();
    assert_eq!(flushed, Ok(()));
    assert!(read >= 1_000_010 - BUFFER, "{read} bytes were read");
}

#[actix::test]
async fn a_flush_fails_if_the_connection_ends_first() {
    let (flushes, mut reports) = Flushes::new();
    let (pool, mut peer) = memory(&flushes).await;
    peer.send("task 3000000\n").await;
    flushes.read(&mut peer, 10).await;
    assert!(pool.kill(pool.list()[0].id));
    assert_eq!(in_time(reports.recv()).await.unwrap(), (Err(FlushError), 10));
    assert_eq!(FlushError.to_string(), "the connection ended before everything was sent");
}

#[actix::test]
async fn a_flush_fails_although_an_outbox_is_kept() {
    let (flushes, mut reports) = Flushes::new();
    let (pool, mut peer) = memory(&flushes).await;
    peer.send("task 3000000\n").await;
    flushes.read(&mut peer, 10).await;
    let connection = pool.connection(pool.list()[0].id).unwrap();
    let outbox = connection.outbox();
    assert!(connection.kill());
    assert_eq!(in_time(reports.recv()).await.unwrap().0, Err(FlushError));
    assert!(outbox.is_closed());
}

#[actix::test]
async fn a_flush_with_tls_waits_for_the_kernel() {
    let pki = Pki::generate();
    let (certificate, key) = pki.issue("localhost");
    for backend in [TlsBackend::Native, TlsBackend::Rustls] {
        let (flushes, mut reports) = Flushes::new();
        let tls = Tls::builder(backend).files(&certificate, &key).build().unwrap();
        let pool = builder(&flushes).listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        let mut peer = Peer(pki.connect(connect(&pool).await.0, "localhost").await.unwrap());
        peer.send(format!("wait {LARGE}\n")).await;
        flushes.read(&mut peer, LARGE).await;
        peer.expect(b"flushed\n").await;
        let (flushed, read) = in_time(reports.recv()).await.unwrap();
        assert!(flushed.is_ok() && read > 0, "{backend:?}: {read} bytes were read");
    }
}

/// A stream that accepts everything, and sends it only when it is allowed to.
struct Buffering {
    stream: DuplexStream,
    held: BytesMut,
    shared: Arc<Gates>,
}

#[derive(Default)]
struct Gates {
    accepted: Mutex<Vec<u8>>,
    opened: AtomicBool,
    waker: futures::task::AtomicWaker,
}

impl Io for Buffering {}

impl AsyncRead for Buffering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Buffering {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.accepted.lock().unwrap().extend_from_slice(buf);
        self.held.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.shared.waker.register(cx.waker());
        if this.held.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if !this.shared.opened.swap(false, SeqCst) {
            return Poll::Pending;
        }
        let held = this.held.split();
        Pin::new(&mut this.stream).poll_write(cx, &held).map_ok(|written| assert_eq!(written, held.len()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[actix::test]
async fn a_buffering_stream_gets_nothing_new_before_a_flush() {
    let (flushes, _reports) = Flushes::new();
    let (pool, script) = in_memory(builder(&flushes)).await;
    let (theirs, stream) = tokio::io::duplex(BUFFER);
    let mut peer = Peer(theirs);
    let shared = Arc::<Gates>::default();
    let io = Buffering { stream, held: BytesMut::new(), shared: shared.clone() };
    script.accept(move || Ok(Accepted { stream: Stream::from_io(io), peer: Address::Other("buffering".into()) }));
    eventually(|| pool.connections() == 1).await;
    let outbox = pool.connection(pool.list()[0].id).unwrap().outbox();
    let mut flushed = outbox.send_acknowledged("first").unwrap();
    eventually(|| *shared.accepted.lock().unwrap() == b"first\n").await;
    let mut other = outbox.send_acknowledged("second").unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*shared.accepted.lock().unwrap(), b"first\n");
    assert!((&mut flushed).now_or_never().is_none());
    for (flushed, expected) in [(&mut flushed, &b"first\n"[..]), (&mut other, b"second\n")] {
        shared.opened.store(true, SeqCst);
        shared.waker.wake();
        assert_eq!(in_time(&mut *flushed).await, Ok(()));
        peer.expect(expected).await;
        // Polled again, it returns the same.
        assert_eq!(flushed.await, Ok(()));
    }
}

#[actix::test]
async fn a_flushed_socket_has_handed_all_bytes_to_the_kernel() {
    let pki = Pki::generate();
    let (certificate, key) = pki.issue("localhost");
    for backend in [TlsBackend::Native, TlsBackend::Rustls] {
        let (flushes, mut reports) = Flushes::new();
        let socket_flushes = flushes.clone();
        let serve = move |mut socket: Socket| {
            let flushes = socket_flushes.clone();
            async move {
                socket.write_all(&vec![1; LARGE]).await.unwrap();
                socket.flush().await.unwrap();
                flushes.report(Ok(()));
                // Another flush without new bytes is done at once.
                socket.flush().now_or_never().unwrap().unwrap();
                // What is flushed arrives even if the end is not orderly.
                std::future::pending::<()>().await;
            }
        };
        let tls = Tls::builder(backend).files(&certificate, &key).build().unwrap();
        let pool = AcceptorPool::with_fn(serve).listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        let mut peer = Peer(pki.connect(connect(&pool).await.0, "localhost").await.unwrap());
        flushes.read(&mut peer, LARGE / 2).await;
        let id = pool.list()[0].id;
        flushes.read(&mut peer, LARGE / 2).await;
        let (_, read) = in_time(reports.recv()).await.unwrap();
        assert!(read > 0, "{backend:?}: {read} bytes were read");
        assert!(pool.kill(id));
        in_time(pool.stop(Duration::ZERO)).await;
    }
}
