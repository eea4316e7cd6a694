//! What bounds a wait once its peer has left: no permit stays taken.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_acceptor::transport::{Accepted, Address, Stream};
use actix_acceptor::{telemetry::CloseReason, Active, Conn, Listener, Next, Wait};
use support::*;
use tokio::io::{duplex, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use super::*;

fn never_done(call: &Call, conn: &mut Conn<Probe>) -> Next<Probe> {
    match call {
        Call::Packet(_) => conn.wait(pending::<()>(), |(), _, _| Next::Continue),
        call => protocol_default(call),
    }
}

#[actix::test]
async fn a_waiting_connection_does_not_outlive_its_peer() {
    const PERMITS: usize = 20;
    for behind in [0, 1, 100_000] {
        let set = |builder: Builder<ProtocolService<Probe>>| builder.max_connections(PERMITS).idle_timeout(ms(300));
        let (pool, mut callbacks) = lines(never_done, set).await;
        for _ in 0..PERMITS {
            let mut peer = connect(&pool).await;
            peer.send([b"go\n".to_vec(), vec![b'x'; behind]].concat()).await;
            callbacks.until(&Call::packet("go")).await;
            drop(peer);
        }
        // A permit is free again.
        connect(&pool).await.send("hello\n").await;
        assert_eq!(callbacks.closed().await.0, CloseReason::Idle);
        eventually(|| pool.connections() <= 1).await;
        assert!(pool.info().closed.get(CloseReason::Idle) >= PERMITS as u64);
        in_time(pool.stop(ms(0))).await;
    }
}

#[actix::test]
async fn the_idle_timeout_ends_a_wait_on_every_transport() {
    let folder = Folder::create();
    let path = folder.path("socket");
    let (builder, mut callbacks) = Probe::pool(never_done);
    let builder = builder.framing(Framing::lines()).acceptors(1).idle_timeout(ms(300));
    let _pool = builder.listener(Listener::unix(&path)).start().await.unwrap();
    for behind in [1, 100_000] {
        let mut peer = Peer(tokio::net::UnixStream::connect(&path).await.unwrap());
        peer.send([b"go\n".to_vec(), vec![b'x'; behind]].concat()).await;
        peer.finish().await;
        assert_eq!(callbacks.closed().await.0, CloseReason::Idle, "{behind}");
        assert_eq!(peer.until_gone().await, b"");
    }
}

#[cfg(feature = "rustls")]
#[actix::test]
async fn the_idle_timeout_ends_a_wait_under_tls() {
    use actix_acceptor::tls::Tls;

    let pki = pki::Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for tls in [Tls::rustls(), Tls::native()] {
        let (builder, mut callbacks) = Probe::pool(never_done);
        let builder = builder.framing(Framing::lines()).acceptors(1).idle_timeout(ms(500));
        let listener = Listener::tcp("127.0.0.1:0").tls(tls.files(&cert, &key).build().unwrap());
        let pool = builder.listener(listener).start().await.unwrap();
        for behind in [0, 1, 100_000] {
            let mut peer = Peer(pki.connect(connect(&pool).await.0, "localhost").await.unwrap());
            peer.send([b"go\n".to_vec(), vec![b'x'; behind]].concat()).await;
            peer.finish().await;
            assert_eq!(callbacks.closed().await.0, CloseReason::Idle, "{behind}");
        }
    }
}

/// In memory nothing tells a FIN behind unread bytes: there the time counts from when no more is read ahead.
#[test]
fn a_stream_that_cannot_tell_is_bounded_as_well() {
    for behind in [0, 1, 40_000] {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(never_done);
            let builder = builder.framing(Framing::lines()).idle_timeout(ms(1_000));
            let (_pool, script_handle) = in_memory(builder).await;
            let mut peer = script_handle.connect();
            peer.send([b"go\n".to_vec(), vec![b'x'; behind]].concat()).await;
            peer.finish().await;
            let began = callbacks.until(&Call::packet("go")).await;
            let (call, at) = callbacks.next_ever().await;
            assert!(matches!(call, Call::Closed(CloseReason::Idle, _)), "{call:?}");
            assert_on_time(began, at, ms(1_000));
        });
    }
}

#[test]
fn a_peer_that_stays_does_not_bound_a_wait() {
    for behind in [0, 1, 10_000] {
        paused(async move {
            let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
                Call::Packet(bytes) if bytes == "go" => conn.wait(elapse(ms(10_000)), |(), _, _| text("waited")),
                call => protocol_default(call),
            });
            let builder = builder.framing(Framing::lines()).idle_timeout(ms(1_000));
            let (_pool, script_handle) = in_memory(builder).await;
            let mut peer = script_handle.connect();
            peer.send([b"go\n".to_vec(), vec![b'x'; behind]].concat()).await;
            callbacks.until(&Call::packet("go")).await;
            elapse(ms(9_000)).await;
            assert_eq!(callbacks.so_far(), []);
            elapse(ms(2_000)).await;
            peer.expect(b"waited\n").await;
        });
    }
}

#[test]
fn a_limit_of_its_own_bounds_a_wait_after_a_fin() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
            Call::Packet(_) => conn.wait_with(Wait::new().within(ms(5_000)), pending::<()>(), |outcome, _, _| {
                Next::Send(Bytes::from(outcome.unwrap_err().to_string()))
            }),
            call => protocol_default(call),
        });
        let (_pool, script_handle) = in_memory(builder.framing(Framing::lines()).idle_timeout(ms(1_000))).await;
        let mut peer = script_handle.connect();
        peer.send("go\n").await;
        let began = callbacks.until(&Call::packet("go")).await;
        peer.finish().await;
        let mut answer = String::new();
        peer.0.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "the wait took longer than its limit\n");
        assert_on_time(began, tokio::time::Instant::now(), ms(5_000));
        assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
    });
}

#[actix::test]
async fn a_passive_connection_that_waits_is_bounded() {
    let act = |call: &Call, conn: &mut Conn<Probe>| {
        conn.set_active(Active::Passive);
        match call {
            Call::Ack => conn.wait(pending::<()>(), |(), _, _| Next::Continue),
            call => protocol_default(call),
        }
    };
    for behind in [0, 1] {
        let (pool, mut callbacks) = lines(act, |builder| builder.idle_timeout(ms(300))).await;
        let mut peer = connect(&pool).await;
        callbacks.until(&Call::Ack).await;
        peer.send(vec![b'x'; behind]).await;
        peer.finish().await;
        assert_eq!(callbacks.closed().await.0, CloseReason::Idle);
    }
}

/// Requests that the peer sent before its FIN are answered, however many there are.
#[test]
fn each_wait_after_a_fin_has_its_own_time() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
            Call::Packet(_) => conn.wait(elapse(ms(800)), |(), _, _| text("waited")),
            call => protocol_default(call),
        });
        let (_pool, script_handle) = in_memory(builder.framing(Framing::lines()).idle_timeout(ms(1_000))).await;
        let mut peer = script_handle.connect();
        peer.send("a\nb\nc\n").await;
        peer.finish().await;
        let mut answers = String::new();
        peer.0.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers, "waited\nwaited\nwaited\n");
        assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
    });
}

/// A connection that stays open after a FIN gives later waits their own time.
#[test]
fn a_wait_long_after_a_fin_has_its_own_time() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
            Call::HalfClosed => {
                conn.add_stream(futures::StreamExt::boxed_local(futures::stream::once(async {
                    elapse(ms(5_000)).await;
                    Bytes::new()
                })));
                Next::Continue
            }
            Call::Packet(_) => conn.wait(elapse(ms(10)), |(), _, _| text("first")),
            Call::User(_) => conn.wait(elapse(ms(500)), |(), _, _| text("second")),
            Call::Timeout(_) => Next::Continue,
            call => protocol_default(call),
        });
        let builder = builder.framing(Framing::lines()).idle_timeout(ms(1_000)).half_close(true);
        let (_pool, script_handle) = in_memory(builder).await;
        let mut peer = script_handle.connect();
        peer.send("go\n").await;
        callbacks.until(&Call::packet("go")).await;
        peer.finish().await;
        elapse(ms(6_000)).await;
        peer.expect(b"first\nsecond\n").await;
    });
}

/// A stream that ends with an error of its own when the peer is gone.
struct BrokenStream(DuplexStream);

impl AsyncRead for BrokenStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        let ended = buf.filled().len() == before;
        Poll::Ready(if ended { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) })
    }
}

impl AsyncWrite for BrokenStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[actix::test]
async fn a_panic_while_a_wait_is_dropped_costs_one_connection() {
    for how in ["kill", "reset", "fin", "drain"] {
        let act = |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Packet(bytes) if bytes == "wait" => {
                let bomb = PanicOnDrop;
                let future = async move {
                    let _bomb = bomb;
                    pending::<()>().await;
                };
                conn.wait(future, |(), _, _| Next::Continue)
            }
            call => echoed(call),
        };
        let (pool, mut callbacks) = lines(act, |builder| builder.idle_timeout(ms(300))).await;
        let (mut bad, mut good) = (connect(&pool).await, connect(&pool).await);
        good.echo("hello\n").await;
        bad.send("wait\n").await;
        callbacks.until(&Call::packet("wait")).await;
        let stopped = match how {
            "kill" => {
                assert!(pool.list().iter().any(|info| info.bytes_in == 5 && pool.kill(info.id)));
                None
            }
            "reset" => {
                bad.reset();
                None
            }
            "fin" => {
                bad.finish().await;
                None
            }
            _ => Some(actix_rt::spawn({
                let pool = pool.clone();
                async move { pool.stop(ms(100)).await }
            })),
        };
        eventually(|| pool.info().closed.get(CloseReason::Panic) == 1).await;
        if let Some(stopped) = stopped {
            in_time(stopped).await.unwrap();
        } else if how != "fin" {
            good.echo("still here\n").await;
        }
    }
}

#[test]
fn an_error_of_a_users_stream_ends_a_wait() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(never_done);
        let (_pool, script_handle) = in_memory(builder.framing(Framing::lines())).await;
        let (mut theirs, ours) = duplex(1024);
        let stream = BrokenStream(ours);
        script_handle
            .accept(move || Ok(Accepted { stream: Stream::other(stream), peer: Address::Other("broken".into()) }));
        theirs.write_all(b"go\n").await.unwrap();
        callbacks.until(&Call::packet("go")).await;
        drop(theirs);
        assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
    });
}
