//! PROXY header first, then TLS, within one time limit.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{
    limits::Rule,
    proxy::ProxyProtocol,
    telemetry::{CloseReason, Observer, PoolEvent, RefusalReason},
    tls::{Tls, TlsBackend},
    AcceptorPool, Listener,
};
use support::pki::Pki;
use support::{connect, eventually, in_time, pass, Peer};

use super::proxy::{listener, loopback, PeerReporter, LINE};

#[actix::test]
async fn the_header_precedes_tls() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for backend in [TlsBackend::Native, TlsBackend::Rustls] {
        let tls = Tls::builder(backend).files(&cert, &key).build().unwrap();
        let proxy = loopback(ProxyProtocol::required());
        let limit = Duration::from_millis(400);
        let pool = AcceptorPool::with_protocol(|_| PeerReporter)
            .handshake_timeout(limit)
            .listener(Listener::tcp("127.0.0.1:0").tls(tls).proxy_protocol(proxy))
            .start()
            .await
            .unwrap();
        let mut tcp = connect(&pool).await;
        tcp.send(LINE).await;
        let mut peer = Peer(pki.connect(tcp.0, "localhost").await.unwrap());
        peer.expect(b"203.0.113.7:4711 by 127.0.0.1 v1\n").await;
        peer.echo(b"under TLS").await;

        // The header late, TLS never: what the first takes is not given to the second once more.
        let began = std::time::Instant::now();
        let mut slow = connect(&pool).await;
        in_time(pool.wait_for(|n| n == 2, None)).await.unwrap();
        pass(limit / 2).await;
        slow.send(LINE).await;
        assert_eq!(slow.until_gone().await, b"");
        assert!(began.elapsed() >= limit && began.elapsed() < limit * 3 / 2, "{:?}", began.elapsed());
        eventually(|| pool.info().closed.get(CloseReason::Handshake) == 1).await;
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

struct Refusals(std::sync::Mutex<std::sync::mpsc::Sender<(String, RefusalReason)>>);

impl Observer for Refusals {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        if let PoolEvent::Refused { peer, reason, .. } = event {
            self.0.lock().unwrap().send((peer.to_string(), *reason)).unwrap();
        }
    }
}

#[actix::test]
async fn a_refusal_precedes_tls_and_names_the_claimed_peer() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let tls = Tls::rustls().files(&cert, &key).on_client_hello(move |hello| {
        count.fetch_add(1, SeqCst);
        assert_eq!(hello.peer().to_string(), "203.0.113.7:4711");
        Ok(None)
    });
    let (told, refusals) = std::sync::mpsc::channel();
    let pool = AcceptorPool::with_protocol(|_| PeerReporter)
        .max_per_peer(1)
        .rules([Rule::deny("203.0.113.66").unwrap()])
        .observer(Refusals(std::sync::Mutex::new(told)))
        .listener(listener(loopback(ProxyProtocol::required())).tls(tls.build().unwrap()))
        .start()
        .await
        .unwrap();
    // One of this peer is in the middle of its handshake: it counts already.
    let mut stalled = connect(&pool).await;
    stalled.send(LINE).await;
    eventually(|| pool.list().iter().any(|one| one.peer.to_string() == "203.0.113.7:4711")).await;
    for (header, reason) in [
        (LINE, RefusalReason::PerPeer),
        (&b"PROXY TCP4 203.0.113.66 198.51.100.1 1 443\r\n"[..], RefusalReason::Denied),
    ] {
        let mut refused = connect(&pool).await;
        refused.send(header).await;
        assert!(pki.connect(refused.0, "localhost").await.is_err());
        let peer = refusals.recv_timeout(support::TIME_LIMIT).unwrap();
        assert_eq!(peer.1, reason);
        assert!(std::str::from_utf8(header).unwrap().contains(peer.0.split(':').next().unwrap()), "{peer:?}");
    }
    assert_eq!(asked.load(SeqCst), 0, "nobody of them has come so far");
    let mut served = Peer(pki.connect(stalled.0, "localhost").await.unwrap());
    served.expect(b"203.0.113.7:4711 by 127.0.0.1 v1\n").await;
    assert_eq!(asked.load(SeqCst), 1);
    in_time(pool.stop(Duration::ZERO)).await;
}
