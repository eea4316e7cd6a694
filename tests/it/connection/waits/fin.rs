//! The peer shuts its sending side during a wait: what it asked for is finished.

use std::future::pending;

use actix_acceptor::{telemetry::CloseReason, Conn, Next};
use support::*;
use tokio::sync::oneshot;

use super::*;

/// A line `wait` waits for the gate, every other one is echoed.
fn gated(gate: oneshot::Receiver<()>) -> impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync {
    let gate = once(gate);
    move |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(bytes) if bytes == "wait" => conn.wait(gate(), |_, _, _| text("waited")),
        Call::HalfClosed => Next::Stop,
        call => echoed(call),
    }
}

#[actix::test]
async fn a_fin_does_not_cancel_a_wait() {
    let many = "another line that is longer than the others\n".repeat(2_000);
    for half_close in [false, true] {
        for behind in ["", "x", "1\n", "1\n2\nrest", &many] {
            let (open, gate) = oneshot::channel();
            let (pool, mut callbacks) = lines(gated(gate), |builder| builder.half_close(half_close)).await;
            let mut peer = connect(&pool).await;
            peer.send(format!("0\nwait\n{behind}")).await;
            peer.finish().await;
            callbacks.until(&Call::packet("wait")).await;
            // The FIN has come by now: other connections were opened and served after it.
            for _ in 0..3 {
                connect(&pool).await.echo("other\n").await;
            }
            open.send(()).unwrap();
            let rest = if behind.is_empty() || behind.ends_with('\n') { behind.into() } else { format!("{behind}\n") };
            let answers = peer.read_to_end().await;
            assert!(answers == format!("0\nwaited\n{rest}").as_bytes(), "{half_close}, {} bytes", behind.len());
            in_time(pool.stop(None)).await;
            assert_eq!(pool.info().closed.get(CloseReason::Peer), 4);
        }
    }
}

#[actix::test]
async fn packets_behind_a_wait_may_wait_after_a_fin() {
    let act = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(bytes) => {
            let bytes = bytes.clone();
            conn.wait(tokio::time::sleep(ms(20)), |(), _, _| Next::Send(bytes))
        }
        call => protocol_default(call),
    };
    let (pool, _callbacks) = lines(act, |builder| builder).await;
    let mut peer = connect(&pool).await;
    peer.send("1\n2\n3\n").await;
    peer.finish().await;
    assert_eq!(peer.read_to_end().await, b"1\n2\n3\n");
}

/// Also after the FIN, and behind more than is read ahead.
#[actix::test]
async fn a_reset_after_a_fin_ends_a_wait() {
    for behind in [0, 100, 200_000] {
        let (future, dropped) = watched(pending::<()>());
        let future = once(future);
        let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Packet(_) => conn.wait(future(), |(), _, _| Next::Continue),
            call => protocol_default(call),
        };
        let (pool, mut callbacks) = lines(act, |builder| builder).await;
        let mut peer = connect(&pool).await;
        peer.send([b"go\n".to_vec(), vec![b'x'; behind]].concat()).await;
        callbacks.until(&Call::packet("go")).await;
        peer.finish().await;
        tokio::time::sleep(ms(50)).await;
        let began = tokio::time::Instant::now();
        peer.reset();
        assert!(!in_time(dropped).await.unwrap());
        assert!(began.elapsed() < ms(2_000), "after {:?}", began.elapsed());
        let (reason, why) = callbacks.closed().await;
        assert!(reason == CloseReason::Peer && why != "closed by the peer", "{behind}: {reason:?}, {why}");
    }
}

/// The end of a TLS stream without `close_notify` is a FIN as well.
#[cfg(feature = "rustls")]
#[actix::test]
async fn a_truncated_tls_stream_does_not_cancel_a_wait() {
    use actix_acceptor::{tls::Tls, Listener};
    use tokio::io::AsyncWriteExt;

    let pki = pki::Pki::generate();
    let (cert, key) = pki.issue("localhost");
    for tls in [Tls::rustls(), Tls::native()] {
        let tls = tls.files(&cert, &key).build().unwrap();
        let (open, gate) = oneshot::channel();
        let (builder, mut callbacks) = Probe::pool(gated(gate));
        let builder = builder.framing(actix_acceptor::Framing::lines()).acceptors(1);
        let pool = builder.listener(Listener::tcp("127.0.0.1:0").tls(tls)).start().await.unwrap();
        let mut peer = Peer(pki.connect(connect(&pool).await.0, "localhost").await.unwrap());
        peer.send("wait\n1\nrest").await;
        callbacks.until(&Call::packet("wait")).await;
        // Below TLS.
        peer.0.get_mut().0.shutdown().await.unwrap();
        tokio::time::sleep(ms(50)).await;
        assert_eq!(callbacks.so_far(), []);
        open.send(()).unwrap();
        callbacks.until(&Call::packet("1")).await;
        assert_eq!(callbacks.closed().await.0, CloseReason::Truncated, "the rest is no packet");
    }
}
