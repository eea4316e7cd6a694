//! `Inspect`, which passes the bytes of each read and write to a closure.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_acceptor::tls::Tls;
use actix_acceptor::transport::{Direction, Inspect, TransportKind};
use actix_acceptor::{AcceptorPool, Framing, Listener, Socket};
use support::pki::Pki;
use support::{connect, eventually, in_time, Echo, Peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What was read and written, in order.
type Seen = Arc<Mutex<Vec<(Direction, Vec<u8>)>>>;

fn inspect(seen: &Seen) -> Inspect {
    let seen = seen.clone();
    Inspect::new(move |inspected| {
        assert!(inspected.peer.ip().unwrap().is_loopback());
        seen.lock().unwrap().push((inspected.direction, inspected.bytes.to_vec()));
    })
}

#[actix::test]
async fn a_step_sees_the_bytes_of_each_read_and_write() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let tls = Tls::rustls().files(&cert, &key).build().unwrap();
    for is_tls in [false, true] {
        let (seen, below) = (Seen::default(), Seen::default());
        let listener = Listener::tcp("127.0.0.1:0");
        // Below TLS it sees records, above TLS plaintext.
        let listener = if is_tls { listener.handshake(inspect(&below)).tls(tls.clone()) } else { listener }
            .handshake(inspect(&seen));
        let (kinds, kind) = std::sync::mpsc::channel();
        let echo = move |mut socket: Socket| {
            let kinds = kinds.clone();
            async move {
                kinds.send((socket.transport(), socket.socket_ref().is_some())).unwrap();
                let mut bytes = [0; 64];
                let length = socket.read(&mut bytes).await?;
                socket.write_all(&bytes[..length]).await
            }
        };
        let pool = in_time(AcceptorPool::with_fn(echo).acceptors(1).listener(listener).start()).await.unwrap();
        let peer = connect(&pool).await;
        if is_tls {
            let mut peer = Peer(in_time(pki.connect(peer.0, "localhost")).await.unwrap());
            peer.echo("ping").await;
        } else {
            Peer(peer.0).echo("ping").await;
        }
        // The layer hides nothing of the stream below.
        let expected = if is_tls { TransportKind::Tls } else { TransportKind::Tcp };
        assert_eq!(kind.recv().unwrap(), (expected, true));
        in_time(pool.stop(Duration::ZERO)).await;
        let seen = seen.lock().unwrap();
        let ping = b"ping".to_vec();
        assert_eq!(*seen, [(Direction::Read, ping.clone()), (Direction::Write, ping)], "TLS: {is_tls}");
        let below = below.lock().unwrap();
        assert_eq!(below.is_empty(), !is_tls);
        if let Some((direction, hello)) = below.first() {
            assert_eq!((*direction, hello[0]), (Direction::Read, 0x16), "a handshake record");
        }
    }
}

#[actix::test]
async fn a_panic_of_the_closure_harms_no_connection() {
    let calls = Arc::new(Mutex::new(0));
    let counted = calls.clone();
    let inspect = Inspect::new(move |_| {
        *counted.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
        panic!("on purpose");
    });
    let listener = Listener::tcp("127.0.0.1:0").handshake(inspect);
    let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(1).listener(listener);
    let pool = pool.start().await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("one").await;
    peer.echo("two").await;
    drop(peer);
    eventually(|| pool.connections() == 0).await;
    assert_eq!(pool.info().closed.total(), 1);
    assert_eq!(*calls.lock().unwrap(), 4);
    in_time(pool.stop(Duration::ZERO)).await;
}
