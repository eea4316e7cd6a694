//! Files as answers: in their place among the replies, however they travel, and with back-pressure.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::transport::Memory;
use actix_acceptor::{
    telemetry::CloseReason, transport::FileRange, AcceptorPool, Conn, Connection, Framing, Listener, Next, Pool,
    PoolHandle, Protocol, Socket,
};
use bytes::Bytes;
use support::{connect, eventually, in_time, protocol_default, Call, Folder, Peer, Probe};
use tokio::io::{AsyncRead, AsyncWrite};

/// More than any socket takes at once.
const LARGE: usize = 12 << 20;

fn content() -> Vec<u8> {
    (0..LARGE).map(|at| (at * 31 / 7) as u8).collect()
}

fn large(folder: &Folder) -> (Arc<File>, Vec<u8>) {
    let (path, content) = (folder.path("large"), content());
    std::fs::write(&path, &content).unwrap();
    (Arc::new(File::open(path).unwrap()), content)
}

/// `file`: a line, all of the file, a line, ten bytes of it, a line. `last`: all of it, then the end. Else an echo.
struct Files(Arc<File>);

impl Protocol for Files {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        let all = FileRange::new(self.0.clone(), ..).unwrap();
        match &line[..] {
            b"file" => {
                conn.send(Bytes::from(all.len().to_string())).unwrap();
                conn.send_file(all).unwrap();
                assert!(conn.unsent() > LARGE);
                conn.send(Bytes::from_static(b"and ten")).unwrap();
                conn.send_file(FileRange::new(self.0.clone(), 1_000..1_010).unwrap()).unwrap();
                Next::Send(Bytes::from_static(b"done"))
            }
            b"last" => {
                conn.send_file(all).unwrap();
                Next::SendAndStop(Bytes::from_static(b"bye"))
            }
            b"none" => Next::file(FileRange::new(self.0.clone(), 5..5).unwrap()),
            b"next" => Next::file(FileRange::new(self.0.clone(), LARGE as u64 - 10..).unwrap()),
            _ => Next::Send(line),
        }
    }
}

async fn asks<S: AsyncRead + AsyncWrite + Unpin>(mut peer: Peer<S>, content: &[u8]) {
    peer.send(b"file\nhello\nnone\nnext\nlast\n").await;
    peer.expect(format!("{LARGE}\n").as_bytes()).await;
    assert!(peer.read_exact(LARGE).await == content, "another file arrived");
    let expected = [b"and ten\n", &content[1_000..1_010], b"done\nhello\n", &content[LARGE - 10..]].concat();
    peer.expect(&expected).await;
    let mut rest = peer.read_to_end().await;
    assert_eq!(rest.split_off(LARGE), b"bye\n");
    assert!(rest == content, "another file arrived");
}

#[actix::test]
async fn files_keep_their_order_among_replies() {
    let folder = Folder::create();
    let (file, content) = large(&folder);
    let (memory, connector) = Memory::new("memory");
    let pool = AcceptorPool::with_protocol(move |_| Files(file.clone())).framing(Framing::lines()).acceptors(1);
    let pool = pool.listener(Listener::tcp("127.0.0.1:0")).listener(Listener::from_transport(memory));
    #[cfg(unix)]
    let pool = pool.listener(Listener::unix(folder.path("socket")));
    let pool = pool.start().await.unwrap();
    asks(connect(&pool).await, &content).await;
    asks(Peer(in_time(connector.connect()).await.unwrap()), &content).await;
    #[cfg(unix)]
    asks(Peer(tokio::net::UnixStream::connect(folder.path("socket")).await.unwrap()), &content).await;
    eventually(|| pool.info().closed.get(CloseReason::Local) == if cfg!(unix) { 3 } else { 2 }).await;
    in_time(pool.stop(None)).await;
}
#[actix::test]
async fn files_travel_under_tls() {
    use actix_acceptor::tls::{Tls, TlsBackend};
    let pki = support::pki::Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let folder = Folder::create();
    let (file, content) = large(&folder);
    for backend in [TlsBackend::Native, TlsBackend::Rustls] {
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let file = file.clone();
        let pool = AcceptorPool::with_protocol(move |_| Files(file.clone())).framing(Framing::lines());
        let pool = pool.listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        asks(Peer(pki.connect(connect(&pool).await.0, "localhost").await.unwrap()), &content).await;
        in_time(pool.stop(None)).await;
    }
}

async fn file_pool(file: Arc<File>, configure: impl FnOnce(Builder) -> Builder) -> (PoolHandle, support::Callbacks) {
    let (builder, callbacks) = Probe::pool(move |call, _| match call {
        Call::Packet(packet) if &packet[..] == b"file" => Next::file(FileRange::new(file.clone(), ..).unwrap()),
        Call::Packet(packet) => Next::Send(packet.clone()),
        other => protocol_default(other),
    });
    (configure(builder.acceptors(1)).bind("127.0.0.1:0").await.unwrap().untyped(), callbacks)
}

type Builder = actix_acceptor::Builder<actix_acceptor::handlers::ProtocolService<Probe>>;

#[actix::test]
async fn a_stalled_file_transfer_pauses_one_connection() {
    let folder = Folder::create();
    let (file, content) = large(&folder);
    let (pool, mut callbacks) = file_pool(file, |builder| builder).await;
    let mut reader = connect(&pool).await;
    reader.send(b"file").await;
    callbacks.until(&Call::packet("file")).await;
    reader.send(b"behind").await;
    // Whoever is served by the same thread is served meanwhile, and long after the packet behind was there to be read.
    let mut other = connect(&pool).await;
    for _ in 0..50 {
        other.echo(b"meanwhile").await;
    }
    let sent = pool.list().iter().map(|connection| connection.bytes_out).max().unwrap();
    assert!(sent < LARGE as u64, "{sent} bytes are in the socket's buffers: too small a file for this test");
    assert!(callbacks.so_far().iter().all(|call| *call != Call::packet("behind")));
    assert!(reader.read_exact(LARGE).await == content);
    reader.expect(b"behind").await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_stalled_file_transfer_times_out_or_is_killed() {
    let folder = Folder::create();
    let (file, _) = large(&folder);
    let (pool, _diary) = file_pool(file, |builder| builder.send_timeout(Duration::from_millis(200))).await;
    let mut idle = connect(&pool).await;
    idle.send(b"file").await;
    eventually(|| pool.info().closed.get(CloseReason::SendTimeout) == 1).await;
    let mut killed = connect(&pool).await;
    killed.send(b"file").await;
    eventually(|| pool.list().first().is_some_and(|connection| connection.bytes_out > 0)).await;
    assert!(pool.kill(pool.list()[0].id));
    eventually(|| pool.info().closed.get(CloseReason::Killed) == 1).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_truncated_file_ends_the_connection_with_an_error() {
    let folder = Folder::create();
    let (_, content) = large(&folder);
    let file = Arc::new(File::options().read(true).write(true).open(folder.path("large")).unwrap());
    let (pool, callbacks) = file_pool(file.clone(), |builder| builder).await;
    let mut reader = connect(&pool).await;
    reader.send(b"file").await;
    assert!(reader.read_exact(1_000).await == content[..1_000]);
    file.set_len(1_000).unwrap();
    assert!(reader.until_gone().await.len() < LARGE - 1_000);
    eventually(|| pool.info().closed.get(CloseReason::Error) == 1).await;
    in_time(pool.stop(None)).await;
    drop(pool);
    let calls = callbacks.rest().await;
    let is_named = |text: &str| text.starts_with("the file was truncated while it was sent: ");
    assert!(
        matches!(calls.last(), Some(Call::Closed(CloseReason::Error, text)) if is_named(text)),
        "the last of {} calls",
        calls.len()
    );
}

#[actix::test]
async fn a_file_truncated_to_nothing_ends_the_connection() {
    let folder = Folder::create();
    for in_memory in [false, true] {
        let (_, content) = large(&folder);
        let file = Arc::new(File::options().read(true).write(true).open(folder.path("large")).unwrap());
        let (memory, connector) = Memory::new("memory");
        let (pool, mut callbacks) = unreadable_pool(file.clone(), memory).await;
        if in_memory {
            let mut peer = Peer(in_time(connector.connect()).await.unwrap());
            peer.send(b"file").await;
            assert!(peer.read_exact(1_000).await == content[..1_000]);
            file.set_len(0).unwrap();
            peer.until_gone().await;
        } else {
            let mut peer = connect(&pool).await;
            peer.send(b"file").await;
            assert!(peer.read_exact(1_000).await == content[..1_000]);
            file.set_len(0).unwrap();
            peer.until_gone().await;
        }
        let (reason, text) = callbacks.closed().await;
        assert_eq!(reason, CloseReason::Error);
        assert!(text.starts_with("the file was truncated while it was sent: "), "{text}");
        in_time(pool.stop(None)).await;
    }
}

async fn unreadable_pool(file: Arc<File>, memory: Memory) -> (Pool<Connection<Probe>>, support::Callbacks) {
    let (builder, callbacks) = Probe::pool(move |call, _| match call {
        Call::Packet(packet) if &packet[..] == b"file" => Next::file(FileRange::new(file.clone(), ..).unwrap()),
        Call::Packet(packet) => Next::Send(packet.clone()),
        other => protocol_default(other),
    });
    let builder = builder.acceptors(1).listener(Listener::tcp("127.0.0.1:0"));
    (builder.listener(Listener::from_transport(memory)).start().await.unwrap(), callbacks)
}

#[actix::test]
async fn a_file_that_cannot_be_read_is_named_as_the_cause() {
    let folder = Folder::create();
    std::fs::write(folder.path("file"), b"content").unwrap();
    let file = Arc::new(File::options().write(true).open(folder.path("file")).unwrap());
    let (memory, connector) = Memory::new("memory");
    let (pool, mut callbacks) = unreadable_pool(file.clone(), memory).await;
    let (mut tcp, mut other) = (connect(&pool).await, connect(&pool).await);
    let mut in_memory = Peer(in_time(connector.connect()).await.unwrap());
    for round in 1..=2 {
        if round == 1 {
            tcp.send(b"file").await;
            assert_eq!(tcp.until_gone().await, b"");
        } else {
            in_memory.send(b"file").await;
            assert_eq!(in_memory.until_gone().await, b"");
        }
        let (reason, text) = callbacks.closed().await;
        assert_eq!((reason, &*text), (CloseReason::Error, "cannot read the file: Bad file descriptor (os error 9)"));
        other.echo(b"still served").await;
    }
    in_time(pool.stop(None)).await;
    let serve = move |mut socket: Socket| {
        let file = FileRange::new(file.clone(), ..).unwrap();
        async move { socket.send_file(file).await }
    };
    let pool = AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await.unwrap();
    assert_eq!(connect(&pool).await.until_gone().await, b"");
    eventually(|| pool.info().closed.get(CloseReason::Error) == 1).await;
    in_time(pool.stop(None)).await;
}

#[cfg(unix)]
#[test]
fn only_regular_files_can_be_sent() {
    let folder = Folder::create();
    let pipe = folder.path("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in [pipe, folder.path(""), "/dev/null".into()] {
        let (sender, opened) = std::sync::mpsc::channel();
        let of = path.clone();
        // The open of a pipe waits for its other end.
        std::thread::spawn(move || sender.send(FileRange::open(of)));
        let error = opened.recv_timeout(support::TIME_LIMIT).expect("no wait").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "not a regular file", "{}", path.display());
    }
    let directory = File::open(folder.path("")).unwrap();
    assert_eq!(FileRange::new(directory, ..).unwrap_err().to_string(), "not a regular file");
}

#[actix::test]
async fn a_socket_sends_files_too() {
    let folder = Folder::create();
    let (file, content) = large(&folder);
    let serve = move |mut socket: Socket| {
        let file = FileRange::new(file.clone(), 1..).unwrap();
        async move { socket.send_file(file).await }
    };
    let pool = AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    assert!(peer.read_to_end().await == content[1..]);
    eventually(|| pool.info().closed.total() == 1).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn files_and_the_bytes_before_and_after_them_are_counted() {
    let folder = Folder::create();
    let (file, _) = large(&folder);
    let (memory, connector) = Memory::new("memory");
    let pool = AcceptorPool::with_protocol(move |_| Files(file.clone())).framing(Framing::lines());
    let listener = Listener::tcp("127.0.0.1:0");
    let pool = pool.listener(listener).listener(Listener::from_transport(memory)).start().await.unwrap();
    let mut tcp = connect(&pool).await;
    tcp.send(b"file\nlast\n").await;
    let mut received = tcp.read_to_end().await.len();
    let mut in_memory = Peer(in_time(connector.connect()).await.unwrap());
    in_memory.send(b"file\nlast\n").await;
    received += in_memory.read_to_end().await.len();
    eventually(|| pool.info().closed.total() == 2).await;
    assert_eq!(pool.info().bytes_out, received as u64);
    in_time(pool.stop(None)).await;
}
