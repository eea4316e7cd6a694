//! What comes between accept and ready: in the connection, bounded in time and number, and an ending of its own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{
    limits::AtLimit,
    telemetry::{CloseReason, RefusalReason},
    transport::{Address, HandshakeError},
    AcceptorPool, Listener, Next, Pool, Socket,
};
use actix_acceptor::{
    tls::TlsInfo,
    transport::{Handshake, Handshaken, Stream},
};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use support::{
    connect, elapse, eventually, in_time, paused, protocol_default, Call, Echo, Peer, Probe, Recorded, Recorder,
    ScriptedTransport, SocketActor,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Peers say HELO and are answered; `CLAIM n` claims 10.0.0.n, `PANIC` panics, anything else is refused.
pub(super) struct HeloHandshake;

impl Handshake for HeloHandshake {
    fn handshake(
        &self,
        mut stream: Stream,
        _: &Address,
    ) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        Box::pin(async move {
            let mut word = [0; 5];
            stream.read_exact(&mut word).await?;
            match &word {
                b"HELO\n" => {
                    stream.write_all(b"EHLO\n").await?;
                    let mut tls = TlsInfo::default();
                    tls.version = "none at all".into();
                    Ok(Handshaken::new(stream).with_tls(tls))
                }
                [b'C', b'L', b'A', host, b'\n'] => {
                    let claimed = SocketAddr::from(([10, 0, 0, *host], 1));
                    Ok(Handshaken::new(stream).with_peer(Address::Tcp(claimed)))
                }
                b"PANIC" => panic!("as asked"),
                _ => Err(HandshakeError::failed("not one of us")),
            }
        })
    }

    fn may_override_peer(&self, _: &Address) -> bool {
        true
    }
}

pub(super) fn greeted() -> Listener {
    Listener::tcp("127.0.0.1:0").handshake(HeloHandshake)
}

#[actix::test]
async fn init_precedes_the_handshake_and_ack_follows_it() {
    let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
        Call::Init => {
            assert!(conn.tls().is_none());
            Next::Send(Bytes::from_static(b"from init"))
        }
        Call::Ack => Next::Send(Bytes::from(conn.tls().unwrap().version.clone())),
        other => protocol_default(other),
    });
    let pool = builder.listener(greeted()).start().await.unwrap();
    let mut peer = connect(&pool).await;
    callbacks.until(&Call::Init).await;
    peer.send(b"HEL").await;
    peer.send(b"O\nfirst").await;
    peer.expect(b"EHLO\nfrom initnone at all").await;
    callbacks.until(&Call::packet("first")).await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_stop_in_init_closes_without_a_handshake_and_sends_nothing() {
    let (builder, _diary) = Probe::pool(|call, _| match call {
        Call::Init => Next::SendAndStop(Bytes::from_static(b"not in clear")),
        other => protocol_default(other),
    });
    let pool = builder.listener(greeted()).start().await.unwrap();
    let mut peer = connect(&pool).await;
    assert_eq!(peer.until_gone().await, b"");
    in_time(pool.wait_for(|n| n == 0, None)).await.unwrap();
    assert_eq!(pool.info().closed.get(CloseReason::Local), 1);
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_failed_handshake_ends_one_connection() {
    let (recorder, mut closings) = Recorder::new();
    let limit = Duration::from_millis(200);
    let pool = AcceptorPool::with_protocol(move |_| Recorded(recorder.clone()))
        .handshake_timeout(limit)
        .max_handshakes(1)
        .listener(greeted())
        .listener(Listener::tcp("127.0.0.1:0").name("plain"))
        .start()
        .await
        .unwrap();
    let plain = pool.listeners()[1].address.socket().unwrap();
    let mut plain = Peer(tokio::net::TcpStream::connect(plain).await.unwrap());

    let mut stranger = connect(&pool).await;
    stranger.send(b"HALLO").await;
    let (reason, text) = closings.next().await;
    assert_eq!((reason, &*text), (CloseReason::Handshake, "handshake failed: not one of us"));
    stranger.until_gone().await;

    // One silent peer holds the only slot, the next one waits for it; a plain listener is served meanwhile.
    let began = std::time::Instant::now();
    let mut silent = connect(&pool).await;
    let mut next = connect(&pool).await;
    plain.echo(b"meanwhile").await;
    for _ in 0..2 {
        let (reason, text) = closings.next().await;
        assert_eq!((reason, &*text), (CloseReason::Handshake, "handshake failed: timed out after 200ms"));
    }
    assert!(began.elapsed() >= limit);
    silent.until_gone().await;
    next.until_gone().await;

    let mut bad = connect(&pool).await;
    bad.send(b"PANIC").await;
    assert_eq!(closings.next().await, (CloseReason::Panic, "a callback panicked: as asked".into()));
    plain.echo(b"still").await;

    let mut good = connect(&pool).await;
    good.send(b"HELO\n").await;
    good.expect(b"EHLO\n").await;
    good.echo(b"after all").await;
    // `closed` is called a little before it is counted.
    eventually(|| pool.info().closed.total() == 4).await;
    let info = pool.info();
    assert_eq!(
        (info.closed.get(CloseReason::Handshake), info.closed.get(CloseReason::Panic), info.connections),
        (3, 1, 2)
    );
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn peers_that_leave_in_mid_handshake_leave_nothing_behind() {
    let pool = AcceptorPool::with_protocol(|_| Echo).listener(greeted()).start().await.unwrap();
    for _ in 0..200 {
        connect(&pool).await.send(b"HEL").await;
    }
    in_time(pool.wait_for(|n| n == 0, None)).await.unwrap();
    eventually(|| pool.info().accepted == 200).await;
    in_time(pool.wait_for(|n| n == 0, None)).await.unwrap();
    assert_eq!(pool.info().closed.get(CloseReason::Handshake), 200);
    let mut good = connect(&pool).await;
    good.send(b"HELO\n").await;
    good.expect(b"EHLO\n").await;
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_handshaking_connection_can_be_killed_and_drained() {
    let pool = AcceptorPool::with_protocol(|_| Echo).listener(greeted()).start().await.unwrap();
    let mut killed = connect(&pool).await;
    in_time(pool.wait_for(|n| n == 1, None)).await.unwrap();
    assert!(pool.kill(pool.list()[0].id));
    killed.until_gone().await;
    let mut drained = connect(&pool).await;
    in_time(pool.wait_for(|n| n == 1, None)).await.unwrap();
    let report = in_time(pool.stop(Duration::from_millis(50))).await;
    assert_eq!((report.asked, report.forced), (1, 1));
    drained.until_gone().await;
    assert_eq!(pool.info().closed.get(CloseReason::Killed), 2);
}

pub(super) async fn claim<A>(pool: &Pool<A>, host: u8) -> Peer {
    let mut peer = connect(pool).await;
    peer.send([b'C', b'L', b'A', host, b'\n']).await;
    peer
}

#[actix::test]
async fn limits_and_logs_use_the_claimed_peer() {
    let (builder, callbacks) = Probe::pool(|call, conn| match call {
        Call::Ack => Next::Send(Bytes::from(format!("{} {}", conn.peer(), conn.socket_peer().ip().unwrap()))),
        other => protocol_default(other),
    });
    let rules = [actix_acceptor::limits::Rule::deny("10.0.0.9").unwrap()];
    let pool = builder.max_per_peer(1).rules(rules).listener(greeted()).start().await.unwrap();
    let mut one = claim(&pool, 1).await;
    one.expect(b"10.0.0.1:1 127.0.0.1").await;
    let mut two = claim(&pool, 2).await;
    two.expect(b"10.0.0.2:1 127.0.0.1").await;
    assert_eq!(pool.list()[0].peer.to_string(), "10.0.0.1:1");

    let mut again = claim(&pool, 1).await;
    again.until_gone().await;
    let mut denied = claim(&pool, 9).await;
    denied.until_gone().await;
    in_time(pool.wait_for(|n| n == 2, None)).await.unwrap();
    let info = pool.info();
    assert_eq!((info.refused.get(RefusalReason::PerPeer), info.refused.get(RefusalReason::Denied)), (1, 1));
    assert_eq!((info.accepted, info.closed.total()), (4, 0));

    drop(one);
    in_time(pool.wait_for(|n| n == 1, None)).await.unwrap();
    let mut one = claim(&pool, 1).await;
    one.expect(b"10.0.0.1:1 127.0.0.1").await;
    in_time(pool.stop(None)).await;
    drop(pool);
    let calls = callbacks.rest().await;
    let refused = |call: &Call| matches!(call, Call::Closed(_, text) if text == "refused: per_peer");
    assert_eq!(calls.iter().filter(|call| refused(call)).count(), 1, "{calls:?}");
}

/// Echoes once.
async fn echo_once(mut socket: Socket) {
    let mut packet = vec![0; 5];
    socket.read_exact(&mut packet).await.unwrap();
    let version = socket.tls().map(|tls| tls.version.clone()).unwrap_or_default();
    socket.write_all(format!("{} {version}", String::from_utf8_lossy(&packet)).as_bytes()).await.unwrap();
}

#[actix::test]
async fn fn_and_actor_get_their_socket_after_the_handshake() {
    let serve = AcceptorPool::with_fn(echo_once).listener(greeted()).start().await.unwrap().untyped();
    let start = AcceptorPool::with_actor(|socket| Ok(SocketActor::start(socket, echo_once)));
    let start = start.listener(greeted()).start().await.unwrap().untyped();
    for pool in [serve, start] {
        let mut peer = connect(&pool).await;
        peer.send(b"HELO\nhello").await;
        assert_eq!(peer.read_to_end().await, b"EHLO\nhello none at all");
        let mut stranger = connect(&pool).await;
        stranger.send(b"HALLO").await;
        stranger.until_gone().await;
        let mut leaves = connect(&pool).await;
        leaves.send(b"HEL").await;
        drop(leaves);
        in_time(pool.wait_for(|n| n == 0, None)).await.unwrap();
        eventually(|| pool.info().accepted == 3).await;
        in_time(pool.wait_for(|n| n == 0, None)).await.unwrap();
        assert_eq!(pool.info().closed.get(CloseReason::Handshake), 2);
        in_time(pool.stop(None)).await;
    }
}

/// Panics when it is asked about a peer: whether it allows it, or whether it is a proxy. Once it may, it does nothing.
struct Panics {
    allows: bool,
    left: Arc<AtomicUsize>,
}

impl Panics {
    fn ask(&self, here: bool) {
        let is_left = || self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        assert!(!(here && is_left()), "as asked");
    }
}

impl Handshake for Panics {
    fn handshake(&self, stream: Stream, _: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        Box::pin(async move { Ok(Handshaken::new(stream)) })
    }

    fn allows(&self, _: &Address) -> bool {
        self.ask(self.allows);
        true
    }

    fn may_override_peer(&self, _: &Address) -> bool {
        self.ask(!self.allows);
        false
    }
}

#[actix::test]
async fn a_panic_of_a_step_in_the_acceptor_refuses_one_peer() {
    for allows in [true, false] {
        let left = Arc::new(AtomicUsize::new(6));
        let listener = Listener::tcp("127.0.0.1:0").handshake(Panics { allows, left });
        let pool = AcceptorPool::with_protocol(|_| Echo).acceptors(1).listener(listener).start().await.unwrap();
        for _ in 0..6 {
            connect(&pool).await.until_gone().await;
        }
        connect(&pool).await.echo("served").await;
        assert_eq!(pool.info().refused.get(RefusalReason::Denied), 6);
        assert_eq!(pool.info().acceptors[0].restarts, 0);
        in_time(pool.stop(None)).await;
    }
}

#[actix::test]
async fn a_handshake_panic_is_counted_with_fn_and_actor() {
    let serve = AcceptorPool::with_fn(echo_once).listener(greeted()).start().await.unwrap().untyped();
    let start = AcceptorPool::with_actor(|socket| Ok(SocketActor::start(socket, echo_once)));
    let start = start.listener(greeted()).start().await.unwrap().untyped();
    for pool in [serve, start] {
        let mut peer = connect(&pool).await;
        peer.send(b"PANIC").await;
        peer.until_gone().await;
        eventually(|| pool.info().closed.total() == 1).await;
        assert_eq!(pool.info().closed.get(CloseReason::Panic), 1);
        in_time(pool.stop(None)).await;
    }
}

#[actix::test]
async fn a_peer_refused_before_its_handshake_gets_no_message() {
    let builder = AcceptorPool::with_protocol(|_| Echo).max_connections(1).at_limit(AtLimit::Close);
    let plain = Listener::tcp("127.0.0.1:0").name("plain");
    let builder = builder.refusal_message("full").acceptors(1).listener(greeted()).listener(plain);
    let pool = builder.start().await.unwrap();
    let mut inside = connect(&pool).await;
    inside.send(b"HELO\n").await;
    inside.expect(b"EHLO\n").await;
    connect(&pool).await.expect_closed_after("").await;
    let plain = pool.listeners()[1].address.socket().unwrap();
    Peer(tokio::net::TcpStream::connect(plain).await.unwrap()).expect_closed_after("full").await;
    in_time(pool.stop(None)).await;
}

#[test]
fn a_handshake_timeout_of_zero_is_disabled() {
    paused(async {
        let (transport, script_handle) = ScriptedTransport::in_memory();
        let listener = Listener::from_transport(transport).handshake(HeloHandshake);
        let builder = AcceptorPool::with_protocol(|_| Echo).handshake_timeout(Duration::ZERO).on_current_arbiter();
        let _pool = builder.listener(listener).start().await.unwrap();
        let mut peer = script_handle.connect();
        elapse(Duration::from_secs(100)).await;
        peer.send(b"HELO\n").await;
        peer.expect(b"EHLO\n").await;
        peer.echo(b"served").await;
    });
}
