//! What a wait that is ready at once costs.

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_acceptor::transport::{Accepted, Address, Stream};
use actix_acceptor::{Conn, Connection, ConnectionContext, Framing, Next};
use bytes::Bytes;
use support::*;
use tokio::io::{duplex, AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

/// Counts the calls that write bytes.
struct CountedStream(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for CountedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Relaxed);
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// 100 packets that are read at once get this many answers in this many writes.
fn assert_writes(
    act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static,
    answers: usize,
    expected: usize,
) {
    paused(async move {
        let (builder, _callbacks) = Probe::pool(act);
        let (_pool, script_handle) = in_memory(builder.framing(Framing::lines())).await;
        let (mut theirs, ours) = duplex(64 * 1024);
        theirs.write_all(&b"packet\n".repeat(100)).await.unwrap();
        let writes = Arc::new(AtomicUsize::new(0));
        let counted = CountedStream(ours, writes.clone());
        script_handle
            .accept(move || Ok(Accepted { stream: Stream::other(counted), peer: Address::Other("counted".into()) }));
        Peer(theirs).expect(&b"answer\n".repeat(answers)).await;
        assert_eq!(writes.load(Relaxed), expected);
    });
}

const ANSWER: Bytes = Bytes::from_static(b"answer");

#[test]
fn waits_that_are_ready_at_once_share_one_write() {
    let wait = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(_) => conn.wait(ready(()), |(), _, _| Next::Send(ANSWER)),
        call => protocol_default(call),
    };
    assert_writes(wait, 100, 1);
    let twice = |call: &Call, conn: &mut Conn<Probe>| match call {
        Call::Packet(_) => {
            conn.send(ANSWER).unwrap();
            conn.wait(ready(()), |(), _, conn: &mut Conn<Probe>| conn.wait(ready(()), |(), _, _| Next::Send(ANSWER)))
        }
        call => protocol_default(call),
    };
    // A turn completes 128 waits.
    assert_writes(twice, 200, 2);
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct WaitTwice;

impl actix::Handler<WaitTwice> for Connection<Probe> {
    type Result = ();

    /// The second wait is queued behind the first one.
    fn handle(&mut self, _: WaitTwice, _: &mut ConnectionContext<Probe>) {
        for answer in ["first", "second"] {
            let answer = Bytes::from_static(answer.as_bytes());
            let later = tokio::time::sleep(ms(20));
            self.with(|_, conn| ((), conn.wait(later, |(), _, _| Next::Send(answer))));
        }
    }
}

#[actix::test]
async fn a_queued_wait_holds_packets_after_the_first() {
    let (builder, mut callbacks) = Probe::pool(|call, _| match call {
        Call::Packet(packet) => Next::Send(packet.clone()),
        call => protocol_default(call),
    });
    let pool = builder.framing(Framing::lines()).acceptors(1).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    callbacks.until(&Call::Ack).await;
    in_time(pool.addresses()[0].1.send(WaitTwice)).await.unwrap();
    peer.send("packet\n").await;
    peer.expect(b"first\nsecond\npacket\n").await;
    in_time(pool.stop(None)).await;
}

/// An endless row of waits that are ready at once leaves time to others on the thread.
#[actix::test]
async fn ready_waits_in_a_row_do_not_hold_the_arbiter() {
    fn again(conn: &mut Conn<Probe>) -> Next<Probe> {
        conn.wait(ready(()), |(), _, conn| again(conn))
    }
    let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
        Call::Packet(packet) if packet == "spin" => again(conn),
        Call::Packet(packet) => Next::Send(packet.clone()),
        call => protocol_default(call),
    });
    let pool = builder.framing(Framing::lines()).on_current_arbiter().bind("127.0.0.1:0").await.unwrap();
    let (mut spinning, mut other) = (connect(&pool).await, connect(&pool).await);
    spinning.send("spin\n").await;
    callbacks.until(&Call::packet("spin")).await;
    other.echo("hello\n").await;
    assert!(pool.kill(pool.list()[0].id));
    spinning.until_gone().await;
    in_time(pool.stop(None)).await;
}
