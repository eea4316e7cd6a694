//! `Next::Reset`, and the socket below a connection.

use actix_acceptor::tls::{Tls, TlsBackend};
use actix_acceptor::{telemetry::CloseReason, AcceptorPool, Conn, Framing, Listener, Next, Protocol, Socket};
use bytes::Bytes;
use support::pki::Pki;
use support::*;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

/// `reset` resets the connection, with a reply that is not sent any more. Else the answer tells about the socket.
struct Resets;

impl Protocol for Resets {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        if packet == "reset" {
            conn.push("never sent");
            return Next::Reset;
        }
        let Some(socket) = conn.socket_ref() else { return Next::send("none") };
        Next::send(format!("{:?}", socket.local_addr().unwrap().domain()))
    }
}

#[actix::test]
async fn a_reset_is_one_on_the_wire() {
    let pool = AcceptorPool::with_protocol(|_| Resets).framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    for _ in 0..20 {
        let mut peer = connect(&pool).await.0;
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"reset\n").await.unwrap();
        let error = in_time(peer.read(&mut [0; 64])).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    eventually(|| pool.connections() == 0).await;
    assert_eq!((pool.info().closed.get(CloseReason::Local), pool.info().closed.total()), (20, 20));
}

#[actix::test]
async fn a_reset_below_tls_is_one_on_the_wire() {
    let pki = Pki::generate();
    let (certificate, key) = pki.issue("localhost");
    for backend in [TlsBackend::Native, TlsBackend::Rustls] {
        let tls = Tls::builder(backend).files(&certificate, &key).build().unwrap();
        let builder = AcceptorPool::with_protocol(|_| Resets).framing(Framing::lines());
        let pool = builder.listener(Listener::tcp("127.0.0.1:0").handshake(tls)).start().await.unwrap();
        let tcp = connect(&pool).await.0;
        let mut peer = pki.connect(tcp, "localhost").await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"?\n").await.unwrap();
        let mut answer = [0; 8];
        in_time(peer.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"AF_INET\n");
        tokio::io::AsyncWriteExt::write_all(&mut peer, b"reset\n").await.unwrap();
        let error = in_time(peer.read(&mut [0; 64])).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{backend:?}");
    }
}

#[actix::test]
async fn a_unix_socket_ends_without_a_reset() {
    let path = std::env::temp_dir().join(format!("actix-acceptor-reset-{}", std::process::id()));
    let builder = AcceptorPool::with_protocol(|_| Resets).framing(Framing::lines());
    let pool = builder.listener(Listener::unix(&path)).start().await.unwrap();
    let mut peer = Peer(UnixStream::connect(&path).await.unwrap());
    peer.send("?\n").await;
    assert_eq!(peer.read_exact(7).await, b"AF_UNIX");
    peer.send("\nreset\n").await;
    assert!(!String::from_utf8(peer.read_to_end().await).unwrap().contains("never"));
    eventually(|| pool.info().closed.get(CloseReason::Local) == 1).await;
}

#[actix::test]
async fn a_socket_of_an_async_fn_has_options() {
    async fn serve(mut socket: Socket) -> std::io::Result<()> {
        socket.read_u8().await?;
        let options = socket.socket_ref().unwrap();
        options.set_tcp_nodelay(true)?;
        assert!(options.tcp_nodelay()?);
        tokio::io::AsyncWriteExt::write_all(&mut socket, b"ok").await
    }
    let pool = AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("x").await;
    assert_eq!(peer.until_gone().await, b"ok");
}

#[actix::test]
async fn a_connection_in_memory_has_no_socket() {
    let (memory, connector) = actix_acceptor::transport::Memory::new("resets");
    let pool = AcceptorPool::with_protocol(|_| Resets).framing(Framing::lines()).listen(memory).await.unwrap();
    let mut peer = Peer(connector.connect().await.unwrap());
    peer.send("?\n").await;
    assert_eq!(peer.read_exact(5).await, b"none\n");
    in_time(pool.stop(None)).await;
}
