//! A handshake step that wraps the stream of a connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{ready, Context, Poll};
use std::time::Duration;

use actix_acceptor::tls::Tls;
use actix_acceptor::transport::{Address, Handshake, HandshakeError, Handshaken, Stream};
use actix_acceptor::{AcceptorPool, Framing, Listener};
use futures::future::LocalBoxFuture;
use support::pki::Pki;
use support::{connect, in_time, Echo, Peer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What was read and written, in order.
type Seen = Arc<Mutex<Vec<(&'static str, Vec<u8>)>>>;

struct Tap(Seen);

impl Handshake for Tap {
    fn handshake(&self, stream: Stream, _: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let seen = self.0.clone();
        Box::pin(async move { Ok(Handshaken::new(Stream::other(Tapped(stream, seen)))) })
    }
}

struct Tapped(Stream, Seen);

impl AsyncRead for Tapped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        self.1.lock().unwrap().push(("read", buf.filled()[before..].to_vec()));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, buf))?;
        self.1.lock().unwrap().push(("write", buf[..written].to_vec()));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[actix::test]
async fn a_step_sees_the_bytes_of_each_read_and_write() {
    let pki = Pki::generate();
    let (cert, key) = pki.issue("localhost");
    let tls = Tls::rustls().files(&cert, &key).build().unwrap();
    for is_tls in [false, true] {
        let seen = Seen::default();
        // After TLS, so that it sees plaintext.
        let listener = Listener::tcp("127.0.0.1:0");
        let listener = if is_tls { listener.tls(tls.clone()) } else { listener }.handshake(Tap(seen.clone()));
        let pool = AcceptorPool::with_protocol(|_| Echo).framing(Framing::raw()).acceptors(1).listener(listener);
        let pool = pool.start().await.unwrap();
        let peer = connect(&pool).await;
        if is_tls {
            let mut peer = Peer(in_time(pki.connect(peer.0, "localhost")).await.unwrap());
            peer.echo("ping").await;
        } else {
            Peer(peer.0).echo("ping").await;
        }
        in_time(pool.stop(Duration::ZERO)).await;
        let seen = seen.lock().unwrap();
        assert_eq!(seen[..2], [("read", b"ping".to_vec()), ("write", b"ping".to_vec())], "TLS: {is_tls}");
    }
}
