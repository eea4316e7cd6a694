//! What messages cost the arbiters of their receivers.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Instant;

use actix_acceptor::telemetry::{Observer, PoolEvent};
use actix_acceptor::transport::{Accepted, Address, Stream};
use support::*;
use tokio::io::{duplex, AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::*;

/// A stream that counts its writes.
struct Counting(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, SeqCst);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Joins `lobby`. A line blocks the arbiter until the gate is opened.
struct Blocking(Gate);

impl Protocol for Blocking {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let lobby = conn.pool().topic("lobby");
        conn.join(&lobby);
        Next::Continue
    }

    fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        assert!(self.0.pass());
        Next::Continue
    }
}

#[actix::test]
async fn what_is_published_while_an_arbiter_is_blocked_is_one_write() {
    let (gate, open) = Gate::new();
    let (transport, script_handle) = ScriptedTransport::in_memory();
    let pool = AcceptorPool::with_protocol(move |_| Blocking(gate.clone())).framing(Framing::lines()).acceptors(1);
    let pool = pool.listen(transport).await.unwrap();
    let writes = Arc::new(AtomicUsize::new(0));
    let mut peers = Vec::new();
    for _ in 0..20 {
        let (theirs, ours) = duplex(64 * 1024);
        let stream = Counting(ours, writes.clone());
        script_handle
            .accept(move || Ok(Accepted { stream: Stream::other(stream), peer: Address::Other("memory".into()) }));
        peers.push(Peer(theirs));
    }
    let lobby = pool.topic("lobby");
    eventually(|| lobby.len() == 20).await;
    peers[0].send("block\n").await;
    eventually(|| pool.list()[0].bytes_in > 0).await;
    for n in 0..1_000 {
        assert_eq!(lobby.publish(format!("{n:04}")).members, 20);
    }
    assert_eq!(writes.load(SeqCst), 0);
    open.send(()).unwrap();
    let expected: String = (0..1_000).map(|n| format!("{n:04}\n")).collect();
    for peer in &mut peers {
        assert_eq!(peer.read_exact(expected.len()).await, expected.as_bytes());
    }
    assert_eq!(writes.load(SeqCst), 20);
}

#[actix::test]
async fn a_storm_to_one_member_does_not_starve_its_neighbours() {
    let pool = start_with(|builder| builder.acceptors(1).outbox(1 << 20, Default::default())).await;
    let (mut busy, mut neighbour) = (connect(&pool).await, connect(&pool).await);
    let id = ask(&mut busy, "id").await.parse::<u64>().unwrap();
    let outbox = pool.connection(id.into()).unwrap().outbox();
    let stop = Arc::new(AtomicBool::new(false));
    let storm = thread::spawn({
        let (outbox, stop) = (outbox.clone(), stop.clone());
        move || {
            // Always something to send, and never too much.
            while !stop.load(SeqCst) && !outbox.is_closed() {
                if outbox.pending() < 100_000 {
                    outbox.send("x").unwrap();
                }
            }
        }
    });
    let reader = BlockingPeer(busy.0.into_std().unwrap());
    reader.0.set_nonblocking(false).unwrap();
    let reader = thread::spawn(move || io::copy(&mut &reader.0, &mut io::sink()).unwrap());
    let mut longest = ms(0);
    for _ in 0..200 {
        let begun = Instant::now();
        assert_eq!(ask(&mut neighbour, "hello").await, "hello");
        longest = longest.max(begun.elapsed());
    }
    stop.store(true, SeqCst);
    storm.join().unwrap();
    drop(neighbour);
    assert!(!outbox.is_closed());
    assert!(longest < ms(500), "{longest:?}");
    in_time(pool.stop(None)).await;
    assert!(reader.join().unwrap() > 0);
}

/// Its references show that the state of its pool is alive.
struct Ignored;

impl Observer for Ignored {
    fn observe(&self, _: &str, _: &PoolEvent<'_>) {}
}

#[actix::test]
async fn an_ended_pool_keeps_nothing_alive() {
    for stops in [true, false] {
        let alive = Arc::new(Ignored);
        let pool = start_with(|builder| builder.acceptors(2).observer(alive.clone())).await;
        let mut peers = vec![member(&pool).await, member(&pool).await];
        assert_eq!(ask(&mut peers[0], "register ann").await, "true");
        let (topic, owner) = (pool.topic("lobby"), pool.whereis("ann").unwrap());
        let (outbox, untyped) = (owner.outbox(), pool.clone().untyped());
        if stops {
            in_time(pool.stop(ms(0))).await;
        } else {
            in_time(pool.stop(None)).await;
        }
        assert_eq!((topic.len(), topic.publish("late").members, outbox.is_closed()), (0, 0, true));
        assert!(Arc::strong_count(&alive) > 1);
        // The handles of a pool, of a topic and of connections keep its state, and it does not keep itself.
        drop((topic, owner, outbox, untyped, pool));
        eventually(|| Arc::strong_count(&alive) == 1).await;
        for peer in &mut peers {
            peer.until_gone().await;
        }
    }
}
