//! Handshake steps that claim another peer: which peer the limits count.

use std::time::Duration;

use actix_acceptor::{
    telemetry::RefusalReason,
    transport::{Address, Handshake, HandshakeError, Handshaken, Stream},
    AcceptorPool, Listener,
};
use futures::future::LocalBoxFuture;
use support::{connect, in_time, Echo};

use super::custom::{claim, greeted, HeloHandshake};

/// The same steps for peers that are not proxies.
struct DirectHandshake;

impl Handshake for DirectHandshake {
    fn handshake(&self, stream: Stream, peer: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        HeloHandshake.handshake(stream, peer)
    }
}

fn direct() -> Listener {
    Listener::tcp("127.0.0.1:0").handshake(DirectHandshake)
}

#[actix::test]
async fn a_claimed_peer_replaces_the_count_of_the_socket_peer() {
    let pool = AcceptorPool::with_protocol(|_| Echo).max_per_peer(1).listener(direct()).start().await.unwrap();
    let mut one = claim(&pool, 1).await;
    one.echo(b"one").await;
    let mut two = claim(&pool, 2).await;
    two.echo(b"two").await;
    claim(&pool, 1).await.until_gone().await;
    drop(one);
    in_time(pool.wait_for(|n| n == 1, None)).await.unwrap();
    claim(&pool, 1).await.echo(b"one").await;
    assert_eq!((pool.info().refused.get(RefusalReason::PerPeer), pool.info().refused.total()), (1, 1));
    in_time(pool.stop(None)).await;
}

#[actix::test]
async fn an_exempt_connection_is_not_counted_by_a_later_claim() {
    for listener in [greeted(), direct()] {
        let pool = AcceptorPool::with_protocol(|_| Echo).max_per_peer(1).listener(listener).start().await.unwrap();
        let mut exempt = connect(&pool).await;
        in_time(pool.wait_for(|n| n == 1, None)).await.unwrap();
        assert!(pool.exempt(pool.list()[0].id));
        exempt.send([b'C', b'L', b'A', 1, b'\n']).await;
        exempt.echo(b"exempt").await;
        let mut counted = claim(&pool, 1).await;
        counted.echo(b"counted").await;
        drop(exempt);
        in_time(pool.wait_for(|n| n == 1, None)).await.unwrap();
        claim(&pool, 1).await.until_gone().await;
        in_time(pool.stop(None)).await;
    }
}

#[actix::test]
async fn a_handshake_without_a_claim_takes_no_second_token() {
    let builder = AcceptorPool::with_protocol(|_| Echo).peer_rate(2, Duration::from_secs(3_600));
    let pool = builder.listener(direct()).start().await.unwrap();
    for _ in 0..2 {
        let mut peer = connect(&pool).await;
        peer.send(b"HELO\n").await;
        peer.expect(b"EHLO\n").await;
        peer.echo(b"served").await;
    }
    connect(&pool).await.until_gone().await;
    assert_eq!((pool.info().refused.get(RefusalReason::Rate), pool.info().refused.total()), (1, 1));
    in_time(pool.stop(None)).await;
}
