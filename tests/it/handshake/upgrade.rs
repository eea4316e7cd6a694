//! A handshake on a live connection, by a protocol and by an async fn.

use actix_acceptor::transport::{Address, Handshake, HandshakeError, Handshaken, LocalBoxFuture, Stream};
use actix_acceptor::{telemetry::CloseReason, AcceptorPool, Next, Socket};
use bytes::Bytes;
use support::{connect, in_memory, in_time, paused, protocol_default, Call, Probe, TIME_LIMIT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::custom::{greeted, HeloHandshake};

/// Sends `again`, and reports nothing.
struct SecondHandshake;

impl Handshake for SecondHandshake {
    fn handshake(
        &self,
        mut stream: Stream,
        _: &Address,
    ) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        Box::pin(async move {
            stream.write_all(b"again").await?;
            Ok(Handshaken::new(stream))
        })
    }
}

#[actix::test]
async fn an_upgrade_keeps_the_results_of_earlier_handshakes() {
    let (builder, _callbacks) = Probe::pool(|call, conn| match call {
        Call::Ack => Next::upgrade(SecondHandshake),
        Call::Packet(_) => Next::SendAndStop(Bytes::from(conn.tls().map_or("none", |tls| &tls.version).to_owned())),
        other => protocol_default(other),
    });
    let protocol = builder.listener(greeted()).start().await.unwrap().untyped();
    let serve = AcceptorPool::with_fn(|socket: Socket| async move {
        let mut socket = socket.upgrade(SecondHandshake).await.unwrap();
        socket.read_u8().await.unwrap();
        let version = socket.tls().map_or("none", |tls| &tls.version).to_owned();
        socket.write_all(version.as_bytes()).await.unwrap();
    });
    let serve = serve.listener(greeted()).start().await.unwrap().untyped();
    for pool in [protocol, serve] {
        let mut peer = connect(&pool).await;
        peer.send(b"HELO\n").await;
        peer.expect(b"EHLO\nagain").await;
        peer.send(b"?").await;
        assert_eq!(peer.read_to_end().await, b"none at all");
        in_time(pool.stop(None)).await;
    }
}

#[test]
fn bytes_queued_before_an_upgrade_are_sent_before_it() {
    paused(async {
        // More than the transport holds.
        const LENGTH: usize = 300 * 1024;
        let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
            Call::Packet(packet) if &packet[..] == b"upgrade" => {
                conn.send(Bytes::from(vec![b'x'; LENGTH])).unwrap();
                Next::upgrade(SecondHandshake)
            }
            Call::Packet(packet) => Next::Send(packet.clone()),
            other => protocol_default(other),
        });
        let (_pool, script_handle) = in_memory(builder).await;
        let mut peer = script_handle.connect();
        peer.send(b"upgrade").await;
        callbacks.until(&Call::packet("upgrade")).await;
        assert_eq!(peer.read_exact(LENGTH).await, [b'x'; LENGTH]);
        peer.expect(b"again").await;
        peer.echo(b"upgraded").await;
    });
}

#[actix::test]
async fn a_kill_during_an_upgrade_counts_as_killed() {
    let pool = AcceptorPool::with_fn(|socket: Socket| async move { socket.upgrade(HeloHandshake).await.map(drop) });
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send(b"HEL").await;
    in_time(pool.wait_for(|n| n == 1, None)).await.unwrap();
    assert!(pool.kill(pool.list()[0].id));
    peer.until_gone().await;
    in_time(pool.wait_for(|n| n == 0, None)).await.unwrap();
    assert_eq!((pool.info().closed.get(CloseReason::Killed), pool.info().closed.total()), (1, 1));
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn a_drain_during_an_upgrade_is_handled_after_it() {
    let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
        Call::Packet(_) => Next::upgrade(HeloHandshake),
        Call::Shutdown => Next::SendAndStop(Bytes::from(conn.tls().map_or("none", |tls| &tls.version).to_owned())),
        other => protocol_default(other),
    });
    let pool = builder.acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut upgrading = connect(&pool).await;
    upgrading.send(b"upgrade").await;
    callbacks.until(&Call::packet("upgrade")).await;
    let mut plain = connect(&pool).await;
    callbacks.until(&Call::Ack).await;
    let drained = async {
        // Notified after the connection that is upgrading.
        assert_eq!(plain.read_to_end().await, b"none");
        upgrading.send(b"HELO\n").await;
        assert_eq!(upgrading.read_to_end().await, b"EHLO\nnone at all");
    };
    let (report, ()) = tokio::join!(in_time(pool.stop(TIME_LIMIT)), drained);
    assert_eq!((report.asked, report.finished), (2, 2));
}
