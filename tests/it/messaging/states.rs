//! What others send to a connection in each of its states. The pools run on this thread, on a paused clock.

use std::sync::Arc;

use actix_acceptor::info::ConnectionPhase;
use actix_acceptor::transport::{Address, Handshake, HandshakeError, Handshaken, LocalBoxFuture, Stream};
use actix_acceptor::{limits::SlowConsumer, ConnectionRef, OutboxError};
use support::*;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;

use super::*;

type Probes = Pool<Connection<Probe>>;

/// A pool of probes that join `lobby` and have the name `probe` from `init` on, and one connected peer.
async fn probe(
    act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static,
    outbox: usize,
) -> (Probes, ConnectionRef<Probe>, Peer<DuplexStream>, Callbacks) {
    let (builder, callbacks) = Probe::pool(move |call, conn| {
        if *call == Call::Init {
            conn.join(&conn.pool().topic("lobby"));
            conn.register("probe").unwrap();
        }
        act(call, conn)
    });
    let builder = builder.framing(Framing::lines()).outbox(outbox, SlowConsumer::DropNewest).send_timeout(None);
    let (pool, script) = in_memory(builder).await;
    let peer = script.connect();
    eventually(|| pool.whereis("probe").is_some()).await;
    let connection = pool.whereis("probe").unwrap();
    (pool, connection, peer, callbacks)
}

/// Waits until connections had the chance to run.
async fn run() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn replies_wait_until_the_connection_is_ready() {
    paused(async {
        let ready = Arc::new(Notify::new());
        let gate = ready.clone();
        let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Init => {
                let gate = gate.clone();
                conn.wait(async move { gate.notified().await }, |(), _, _| Next::Continue)
            }
            call => protocol_default(call),
        };
        let (pool, connection, mut peer, _callbacks) = probe(act, 10_000).await;
        assert_eq!(pool.topic("lobby").publish("published").members, 1);
        connection.send("sent").unwrap();
        run().await;
        assert_eq!(connection.outbox().pending(), 15);
        assert_eq!(connection.info().bytes_out, 0);
        ready.notify_one();
        peer.expect(b"published\nsent\n").await;
    });
}

#[test]
fn replies_flow_while_blocking_work_runs() {
    paused(async {
        let (gate, open) = Gate::new();
        let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Packet(_) => {
                let gate = gate.clone();
                conn.blocking(move || gate.pass(), |passed, _, _| Next::send(passed.to_string()))
            }
            call => protocol_default(call),
        };
        let (pool, connection, mut peer, mut callbacks) = probe(act, 10_000).await;
        peer.send("block\n").await;
        callbacks.until(&Call::packet("block")).await;
        run().await;
        assert_eq!(connection.info().state, ConnectionPhase::Waiting);
        assert_eq!(pool.topic("lobby").publish("published").members, 1);
        connection.send("sent").unwrap();
        peer.expect(b"published\nsent\n").await;
        open.send(()).unwrap();
        peer.expect(b"true\n").await;
    });
}

/// Sends a line when it is allowed to.
struct Gated(Arc<Notify>);

impl Handshake for Gated {
    fn handshake(
        &self,
        mut stream: Stream,
        _: &Address,
    ) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        let gate = self.0.clone();
        Box::pin(async move {
            gate.notified().await;
            stream.write_all(b"upgraded\n").await?;
            Ok(Handshaken::new(stream))
        })
    }
}

#[test]
fn replies_wait_for_the_end_of_an_upgrade() {
    paused(async {
        let upgraded = Arc::new(Notify::new());
        let gate = upgraded.clone();
        let act = move |call: &Call, _: &mut Conn<Probe>| match call {
            Call::Packet(_) => Next::upgrade(Gated(gate.clone())),
            call => protocol_default(call),
        };
        let (pool, connection, mut peer, mut callbacks) = probe(act, 10_000).await;
        peer.send("upgrade\n").await;
        callbacks.until(&Call::packet("upgrade")).await;
        run().await;
        assert_eq!(pool.topic("lobby").publish("published").members, 1);
        connection.send("sent").unwrap();
        run().await;
        assert_eq!(connection.outbox().pending(), 15);
        upgraded.notify_one();
        peer.expect(b"upgraded\npublished\nsent\n").await;
    });
}

#[test]
fn bytes_in_the_outbox_count_for_the_watermarks() {
    paused(async {
        let act = |call: &Call, _: &mut Conn<Probe>| match call {
            Call::Packet(line) | Call::User(line) => Next::Send(line.clone()),
            call => protocol_default(call),
        };
        let (pool, connection, mut peer, mut callbacks) = probe(act, 1_000_000).await;
        callbacks.until(&Call::Ack).await;
        let line = "x".repeat(9_999);
        (0..50).for_each(|_| connection.send(line.clone()).unwrap());
        peer.send("packet\n").await;
        pool.topic("lobby").notify("message".into());
        run().await;
        assert_eq!(callbacks.so_far(), [], "nothing is handled above the mark");
        assert!(connection.info().unsent > 64 * 1024);
        assert!(peer.read_exact(500_000).await.ends_with(b"x\n"));
        let answers = String::from_utf8(peer.read_exact(15).await).unwrap();
        assert!(["packet\nmessage\n", "message\npacket\n"].contains(&&*answers), "{answers}");
        assert_eq!(connection.info().unsent, 0);
    });
}

#[test]
fn answers_do_not_count_for_the_outbox() {
    paused(async {
        let act = |call: &Call, _: &mut Conn<Probe>| match call {
            Call::Packet(_) => Next::send("x".repeat(199_999)),
            call => protocol_default(call),
        };
        let (_pool, connection, mut peer, mut callbacks) = probe(act, 1_000).await;
        peer.send("packet\n").await;
        callbacks.until(&Call::packet("packet")).await;
        run().await;
        assert!(connection.info().unsent > 100_000);
        assert_eq!(connection.outbox().pending(), 0);
        connection.send("y".repeat(999)).unwrap();
        assert!(matches!(connection.send("z"), Err(OutboxError::Full(reply)) if reply == "z"));
        run().await;
        assert_eq!(connection.outbox().pending(), 1_000);
        assert!(peer.read_exact(200_000).await.ends_with(b"x\n"));
        assert!(peer.read_exact(1_000).await.ends_with(b"y\n"));
        eventually(|| connection.outbox().pending() == 0).await;
        connection.send("z").unwrap();
        peer.expect(b"z\n").await;
    });
}

#[test]
fn a_closing_connection_has_left_everything() {
    paused(async {
        let act = |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Packet(_) => {
                conn.pool().topic("lobby").publish("last");
                Next::SendAndStop("x".repeat(199_999).into())
            }
            call => protocol_default(call),
        };
        let (pool, connection, mut peer, mut callbacks) = probe(act, 10_000).await;
        assert!(!connection.outbox().is_closed());
        peer.send("packet\n").await;
        callbacks.until(&Call::packet("packet")).await;
        run().await;
        // It is still sending.
        assert_eq!(connection.info().state, ConnectionPhase::Closing);
        assert!(pool.topic("lobby").is_empty() && pool.topic("lobby").members().is_empty());
        assert!(pool.topics().is_empty() && pool.names().is_empty());
        assert!(pool.whereis("probe").is_none());
        assert_eq!(pool.topic("lobby").publish("late").members, 0);
        assert_eq!(pool.topic("lobby").notify("late".into()).delivered, 0);
        assert!(connection.outbox().is_closed());
        assert!(matches!(connection.send("late"), Err(OutboxError::Closed(_))));
        let sent = peer.read_to_end().await;
        assert!(sent.starts_with(b"last\nx") && sent.len() == 200_005);
    });
}

/// It has left its groups. A name would belong to a connection that handles nothing any more.
#[test]
fn a_closing_connection_belongs_to_nothing_new() {
    paused(async {
        let (builder, mut callbacks) = Probe::pool(|call, conn| match call {
            Call::Packet(line) if line == "register" => {
                conn.register("ann").unwrap();
                Next::send("registered")
            }
            Call::Packet(_) => {
                conn.push("x".repeat(199_999));
                // It begins to close.
                conn.push("two\nlines");
                conn.register("late").unwrap();
                conn.register_replacing("later");
                conn.register_replacing("ann");
                assert!(!conn.join(&conn.pool().topic("late")));
                conn.after(ms(1), "late".into());
                assert_eq!(conn.timers(), 0);
                Next::Continue
            }
            call => protocol_default(call),
        });
        let (pool, script) = in_memory(builder.framing(Framing::lines()).send_timeout(None)).await;
        let (mut owner, mut closing) = (script.connect(), script.connect());
        owner.send("register\n").await;
        owner.expect(b"registered\n").await;
        closing.send("close\n").await;
        callbacks.until(&Call::packet("close")).await;
        run().await;
        assert_eq!(pool.connections(), 2);
        assert_eq!(pool.names(), ["ann".into()]);
        assert!(pool.topics().is_empty());
        pool.whereis("ann").unwrap().send("still here").unwrap();
        owner.expect(b"still here\n").await;
        assert_eq!(closing.read_to_end().await.len(), 200_000);
    });
}

#[test]
fn bytes_that_the_kernel_has_are_pending_no_more() {
    paused(async {
        let (_pool, connection, mut peer, mut callbacks) = probe(|call, _| protocol_default(call), 1_000_000).await;
        callbacks.until(&Call::Ack).await;
        connection.send("x".repeat(299_999)).unwrap();
        for read in [0, 50_000, 100_000, 10_000] {
            peer.read_exact(read).await;
            run().await;
            // What the kernel has and the peer has not read does not count.
            let sent = connection.info().bytes_out as usize;
            assert!(sent > 0 && sent < 300_000);
            assert_eq!(connection.outbox().pending(), 300_000 - sent);
        }
    });
}

#[test]
fn a_callback_sees_the_outbox_as_unsent() {
    paused(async {
        let go = Arc::new(Notify::new());
        let gate = go.clone();
        let act = move |call: &Call, conn: &mut Conn<Probe>| match call {
            Call::Packet(_) => {
                let gate = gate.clone();
                conn.wait(async move { gate.notified().await }, |(), _, conn| {
                    assert!(conn.unsent() >= 300_000, "{} bytes", conn.unsent());
                    Next::send("seen")
                })
            }
            call => protocol_default(call),
        };
        let (_pool, connection, mut peer, mut callbacks) = probe(act, 1_000_000).await;
        peer.send("wait\n").await;
        callbacks.until(&Call::packet("wait")).await;
        // More than a pipe and a write buffer hold.
        (0..50).for_each(|_| connection.send("x".repeat(9_999)).unwrap());
        run().await;
        go.notify_one();
        let received = peer.read_exact(500_005).await;
        assert!(received.windows(5).any(|bytes| bytes == b"seen\n"));
    });
}
