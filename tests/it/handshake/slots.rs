//! The limit on concurrent handshakes: peers that send nothing take up none of it.

use std::time::{Duration, Instant};

use actix_acceptor::{
    proxy::ProxyProtocol,
    telemetry::CloseReason,
    tls::{Tls, TlsBackend},
    transport::{Address, Handshake, HandshakeError, Handshaken, Stream},
    AcceptorPool, Listener,
};
use futures::future::LocalBoxFuture;
use support::pki::Pki;
use support::{connect, eventually, in_time, Echo, Peer};
use tokio::io::AsyncWriteExt;

use super::custom::HeloHandshake;
use super::proxy::{loopback, LINE};

const SILENT: usize = 50;
const LONG: Duration = Duration::from_secs(60);

/// HELO by a peer that speaks first.
struct PeerFirst;

impl Handshake for PeerFirst {
    fn handshake(&self, stream: Stream, peer: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        HeloHandshake.handshake(stream, peer)
    }

    fn waits_for_peer(&self, _: &Address) -> bool {
        true
    }
}

/// A server that speaks first.
struct ServerFirst;

impl Handshake for ServerFirst {
    fn handshake(
        &self,
        mut stream: Stream,
        _: &Address,
    ) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        Box::pin(async move {
            stream.write_all(b"welcome").await?;
            Ok(Handshaken::new(stream))
        })
    }
}

#[actix::test]
async fn silent_peers_hold_up_no_handshake() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let tls = |backend| Tls::builder(backend).files(&cert, &key).build().unwrap();
    let proxy = || loopback(ProxyProtocol::required());
    let not_trusted = ProxyProtocol::optional().trust("192.0.2.1").unwrap();
    let listener = || Listener::tcp("127.0.0.1:0");
    // Whether it is TLS, and whether a header comes first, also that of silent peers.
    for (listener, is_tls, header) in [
        (listener().tls(tls(TlsBackend::Native)), true, false),
        (listener().tls(tls(TlsBackend::Rustls)), true, false),
        (listener().tls(tls(TlsBackend::Rustls)).proxy_protocol(not_trusted), true, false),
        (listener().tls(tls(TlsBackend::Rustls)).proxy_protocol(proxy()), true, true),
        (listener().proxy_protocol(proxy()), false, true),
        (listener().handshake(PeerFirst), false, false),
    ] {
        let builder = AcceptorPool::with_protocol(|_| Echo).acceptors(1).max_handshakes(1).handshake_timeout(LONG);
        let pool = builder.listener(listener).start().await.unwrap();
        let mut silent = Vec::new();
        for _ in 0..SILENT {
            let mut peer = connect(&pool).await;
            if is_tls && header {
                peer.send(LINE).await;
            }
            silent.push(peer);
        }
        eventually(|| pool.connections() == SILENT).await;
        let began = Instant::now();
        for _ in 0..3 {
            let mut peer = connect(&pool).await;
            if header {
                peer.send(LINE).await;
            }
            match (is_tls, header) {
                (true, _) => Peer(pki.connect(peer.0, "localhost").await.unwrap()).echo("over TLS").await,
                (false, true) => peer.echo("behind a proxy").await,
                (false, false) => {
                    peer.send("HELO\n").await;
                    peer.expect(b"EHLO\n").await;
                    peer.echo("greeted").await;
                }
            }
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        eventually(|| pool.connections() == SILENT).await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

#[actix::test]
async fn the_wait_for_the_first_byte_counts_for_the_timeout() {
    let limit = Duration::from_millis(200);
    let builder = AcceptorPool::with_protocol(|_| Echo).handshake_timeout(limit);
    let pool = builder.listener(Listener::tcp("127.0.0.1:0").handshake(PeerFirst)).start().await.unwrap();
    let began = Instant::now();
    connect(&pool).await.until_gone().await;
    assert!(began.elapsed() >= limit);
    eventually(|| pool.info().closed.get(CloseReason::Handshake) == 1).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn a_server_may_send_first_in_its_handshake() {
    let not_trusted = ProxyProtocol::optional().trust("192.0.2.1").unwrap();
    let listener = Listener::tcp("127.0.0.1:0").proxy_protocol(not_trusted).handshake(ServerFirst);
    let pool = AcceptorPool::with_protocol(|_| Echo).max_handshakes(1).listener(listener).start().await.unwrap();
    let mut peer = connect(&pool).await;
    peer.expect(b"welcome").await;
    peer.echo("hello").await;
    in_time(pool.stop(Duration::ZERO)).await;
}
