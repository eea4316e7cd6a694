//! `Next::detach` and `Socket::into_inner`: connections that leave their pool as plain streams.

mod endings;
mod sockets;

use actix_acceptor::tls::{Tls, TlsBackend};
use actix_acceptor::transport::{Memory, TransportKind};
use actix_acceptor::{
    handlers::ProtocolService, telemetry::CloseReason, AcceptorPool, Builder, Closed, Conn, Connection, ConnectionInfo,
    Detached, Framing, Listener, Next, Pool, Protocol, Wait,
};
use bytes::Bytes;
use futures::future::join;
use support::pki::Pki;
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};

/// What is reported about a connection.
#[derive(Debug, PartialEq, Eq)]
enum Report {
    /// `closed` was called.
    Closed(CloseReason),
    /// The closure was called with this many unread bytes, while the pool had so many connections, detached ones, names and
    /// members of the topic.
    Detached { unread: usize, connections: usize, detached: u64, names: usize, members: usize },
    /// The closure was dropped.
    Dropped,
}

type Reports = UnboundedReceiver<Report>;

/// Detaches as its packet says. The detached stream sends back what it reads, and then the end.
#[derive(Clone)]
struct Upgrade(UnboundedSender<Report>);

/// Reports that a closure was dropped, unless it was called.
struct OnDrop(Option<UnboundedSender<Report>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.take().map(|reports| reports.send(Report::Dropped));
    }
}

fn is_send(_: &impl Send) {}

async fn echo_to_end(mut stream: Detached) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => return stream.shutdown().await.unwrap(),
            read => stream.write_all(&buffer[..read]).await.unwrap(),
        }
        stream.flush().await.unwrap();
    }
}

impl Upgrade {
    fn detach(&self, conn: &Conn<Self>) -> Next<Self> {
        let (pool, peer, listener) = (conn.pool(), conn.peer().clone(), conn.listener().to_owned());
        let (tls, id) = (conn.tls().cloned(), conn.id());
        let mut on_drop = OnDrop(Some(self.0.clone()));
        Next::detach(move |stream| {
            is_send(&stream);
            assert_eq!((stream.id(), stream.peer(), stream.listener()), (id, &peer, &listener[..]));
            assert_eq!(stream.tls(), tls.as_ref());
            assert_eq!(stream.transport() == TransportKind::Tls, tls.is_some());
            let (info, members) = (pool.info(), pool.topic("all").len());
            let report = Report::Detached {
                unread: stream.unread().len(),
                connections: pool.connections(),
                detached: info.closed.get(CloseReason::Detached),
                names: pool.names().len(),
                members,
            };
            on_drop.0.take().unwrap().send(report).unwrap();
            actix_rt::spawn(echo_to_end(stream));
        })
    }
}

impl Protocol for Upgrade {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, line: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        match &line[..] {
            b"upgrade" => {
                conn.join(&conn.pool().topic("all"));
                let _ = conn.register("someone");
                conn.push("switching");
                self.detach(conn)
            }
            b"large" => {
                conn.push(vec![b'x'; 2_999_999]);
                conn.outbox().send("and that of others").unwrap();
                self.detach(conn)
            }
            b"wait" => conn.wait(tokio::task::yield_now(), |(), me, conn| {
                conn.push("switching");
                me.detach(conn)
            }),
            b"message" => {
                conn.after(ms(1), ());
                conn.wait_with(Wait::new().with_messages(), std::future::pending::<()>(), |_, _, _| Next::Stop)
            }
            b"panic" => Next::detach(|_| panic!("in the closure")),
            _ => Next::Send(line),
        }
    }

    fn user(&mut self, (): (), conn: &mut Conn<Self>) -> Next<Self> {
        self.detach(conn)
    }

    fn shutdown(&mut self, _: Option<tokio::time::Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.detach(conn)
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        let _ = self.0.send(Report::Closed(why.reason()));
    }
}

fn builder() -> (Builder<ProtocolService<Upgrade>>, Reports) {
    let (sender, reports) = unbounded_channel();
    let upgrade = Upgrade(sender);
    (AcceptorPool::with_protocol(move |_| upgrade.clone()).framing(Framing::lines()), reports)
}

async fn next(reports: &mut Reports) -> Report {
    in_time(reports.recv()).await.unwrap()
}

/// The next two reports are those of a connection that was detached. Returns the number of unread bytes.
async fn until_detached(reports: &mut Reports) -> usize {
    assert_eq!(next(reports).await, Report::Closed(CloseReason::Detached));
    match next(reports).await {
        Report::Detached { unread, .. } => unread,
        report => panic!("{report:?}"),
    }
}

/// 64 KiB in which every position can be recognized, with lines.
fn payload() -> Vec<u8> {
    (0..4096).flat_map(|n| format!("{n:014}\r\n").into_bytes()).collect()
}

/// Sends the pieces and then the end, and returns everything that it receives.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(peer: Peer<S>, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(peer.0);
    let mut received = Vec::new();
    let send = async {
        for piece in pieces {
            write.write_all(piece).await.unwrap();
            write.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        write.shutdown().await.unwrap();
    };
    let (_, read) = in_time(join(send, read.read_to_end(&mut received))).await;
    read.unwrap();
    received
}

/// Upgrades with the bytes behind the line in one segment, split, and ahead.
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(how: usize, mut peer: Peer<S>, reports: &mut Reports) {
    let payload = payload();
    let all = [b"upgrade\r\n", &payload[..]].concat();
    let received = match how {
        0 => exchange(peer, &[&all[..200], &all[200..]]).await,
        1 => exchange(peer, &all.chunks(7).take(40).chain([&all[280..]]).collect::<Vec<_>>()).await,
        2 => exchange(peer, &[&all[..]]).await,
        _ => {
            peer.send(b"before\nupgrade\r\n").await;
            peer.expect(b"before\nswitching\n").await;
            [b"switching\n", &exchange(peer, &[&payload[..]]).await[..]].concat()
        }
    };
    assert!(received == [b"switching\n", &payload[..]].concat(), "{how}: {} bytes differ", received.len());
    assert_eq!(next(reports).await, Report::Closed(CloseReason::Detached));
    let report = next(reports).await;
    assert!(matches!(report, Report::Detached { connections: 0, names: 0, members: 0, .. }), "{report:?}");
}

#[actix::test]
async fn a_stream_is_handed_over_whole() {
    let folder = Folder::create();
    let (builder, mut reports) = builder();
    let (memory, connector) = Memory::new("memory");
    let pool = builder.listener(Listener::tcp("127.0.0.1:0")).listener(Listener::from_transport(memory));
    let pool = pool.listener(Listener::unix(folder.path("socket"))).start().await.unwrap();
    for how in 0..4 {
        upgrade(how, connect(&pool).await, &mut reports).await;
        upgrade(how, Peer(connector.connect().await.unwrap()), &mut reports).await;
        let unix = tokio::net::UnixStream::connect(folder.path("socket")).await.unwrap();
        upgrade(how, Peer(unix), &mut reports).await;
    }
    assert_eq!((pool.info().closed.get(CloseReason::Detached), pool.info().closed.total()), (12, 12));
}

#[actix::test]
async fn a_tls_stream_is_handed_over_whole() {
    let pki = Pki::generate();
    let (certificate, key) = pki.issue("localhost");
    for backend in [TlsBackend::Native, TlsBackend::Rustls] {
        let (builder, mut reports) = builder();
        let tls = Tls::builder(backend).files(&certificate, &key).build().unwrap();
        let pool = builder.listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        for how in 0..4 {
            let peer = Peer(pki.connect(connect(&pool).await.0, "localhost").await.unwrap());
            upgrade(how, peer, &mut reports).await;
        }
    }
}

#[actix::test]
async fn a_detached_connection_has_given_its_permit_back() {
    let (builder, mut reports) = builder();
    let (pool, script) = in_memory(builder.max_connections(1)).await;
    let mut first = script.connect();
    first.send("upgrade\nrest").await;
    first.expect(b"switching\nrest").await;
    assert_eq!(next(&mut reports).await, Report::Closed(CloseReason::Detached));
    let report = Report::Detached { unread: 4, connections: 0, detached: 1, names: 0, members: 0 };
    assert_eq!(next(&mut reports).await, report);
    // The permit is free although the stream lives.
    let mut other = script.connect();
    other.echo("hello\n").await;
    assert_eq!(pool.connections(), 1);
    first.echo("still here").await;
}
