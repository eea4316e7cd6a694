//! What a connection knows about itself.

use actix_acceptor::{AcceptorPool, Conn, ConnectionInfo, Framing, Next, Protocol, Socket};
use bytes::Bytes;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};

/// Answers with its own numbers, and reports them.
struct Reports(UnboundedSender<ConnectionInfo>);

impl Protocol for Reports {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        conn.set_label("ann");
        self.0.send(conn.info()).unwrap();
        Next::Send(packet)
    }
}

#[actix::test]
async fn a_callback_sees_the_numbers_of_its_connection() {
    let (sender, mut infos) = unbounded_channel();
    let pool = AcceptorPool::with_protocol(move |_| Reports(sender.clone())).framing(Framing::lines());
    let pool = pool.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("one\n").await;
    eventually(|| pool.list()[0].age >= ms(50)).await;
    peer.echo("three\n").await;
    let (first, second) = (in_time(infos.recv()).await.unwrap(), in_time(infos.recv()).await.unwrap());
    assert_eq!(
        (first.id, first.peer.to_string(), first.label.as_deref()),
        (pool.list()[0].id, peer.address().to_string(), Some("ann"))
    );
    assert_eq!((first.bytes_in, first.bytes_out, first.packets), (4, 0, 0));
    assert_eq!((second.bytes_in, second.bytes_out, second.packets, second.unsent), (10, 4, 1, 0));
    assert!(second.age >= ms(50) && second.age <= pool.list()[0].age);
}

#[actix::test]
async fn an_async_fn_sees_the_numbers_of_its_connection() {
    let (sender, mut infos) = unbounded_channel();
    let serve = move |mut socket: Socket| {
        let sender = sender.clone();
        async move {
            let mut word = [0; 5];
            socket.read_exact(&mut word).await.unwrap();
            socket.write_all(b"hi").await.unwrap();
            sender.send(socket.info()).unwrap();
        }
    };
    let pool = AcceptorPool::with_fn(serve).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("hello").await;
    let info = in_time(infos.recv()).await.unwrap();
    assert_eq!((info.bytes_in, info.bytes_out, info.peer.to_string()), (5, 2, peer.address().to_string()));
}
