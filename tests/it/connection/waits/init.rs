//! Waits and upgrades in `init`: within the handshake timeout, after the listener's own steps, without deadlocks.

use std::future::pending;

use actix_acceptor::transport::{Address, FileRange, Handshake, HandshakeError, Handshaken, LocalBoxFuture, Stream};
use actix_acceptor::{telemetry::CloseReason, Active, Conn, Listener, Next, Wait, WaitEnded};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;

/// Reads its word and answers with it.
struct Word(&'static str);

impl Handshake for Word {
    fn handshake(
        &self,
        mut stream: Stream,
        _: &Address,
    ) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let word = self.0;
        Box::pin(async move {
            let mut read = vec![0; word.len()];
            stream.read_exact(&mut read).await?;
            if read != word.as_bytes() {
                return Err(HandshakeError::failed("another word"));
            }
            stream.write_all(word.as_bytes()).await?;
            Ok(Handshaken::new(stream))
        })
    }
}

fn tcp() -> Listener {
    Listener::tcp("127.0.0.1:0")
}

async fn start(
    listener: Listener,
    act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static,
    set: impl FnOnce(Builder<ProtocolService<Probe>>) -> Builder<ProtocolService<Probe>>,
) -> (Pool<Connection<Probe>>, Callbacks) {
    let (builder, callbacks) = Probe::pool(act);
    let pool = set(builder.framing(Framing::lines()).acceptors(1)).listener(listener).start().await.unwrap();
    (pool, callbacks)
}

#[actix::test]
async fn a_wait_in_init_obeys_the_handshake_timeout() {
    let act = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Init => conn.wait(pending::<()>(), |(), _, _| Next::Continue),
        call => protocol_default(call),
    };
    for listener in [tcp, || tcp().handshake(Word("a"))] {
        for early in ["", "a", "abc\n"] {
            let (pool, mut callbacks) = start(listener(), act, |builder| builder.handshake_timeout(ms(200))).await;
            let mut peer = connect(&pool).await;
            let began = tokio::time::Instant::now();
            peer.send(early).await;
            assert_eq!(callbacks.closed().await.0, CloseReason::Handshake);
            assert!((ms(200)..ms(1_000)).contains(&began.elapsed()), "{:?}", began.elapsed());
        }
    }
}

/// The time that `init` waited counts.
#[actix::test]
async fn the_handshake_timeout_counts_from_the_accept() {
    let act = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Init => conn.wait(tokio::time::sleep(ms(300)), |(), _, _| Next::Continue),
        call => protocol_default(call),
    };
    let listener = tcp().handshake(Word("never sent"));
    let (pool, mut callbacks) = start(listener, act, |builder| builder.handshake_timeout(ms(500))).await;
    let _peer = connect(&pool).await;
    let began = tokio::time::Instant::now();
    let (reason, why) = callbacks.closed().await;
    assert_eq!((reason, &*why), (CloseReason::Handshake, "handshake failed: timed out after 500ms"));
    assert!((ms(450)..ms(750)).contains(&began.elapsed()), "{:?}", began.elapsed());
}

/// With a handshake to come, too: what the peer has sent belongs to it.
#[actix::test]
async fn a_peer_that_leaves_during_a_wait_of_init_is_noticed() {
    for listener in [tcp, || tcp().handshake(Word("a"))] {
        for reset in [false, true] {
            let (future, dropped) = watched(pending::<()>());
            let future = once(future);
            let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
                Call::Init => conn.wait(future(), |(), _, _| Next::Continue),
                call => protocol_default(call),
            };
            let (pool, mut callbacks) = start(listener(), act, |builder| builder.handshake_timeout(None)).await;
            let mut peer = connect(&pool).await;
            assert_eq!(callbacks.next().await, Call::Init);
            if reset {
                peer.reset();
            } else {
                peer.finish().await;
            }
            assert!(!in_time(dropped).await.unwrap());
            assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
        }
    }
}

#[actix::test]
async fn init_learns_that_its_peer_has_left() {
    let act = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Init => conn.wait_with(Wait::new().until_peer_leaves(), pending::<()>(), |outcome, _, _| {
            assert_eq!(outcome, Err(WaitEnded::PeerLeft));
            text("goodbye")
        }),
        call => protocol_default(call),
    };
    let (pool, mut callbacks) = start(tcp(), act, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.finish().await;
    assert_eq!(peer.read_to_end().await, b"goodbye\n");
    assert_eq!(callbacks.closed().await.0, CloseReason::Peer);
}

/// What was sent early, also with a FIN, is handled once `init` is done: by the handshake, else as packets.
#[actix::test]
async fn bytes_sent_during_a_wait_of_init_are_not_lost() {
    for (listener, sent, answered) in [
        (tcp as fn() -> Listener, "1\n2\n", "ready\n1\n2\n"),
        (|| tcp().handshake(Word("a")), "a1\n2\n", "aready\n1\n2\n"),
    ] {
        for finishes in [false, true] {
            let (open, gate) = oneshot::channel::<()>();
            let gate = once(gate);
            let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
                Call::Init => conn.wait(gate(), |_, _, _| Next::Continue),
                Call::Ack => text("ready"),
                call => echoed(call),
            };
            let (pool, mut callbacks) = start(listener(), act, |builder| builder).await;
            let mut peer = connect(&pool).await;
            peer.send(sent).await;
            if finishes {
                peer.finish().await;
            }
            callbacks.until(&Call::Init).await;
            tokio::time::sleep(ms(50)).await;
            open.send(()).unwrap();
            peer.expect(answered.as_bytes()).await;
            eventually(|| pool.info().bytes_in == 4).await;
            if finishes {
                assert_eq!(peer.read_to_end().await, b"");
            } else {
                peer.echo("3\n").await;
            }
        }
    }
}

/// Above the mark, with a file, or both, before the connection is ready.
#[actix::test]
async fn init_may_send_more_than_the_mark_and_files() {
    const FLOOD: usize = 300 * 1024;
    let folder = Folder::create();
    let path = folder.path("file");
    std::fs::write(&path, "a file").unwrap();
    for in_wait in [false, true] {
        for file in [false, true] {
            for handshakes in [false, true] {
                let path = path.clone();
                let flood = move |conn: &mut Conn<Probe>| {
                    conn.send(Bytes::from(vec![b'x'; FLOOD])).unwrap();
                    if file {
                        Next::file(FileRange::open(&path).unwrap())
                    } else {
                        Next::Continue
                    }
                };
                let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
                    Call::Init if in_wait => {
                        let flood = flood.clone();
                        conn.wait(tokio::time::sleep(ms(20)), move |(), _, conn| flood(conn))
                    }
                    Call::Init => flood(conn),
                    Call::Ack => text("ready"),
                    call => echoed(call),
                };
                let listener = if handshakes { tcp().handshake(Word("a")) } else { tcp() };
                let (pool, _callbacks) = start(listener, act, |builder| builder).await;
                let mut peer = connect(&pool).await;
                if handshakes {
                    peer.echo("a").await;
                }
                let expected = [&vec![b'x'; FLOOD][..], b"\n", if file { b"a file" } else { b"" }, b"ready\n"].concat();
                assert!(peer.read_exact(expected.len()).await == expected, "{in_wait} {file} {handshakes}");
                peer.echo("hello\n").await;
            }
        }
    }
}

/// An upgrade of `init` comes after the listener's own steps, whatever `init` has sent before; that follows it.
#[actix::test]
async fn an_upgrade_of_init_follows_the_steps_of_the_listener() {
    for in_wait in [false, true] {
        for (handshakes, sent, answered) in [(false, "b", "b"), (true, "ab", "ab")] {
            let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
                Call::Init => {
                    conn.send(Bytes::from_static(b"first")).unwrap();
                    match in_wait {
                        true => conn.wait(tokio::time::sleep(ms(20)), |(), _, _| Next::upgrade(Word("b"))),
                        false => Next::upgrade(Word("b")),
                    }
                }
                Call::Ack => text("ready"),
                call => echoed(call),
            };
            let listener = if handshakes { tcp().handshake(Word("a")) } else { tcp() };
            let (pool, mut callbacks) = start(listener, act, |builder| builder.handshake_timeout(ms(500))).await;
            let mut peer = connect(&pool).await;
            peer.send(sent).await;
            peer.expect(format!("{answered}first\nready\n").as_bytes()).await;
            peer.echo("hello\n").await;
            callbacks.until(&Call::Ack).await;
            // A peer that says nothing.
            let _silent = connect(&pool).await;
            assert_eq!(callbacks.closed().await.0, CloseReason::Handshake);
        }
    }
}

#[cfg(feature = "proxy-protocol")]
#[actix::test]
async fn an_upgrade_of_init_does_not_replace_a_proxy_header() {
    use actix_acceptor::proxy::ProxyProtocol;

    let act = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Init => Next::upgrade(Word("b")),
        Call::Ack => Next::Send(Bytes::from(conn.peer().to_string())),
        call => echoed(call),
    };
    let proxy = || ProxyProtocol::required().trust("127.0.0.0/8").unwrap();
    let (pool, mut callbacks) = start(tcp().proxy_protocol(proxy()), act, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("PROXY TCP4 203.0.113.7 198.51.100.1 4711 443\r\nb").await;
    peer.expect(b"b203.0.113.7:4711\n").await;
    let mut bare = connect(&pool).await;
    bare.send("b without a header\r\n").await;
    assert_eq!(bare.until_gone().await, b"");
    assert_eq!(callbacks.closed().await.0, CloseReason::Handshake);
}

#[actix::test]
async fn a_passive_connection_may_wait_in_init() {
    let act = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Init => conn.wait(tokio::time::sleep(ms(50)), |(), _, _| Next::Continue),
        Call::Ack => {
            conn.set_active(Active::Always);
            text("ready")
        }
        call => echoed(call),
    };
    let (pool, _callbacks) = start(tcp(), act, |builder| builder.active(Active::Passive)).await;
    connect(&pool).await.expect(b"ready\n").await;
    let mut peer = connect(&pool).await;
    peer.send("hello\n").await;
    peer.expect(b"ready\nhello\n").await;
}
