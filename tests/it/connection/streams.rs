//! Streams that callbacks add are heard at once, whatever else the connection does.

use actix_acceptor::{AcceptorPool, Active, Conn, Framing, Next, Protocol};
use bytes::Bytes;
use futures::stream;
use support::connect;

/// Answers a packet by way of a stream.
struct RepliesByStream {
    passive: bool,
}

impl Protocol for RepliesByStream {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Bytes;

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        if self.passive {
            conn.set_active(Active::Passive);
        }
        conn.add_stream(stream::iter([packet]));
        Next::Continue
    }

    fn user(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        conn.set_active(Active::Always);
        Next::Send(packet)
    }
}

#[actix::test]
async fn a_stream_added_in_packet_is_polled_at_once() {
    for passive in [false, true] {
        // Without time limits there is no tick that could wake the connection.
        let pool = AcceptorPool::with_protocol(move |_| RepliesByStream { passive })
            .idle_timeout(None)
            .packet_timeout(None)
            .send_timeout(None)
            .bind("127.0.0.1:0")
            .await
            .unwrap();
        let mut peer = connect(&pool).await;
        peer.echo("one").await;
        peer.echo("two").await;
        pool.stop(None).await;
    }
}
