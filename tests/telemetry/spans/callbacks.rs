//! What the callbacks of a connection log carries its id and peer.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::error::BoxError;
use actix_acceptor::{
    messages::SetActive, telemetry::Spans, AcceptorPool, Active, Closed, Conn, Connection, ConnectionContext,
    ConnectionInfo, Framing, Next, Packet, Protocol, Timeout,
};
use bytes::{Bytes, BytesMut};
use support::logs::listen;
use support::spans::{of, said_in, Said};
use support::*;
use tokio_util::codec::{Decoder, Encoder};
use tracing::{info, Instrument};

fn say(what: &str) {
    info!(target: "user", "{what}");
}

/// Logs in everything that a connection calls.
struct Says;

/// A framing that logs.
struct SayingCodec(Framing);

impl Decoder for SayingCodec {
    type Item = Bytes;
    type Error = BoxError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Bytes>, BoxError> {
        say("decode");
        match self.0.decode(bytes)? {
            Some(packet) if packet == "bad" => Err("not a packet".into()),
            packet => Ok(packet),
        }
    }
}

impl Encoder<Bytes> for SayingCodec {
    type Error = BoxError;

    fn encode(&mut self, reply: Bytes, bytes: &mut BytesMut) -> Result<(), BoxError> {
        say("encode");
        Ok(self.0.encode(reply, bytes)?)
    }
}

/// A stream of one message.
struct SayingStream(Option<&'static str>);

impl futures::Stream for SayingStream {
    type Item = &'static str;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<&'static str>> {
        say("stream polled");
        Poll::Ready(self.0.take())
    }
}

impl Protocol for Says {
    type Codec = SayingCodec;
    type Reply = Bytes;
    type User = &'static str;

    fn init(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        say("init");
        Next::Continue
    }

    fn ack(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        say("ack");
        Next::Continue
    }

    fn packet(&mut self, packet: Packet<Self>, conn: &mut Conn<Self>) -> Next<Self> {
        say(&format!("packet {}", packet.escape_ascii()));
        match &*packet {
            b"wait" => {
                let future = async { say("wait polled") };
                return conn.wait(future, |(), _, _| {
                    say("wait continued");
                    Next::send("wait")
                });
            }
            b"spawn" => conn.spawn(async { say("spawn polled") }, |(), _, _| {
                say("spawn continued");
                Next::send("spawn")
            }),
            b"blocking" => {
                return conn.blocking(
                    || say("blocking"),
                    |(), _, _| {
                        say("blocking continued");
                        Next::send("blocking")
                    },
                )
            }
            b"stream" => drop(conn.add_stream(SayingStream(Some("stream")))),
            b"timer" => drop(conn.after(Duration::from_millis(1), "timer")),
            b"task" => {
                let address = conn.address();
                let task = async move {
                    say("task");
                    address.do_send(actix_acceptor::User("task"));
                };
                drop(actix_rt::spawn(task.instrument(conn.span())));
            }
            b"message" => conn.address().do_send(Handled),
            b"passive" => {
                conn.set_active(Active::Count(0));
                return Next::send("passive");
            }
            b"idle" => conn.idle_timeout_once(Duration::from_millis(1)),
            packet => panic!("{}", packet.escape_ascii()),
        }
        Next::Continue
    }

    fn decode_error(&mut self, _: &BoxError, _: &mut Conn<Self>) -> Next<Self> {
        say("decode_error");
        Next::send("bad")
    }

    fn user(&mut self, message: &'static str, _: &mut Conn<Self>) -> Next<Self> {
        say(&format!("user {message}"));
        Next::send(message)
    }

    fn timeout(&mut self, _: Timeout, _: &mut Conn<Self>) -> Next<Self> {
        say("timeout");
        Next::send("idle")
    }

    fn half_closed(&mut self, _: &mut Conn<Self>) -> Next<Self> {
        say("half_closed");
        Next::Continue
    }

    fn passive(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        say("passive");
        conn.address().do_send(SetActive(Active::Always));
        Next::Continue
    }

    fn shutdown(&mut self, _: Option<tokio::time::Instant>, _: &mut Conn<Self>) -> Next<Self> {
        say("shutdown");
        Next::Continue
    }

    fn closed(&mut self, _: &Closed, _: &ConnectionInfo) {
        say("closed");
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Handled;

impl Handler<Handled> for Connection<Says> {
    type Result = ();

    fn handle(&mut self, _: Handled, ctx: &mut ConnectionContext<Says>) {
        say("handle");
        let future = async { say("context future") };
        ctx.spawn(future.into_actor(self).map(|(), connection, _| {
            connection.with(|_, _| {
                say("context continued");
                ((), Next::send("message"))
            });
        }));
    }
}

/// Whether a line carries the pool, the listener, and this connection.
fn carries(said: &Said, id: u64, peer: &str) -> bool {
    said.names() == ["pool", "listener", "connection"]
        && said.field("id") == id.to_string()
        && said.field("peer") == peer
}

#[actix::test]
async fn a_log_line_of_every_callback_carries_id_and_peer() {
    listen();
    let factory = |_: &actix_acceptor::Peer| {
        say("factory");
        Says
    };
    let codec = || {
        say("codec");
        SayingCodec(Framing::lines())
    };
    let builder = AcceptorPool::with_codec(factory, codec).name("says").acceptors(1).observer(Spans::new());
    let pool = builder.half_close(true).bind("127.0.0.1:0").await.unwrap();
    let (mut peer, mut other) = (connect(&pool).await, connect(&pool).await);
    let requests =
        ["wait", "spawn", "blocking", "stream", "timer", "task", "message", "passive", "idle", "bad", "stream"];
    for request in requests {
        peer.send(format!("{request}\n")).await;
        peer.expect(format!("{request}\n").as_bytes()).await;
    }
    other.echo("wait\n").await;
    peer.finish().await;
    eventually(|| said_in("says").iter().any(|said| said.message == "half_closed")).await;
    in_time(pool.stop(ms(100))).await;

    let (first, second) = (peer.address().to_string(), other.address().to_string());
    let said: Vec<_> = said_in("says").into_iter().filter(|said| said.target == "user").collect();
    let stray: Vec<_> = said.iter().filter(|said| !carries(said, 1, &first) && !carries(said, 2, &second)).collect();
    assert!(stray.is_empty(), "{stray:#?}");
    let of_first: BTreeSet<_> =
        said.iter().filter(|said| said.field("id") == "1").map(|said| said.message.as_str()).collect();
    let expected = [
        "ack",
        "blocking",
        "blocking continued",
        "closed",
        "codec",
        "context continued",
        "context future",
        "decode",
        "decode_error",
        "encode",
        "factory",
        "half_closed",
        "handle",
        "init",
        "packet blocking",
        "packet idle",
        "packet message",
        "packet passive",
        "packet spawn",
        "packet stream",
        "packet task",
        "packet timer",
        "packet wait",
        "passive",
        "shutdown",
        "spawn continued",
        "spawn polled",
        "stream polled",
        "task",
        "timeout",
        "user stream",
        "user task",
        "user timer",
        "wait continued",
        "wait polled",
    ];
    assert_eq!(of_first, BTreeSet::from(expected));
}

#[actix::test]
async fn the_last_log_line_is_in_the_span_of_the_connection() {
    listen();
    let builder = AcceptorPool::with_protocol(|_| Echo).name("last-line").observer(Spans::new());
    let pool = builder.bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hello").await;
    let address = peer.address().to_string();
    drop(peer);
    eventually(|| of("last-line", "connection").iter().all(|span| span.closed)).await;
    let said = said_in("last-line").into_iter().find(|said| said.message == "connection closed").unwrap();
    assert!(carries(&said, 1, &address), "{said:?}");
    in_time(pool.stop(None)).await;
}
