//! `Socket::into_inner`, and the plain streams inside.

use std::time::Duration;

use actix_acceptor::transport::{Address, Handshake, HandshakeError, Handshaken, LocalBoxFuture, Stream};
use actix_acceptor::Socket;

use super::*;

/// Puts back what it has read.
struct PutsBack;

impl Handshake for PutsBack {
    fn handshake(
        &self,
        mut stream: Stream,
        _: &Address,
    ) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        Box::pin(async move {
            let mut read = [0; 5];
            stream.read_exact(&mut read).await?;
            let (first, second) = read.split_at(2);
            Ok(Handshaken::new(stream.put_back(second.to_vec()).put_back(first.to_vec())))
        })
    }
}

#[actix::test]
async fn an_async_fn_goes_on_with_its_stream() {
    let (sender, mut reports) = unbounded_channel();
    let serve = move |socket: Socket| {
        let sender = sender.clone();
        async move {
            let (draining, closing, mut pushes) = (socket.draining(), socket.closing(), socket.pushes());
            let pool = socket.pool();
            let stream = socket.into_inner();
            sender.send((pool.connections(), pool.info().closed.get(CloseReason::Detached))).unwrap();
            // As if the socket was dropped.
            draining.await;
            closing.await;
            assert_eq!(pushes.recv().await, None);
            echo_to_end(stream).await;
        }
    };
    let pool = AcceptorPool::with_fn(serve).on_current_arbiter();
    let pool = pool.listener(Listener::tcp("127.0.0.1:0").handshake(PutsBack)).start().await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    assert_eq!(in_time(reports.recv()).await.unwrap(), (0, 1));
    in_time(pool.stop(Duration::from_secs(10))).await;
    peer.echo("after the end of the pool").await;
    peer.finish().await;
    assert!(peer.read_to_end().await.is_empty());
}

#[actix::test]
async fn an_actor_can_give_its_stream_away() {
    let (sender, mut streams) = unbounded_channel();
    let start = move |socket: Socket| {
        let sender = sender.clone();
        Ok(SocketActor::start(socket, move |socket| async move {
            socket.set_close_reason(CloseReason::MaxAge);
            sender.send(socket.into_inner()).unwrap();
        }))
    };
    let pool = AcceptorPool::with_actor(start).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    let stream = in_time(streams.recv()).await.unwrap();
    eventually(|| pool.connections() == 0).await;
    // A reason that was set before counts.
    assert_eq!(pool.info().closed.get(CloseReason::MaxAge), 1);
    let task = tokio::spawn(echo_to_end(stream));
    peer.echo("from another thread").await;
    peer.finish().await;
    in_time(task).await.unwrap();
}

#[actix::test]
async fn a_plain_stream_can_be_taken_out_when_nothing_is_unread() {
    let folder = Folder::create();
    let (sender, mut streams) = unbounded_channel();
    let (builder, _callbacks) = Probe::pool(move |call, _| match call {
        Call::Packet(_) => {
            let sender = sender.clone();
            Next::detach(move |stream| sender.send(stream).unwrap())
        }
        call => protocol_default(call),
    });
    let pool = builder.framing(Framing::lines()).acceptors(1).listener(Listener::tcp("127.0.0.1:0"));
    let pool = pool.listener(Listener::unix(folder.path("socket"))).start().await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("now\nrest").await;
    let mut stream: Detached = in_time(streams.recv()).await.unwrap();
    stream = stream.into_tcp().unwrap_err();
    assert_eq!(stream.unread(), b"rest");
    assert_eq!(stream.read_u8().await.unwrap(), b'r');
    assert_eq!(stream.unread(), b"est");
    let mut rest = [0; 3];
    stream.read_exact(&mut rest).await.unwrap();
    assert_eq!((&rest, stream.unread()), (b"est", &b""[..]));
    stream = stream.into_unix().unwrap_err();
    let tcp = stream.into_tcp().unwrap().into_std().unwrap();
    std::thread::spawn(move || {
        tcp.set_nonblocking(false).unwrap();
        std::io::Write::write_all(&mut &tcp, b"moved").unwrap();
    });
    assert_eq!(peer.read_to_end().await, b"moved");

    let mut peer = Peer(tokio::net::UnixStream::connect(folder.path("socket")).await.unwrap());
    peer.send("now\n").await;
    let stream: Detached = in_time(streams.recv()).await.unwrap();
    let stream = stream.into_tcp().unwrap_err();
    assert_eq!(stream.listener(), pool.listeners()[1].name.as_ref());
    let mut unix = stream.into_unix().unwrap();
    unix.write_all(b"moved").await.unwrap();
    peer.expect(b"moved").await;
}
