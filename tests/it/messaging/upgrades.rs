//! Replies for connections that upgrade to TLS, or to anything else.

use actix_acceptor::transport::{Address, Handshake, HandshakeError, Handshaken, LocalBoxFuture, Stream};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Reads `go`, and answers `went`.
struct Go;

impl Handshake for Go {
    fn handshake(
        &self,
        mut stream: Stream,
        _: &Address,
    ) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        Box::pin(async move {
            let mut read = [0; 2];
            stream.read_exact(&mut read).await?;
            assert_eq!(&read, b"go");
            stream.write_all(b"went").await?;
            Ok(Handshaken::new(stream))
        })
    }
}

/// The bytes that are queued before the upgrade: more than the kernel takes.
const LENGTH: usize = 8 << 20;

/// Joins the topic `lobby`. The packet `upgrade` is answered with many bytes and an upgrade.
struct Upgrading;

impl Protocol for Upgrading {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let lobby = conn.pool().topic("lobby");
        conn.join(&lobby);
        Next::Continue
    }

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        if packet != "upgrade" {
            return Next::Send(packet);
        }
        conn.push(vec![b'x'; LENGTH]);
        Next::upgrade(Go)
    }
}

#[actix::test]
async fn replies_of_others_wait_for_an_upgrade_and_do_not_block_it() {
    let pool = AcceptorPool::with_protocol(|_| Upgrading).framing(Framing::lines()).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("upgrade\n").await;
    // The kernel takes some of the bytes, and the others wait until the peer reads.
    eventually(|| pool.list().first().is_some_and(|connection| connection.unsent > 0)).await;
    let lobby = pool.topic("lobby");
    for n in 0..100 {
        assert_eq!(lobby.publish(format!("{n:02}")).members, 1);
    }
    assert_eq!(peer.read_exact(LENGTH + 1).await.last(), Some(&b'\n'));
    for n in 100..200 {
        assert_eq!(lobby.publish(format!("{n:03}")).members, 1);
    }
    peer.send("go").await;
    peer.expect(b"went").await;
    for n in 0..200 {
        assert_eq!(line(&mut peer).await, format!("{n:02}"));
    }
    peer.echo("upgraded\n").await;
}
