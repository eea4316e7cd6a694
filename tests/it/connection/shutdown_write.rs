//! `Conn::shutdown_write`: a connection that sends nothing more and goes on reading.

use actix_acceptor::info::ConnectionPhase;
use actix_acceptor::tls::{Tls, TlsBackend};
use actix_acceptor::transport::{FileRange, Memory};
use actix_acceptor::{
    telemetry::CloseReason, AcceptorPool, Active, Drain, Framing, Listener, Next, OutboxError, SendError, Socket,
    Timeout,
};
use futures::FutureExt;
use support::pki::Pki;
use support::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

type Builder = actix_acceptor::Builder<actix_acceptor::handlers::ProtocolService<Probe>>;

/// `shut N`: N bytes, then the end of the stream. The other packets answer in different ways.
fn builder() -> (Builder, Callbacks) {
    let (builder, callbacks) = Probe::pool(|call, conn| {
        let Call::Packet(packet) = call else { return protocol_default(call) };
        let packet = std::str::from_utf8(packet).unwrap();
        match packet.split_once(' ').unwrap_or((packet, "")) {
            ("shut", bytes) => {
                conn.outbox().send("from the outbox").unwrap();
                conn.push(vec![b'x'; bytes.parse::<usize>().unwrap() - 1]);
                assert!(!conn.is_write_shut_down());
                conn.shutdown_write();
                assert!(conn.is_write_shut_down());
                // Again: without effect.
                conn.shutdown_write();
                assert!(matches!(conn.send("late".into()), Err(SendError::ShutDown)));
                let file = FileRange::open("Cargo.toml").unwrap();
                assert!(matches!(conn.send_file(file), Err(SendError::ShutDown)));
                assert!(matches!(conn.outbox().send("late"), Err(OutboxError::Closed(_))));
                Next::Continue
            }
            ("wait", _) => {
                // What was queued before is sent although nothing more can be queued.
                conn.wait(conn.flushed(), |flushed, _, conn| {
                    conn.set_label(format!("{flushed:?}"));
                    Next::Continue
                })
            }
            ("send", _) => Next::send("late"),
            ("push", _) => {
                conn.push("late");
                Next::Continue
            }
            ("passive", _) => {
                conn.set_active(Active::Passive);
                Next::Continue
            }
            ("open?" | "shut?", _) => {
                assert_eq!(conn.is_write_shut_down(), packet == "shut?");
                Next::Continue
            }
            ("last", _) => Next::SendAndStop("late".into()),
            ("file", _) => Next::file(FileRange::open("Cargo.toml").unwrap()),
            ("stop", _) => Next::Stop,
            _ => Next::Continue,
        }
    });
    (builder.framing(Framing::lines()), callbacks)
}

/// Reads to the end, then sends packets, which are delivered until the peer has finished.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut peer: Peer<S>, callbacks: &mut Callbacks) {
    peer.send("shut 300000\nwait\n").await;
    let received = peer.read_to_end().await;
    let (others, own) = received.split_at(b"from the outbox\n".len());
    assert!(others == b"from the outbox\n" && own.len() == 300_000 || received.ends_with(b"from the outbox\n"));
    peer.send("a\nb\n").await;
    callbacks.until(&Call::packet("a")).await;
    callbacks.until(&Call::packet("b")).await;
    peer.finish().await;
    assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
}

#[actix::test]
async fn after_the_end_of_the_stream_packets_are_delivered() {
    let (folder, (builder, mut callbacks)) = (Folder::create(), builder());
    let (memory, connector) = Memory::new("memory");
    let pool = builder.listener(Listener::tcp("127.0.0.1:0")).listener(Listener::from_transport(memory));
    let pool = pool.listener(Listener::unix(folder.path("socket"))).acceptors(1).start().await.unwrap();
    converse(connect(&pool).await, &mut callbacks).await;
    converse(Peer(connector.connect().await.unwrap()), &mut callbacks).await;
    converse(Peer(tokio::net::UnixStream::connect(folder.path("socket")).await.unwrap()), &mut callbacks).await;
    eventually(|| pool.info().closed.get(CloseReason::Peer) == 3).await;
}

#[actix::test]
async fn after_close_notify_packets_are_delivered() {
    let pki = Pki::generate();
    let (certificate, key) = pki.issue("localhost");
    for backend in [TlsBackend::Native, TlsBackend::Rustls] {
        let (builder, mut callbacks) = builder();
        let tls = Tls::builder(backend).files(&certificate, &key).build().unwrap();
        let pool = builder.listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        converse(Peer(pki.connect(connect(&pool).await.0, "localhost").await.unwrap()), &mut callbacks).await;
    }
}

#[actix::test]
async fn it_is_listed_as_closing_and_half_close_does_not_keep_it_open() {
    let (builder, mut callbacks) = builder();
    let (pool, script) = in_memory(builder.half_close(true)).await;
    let mut peer = script.connect();
    peer.send("shut 2\nwait\na\n").await;
    callbacks.until(&Call::packet("a")).await;
    let info = &pool.list()[0];
    assert_eq!((info.state, info.label.as_deref()), (ConnectionPhase::Closing, Some("Ok(())")));
    assert!(pool.find(info.id).is_some());
    peer.finish().await;
    callbacks.until(&Call::HalfClosed).await;
    assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
}

#[actix::test]
async fn a_reply_after_the_shutdown_is_an_error() {
    let (builder, mut callbacks) = builder();
    let (_pool, script) = in_memory(builder).await;
    for verb in ["send", "push", "last", "file"] {
        let mut peer = script.connect();
        peer.send(format!("shut 2\n{verb}\nnot delivered\n")).await;
        assert!(peer.read_to_end().await.ends_with(b"x\n"));
        let error = (CloseReason::Error, "the connection has shut down its sending side".to_owned());
        assert_eq!(callbacks.closed().await, error, "{verb}");
    }
    let mut peer = script.connect();
    peer.send("shut 2\nstop\n").await;
    assert_eq!(callbacks.closed().await.0, CloseReason::Local);
}

#[test]
fn silence_ends_a_connection_that_only_reads() {
    paused(async {
        let (builder, mut callbacks) = builder();
        let (_pool, script) = in_memory(builder.idle_timeout(ms(1_000))).await;
        let mut peer = script.connect();
        peer.send("shut 2\n").await;
        callbacks.until(&Call::Timeout(Timeout::Idle)).await;
        assert_eq!(callbacks.closed().await.0, CloseReason::Idle);
        // A peer that does not read what was queued before.
        peer = script.connect();
        peer.send("shut 3000000\n").await;
        assert_eq!(callbacks.next_ever().await.0, Call::Init);
        let ended = async {
            loop {
                if let (Call::Closed(reason, _), _) = callbacks.next_ever().await {
                    return reason;
                }
            }
        };
        assert_eq!(ended.await, CloseReason::SendTimeout);
    });
}

#[actix::test]
async fn a_passive_connection_that_only_reads_ends_when_idle() {
    let (builder, mut callbacks) = builder();
    let pool = builder.idle_timeout(ms(20)).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("shut 2\npassive\n").await;
    assert!(peer.read_to_end().await.ends_with(b"x\n"));
    peer.send("a\n").await;
    peer.finish().await;
    let mut calls = Vec::new();
    while !matches!(calls.last(), Some(Call::Closed(..))) {
        calls.push(callbacks.next().await);
    }
    assert!(calls.contains(&Call::Timeout(Timeout::Idle)) && !calls.contains(&Call::packet("a")), "{calls:?}");
    assert!(matches!(calls.last(), Some(Call::Closed(CloseReason::Idle, _))), "{calls:?}");
}

#[actix::test]
async fn whether_the_sending_side_is_shut_down_is_known() {
    let (builder, mut callbacks) = builder();
    let (_pool, script) = in_memory(builder).await;
    let mut peer = script.connect();
    peer.send("open?\nshut 2\nshut?\n").await;
    peer.read_to_end().await;
    peer.send("shut?\nstop\n").await;
    assert_eq!(callbacks.closed().await.0, CloseReason::Local);
}

#[actix::test]
async fn a_drain_ends_a_connection_that_only_reads() {
    let (builder, mut callbacks) = builder();
    let (pool, script) = in_memory(builder).await;
    let mut peer = script.connect();
    peer.send("shut 2\na\n").await;
    callbacks.until(&Call::packet("a")).await;
    let report = in_time(pool.drain(Drain::grace(TIME_LIMIT))).await;
    assert_eq!((report.asked, report.finished), (1, 1));
    callbacks.until(&Call::Shutdown).await;
    assert_eq!(callbacks.closed().await.0, CloseReason::Shutdown);
}

#[actix::test]
async fn a_shutdown_before_ack_begins_there() {
    let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
        Call::Init => {
            conn.shutdown_write();
            assert!(conn.is_write_shut_down());
            conn.push("hello");
            Next::Continue
        }
        Call::Ack => {
            assert!(matches!(conn.send("late".into()), Err(SendError::ShutDown)));
            Next::Continue
        }
        call => protocol_default(call),
    });
    let (_pool, script) = in_memory(builder.framing(Framing::lines())).await;
    let mut peer = script.connect();
    assert_eq!(peer.read_to_end().await, b"hello\n");
    peer.send("a\n").await;
    callbacks.until(&Call::packet("a")).await;
    peer.finish().await;
    assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
}

/// Says goodbye, shuts down its sending side, and sends nothing of what it reads then; returns at the end.
async fn shuts_down(mut socket: Socket) -> std::io::Result<()> {
    socket.write_all(b"bye").await?;
    socket.shutdown().await?;
    // Without effect.
    assert!(socket.shutdown().now_or_never().is_some());
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await?;
    assert_eq!(rest, b"still heard");
    socket.set_close_reason(CloseReason::MaxAge);
    Ok(())
}

#[actix::test]
async fn a_socket_reads_on_after_its_shutdown() {
    let pki = Pki::generate();
    let (certificate, key) = pki.issue("localhost");
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(mut peer: Peer<S>) {
        assert_eq!(peer.read_to_end().await, b"bye");
        peer.send("still heard").await;
        peer.finish().await;
    }
    let ended = |pool: &actix_acceptor::PoolHandle| {
        let pool = pool.clone();
        async move { eventually(|| pool.info().closed.get(CloseReason::MaxAge) == 1).await }
    };
    let pool = AcceptorPool::with_fn(shuts_down).bind("127.0.0.1:0").await.unwrap().untyped();
    converse(connect(&pool).await).await;
    ended(&pool).await;
    for backend in [TlsBackend::Native, TlsBackend::Rustls] {
        let tls = Tls::builder(backend).files(&certificate, &key).build().unwrap();
        let pool = AcceptorPool::with_fn(shuts_down).listener(Listener::tcp("127.0.0.1:0").tls(tls)).start();
        let pool = pool.await.unwrap().untyped();
        converse(Peer(pki.connect(connect(&pool).await.0, "localhost").await.unwrap())).await;
        ended(&pool).await;
    }
}
