//! Replies that cannot be sent: the codec refuses, or it is too late.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::transport::{Address, Handshake, HandshakeError, Handshaken, LocalBoxFuture, Stream};
use actix_acceptor::{
    framing::Width, messages::Encoded, telemetry::CloseReason, AcceptorPool, Closed, Conn, Connection,
    ConnectionContext, ConnectionInfo, Event, Framing, Listener, Next, Protocol, Reply, SendError, Timeout, Wait,
};
use bytes::Bytes;
use tokio::sync::mpsc::{unbounded_channel, UnboundedSender};
use tokio::sync::Notify;

use support::FailingCodec;
use support::*;

/// Sends each packet back by `conn.send`, and what became of that by `Next::Send`.
struct ReportsSendErrors;

impl Protocol for ReportsSendErrors {
    type Codec = FailingCodec;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        Next::Send(format!("{:?}", conn.send(packet)).into())
    }
}

#[actix::test]
async fn a_reply_the_codec_refuses_sends_nothing() {
    let pool = AcceptorPool::with_protocol(|_| ReportsSendErrors).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.send("one\nunencodable\ntwo\n").await;
    peer.expect(b"one\nOk(())\nErr(Codec(\"not to be encoded\"))\ntwo\nOk(())\n").await;
    let address = pool.addresses()[0].1.clone();
    let refused = in_time(address.send(Reply("unencodable".into()))).await.unwrap();
    assert!(matches!(refused, Err(SendError::Codec(error)) if error.to_string() == "not to be encoded"));
    in_time(address.send(Reply("three".into()))).await.unwrap().unwrap();
    peer.expect(b"three\n").await;
    assert_eq!(pool.info().closed.total(), 0);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn an_oversized_reply_fails_send_and_ends_next() {
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_protocol(move |_| Recorded(recorder.clone()))
        .framing(Framing::length_prefix(Width::One))
        .bind("127.0.0.1:0")
        .await
        .unwrap();
    let mut peer = connect(&pool).await;
    peer.echo(b"\x02hi").await;
    let address = pool.addresses()[0].1.clone();
    let refused = in_time(address.send(Reply(vec![b'x'; 256].into()))).await.unwrap();
    assert!(matches!(refused, Err(SendError::TooLong { length: 256, limit: 255 })), "{refused:?}");
    peer.echo(b"\x02hi").await;
    address.do_send(actix_acceptor::User(vec![b'x'; 256].into()));
    assert_eq!(peer.read_to_end().await, b"");
    assert_eq!(closings.reason().await, CloseReason::Error);
    in_time(pool.stop(Duration::ZERO)).await;
}

/// Stops, and tries to send all the same.
#[derive(Message)]
#[rtype(result = "Vec<Result<(), SendError>>")]
struct SendsAfterStop;

impl Handler<SendsAfterStop> for Connection<Recorded> {
    type Result = MessageResult<SendsAfterStop>;

    fn handle(&mut self, _: SendsAfterStop, _: &mut ConnectionContext<Recorded>) -> Self::Result {
        let before = self.with(|_, conn| (conn.send("before".into()), Next::Stop));
        let after = self.with(|_, conn| (conn.send("after".into()), Next::Send("answered".into())));
        let last = self.with(|_, conn| (Ok(()), Next::fail(format!("{} unsent", conn.unsent()))));
        MessageResult(vec![before, after, last])
    }
}

#[actix::test]
async fn sending_after_a_stop_fails_and_keeps_the_reason() {
    let (recorder, mut closings) = Recorder::new();
    let pool = AcceptorPool::with_protocol(move |_| Recorded(recorder.clone())).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    peer.echo("hi").await;
    let address = pool.addresses()[0].1.clone();
    // Behind it in the mailbox: never delivered.
    let (sent, unheard) = (address.send(SendsAfterStop), address.send(Encoded("unheard".into())));
    let (sent, unheard) = in_time(futures::future::join(sent, unheard)).await;
    assert!(matches!(&sent.unwrap()[..], [Ok(()), Err(SendError::Closed), Ok(())]));
    assert!(matches!(unheard, Err(MailboxError::Closed)));
    assert_eq!(peer.read_to_end().await, b"before");
    assert_eq!(closings.reason().await, CloseReason::Local);
    in_time(pool.stop(Duration::ZERO)).await;
}

#[actix::test]
async fn send_all_sends_any_number_of_replies_in_order() {
    let (builder, _callbacks) = Probe::pool(|call, _| match call {
        Call::Packet(packet) => {
            let number: u32 = std::str::from_utf8(packet).unwrap().parse().unwrap();
            Next::send_all((1..=number).map(|line| format!("line {line} of {number}")))
        }
        call => protocol_default(call),
    });
    let pool = builder.framing(Framing::lines()).watermarks(4096, 1024).bind("127.0.0.1:0").await.unwrap();
    let mut peer = connect(&pool).await;
    // Far above the high-water mark: the packets behind are held back, and nothing is lost.
    peer.send("0\n30000\n0\n2\n").await;
    let lines = |number: u32| (1..=number).map(move |line| format!("line {line} of {number}\n"));
    let expected: String = lines(30_000).chain(lines(2)).collect();
    peer.expect(expected.as_bytes()).await;
    in_time(pool.stop(Duration::ZERO)).await;
}

/// Pushes what cannot be encoded, where it is asked to.
struct PushesUnencodable {
    at: &'static str,
    /// Ends the wait of `packet`.
    wait_ends: Arc<Notify>,
    recorder: Recorder,
}

impl PushesUnencodable {
    fn push(&self, at: &str, conn: &mut Conn<Self>) {
        if self.at == at {
            conn.push("before");
            conn.push("unencodable");
            conn.push("after");
        }
    }
}

impl Protocol for PushesUnencodable {
    type Codec = FailingCodec;
    type Reply = Bytes;
    type User = ();

    fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.push("init", conn);
        Next::Continue
    }

    fn packet(&mut self, _: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.push("packet", conn);
        let ends = self.wait_ends.clone();
        conn.wait_with(Wait::new().with_messages(), async move { ends.notified().await }, |_, me, conn| {
            me.push("continuation", conn);
            Next::Continue
        })
    }

    fn user(&mut self, _: (), conn: &mut Conn<Self>) -> Next<Self> {
        self.push("user", conn);
        if self.at == "continuation" {
            self.wait_ends.notify_one();
        }
        // It would start after the wait of `packet`.
        conn.wait(std::future::ready(()), |(), _, _| panic!("the connection is closing"))
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.recorder.note(why);
    }
}

/// A handshake that never ends.
struct Endless;

impl Handshake for Endless {
    fn handshake(&self, _: Stream, _: &Address) -> LocalBoxFuture<'static, Result<Handshaken, HandshakeError>> {
        Box::pin(std::future::pending())
    }
}

#[actix::test]
async fn a_failed_push_closes_during_waits_and_before_handshakes() {
    for (at, sent) in [("packet", "before\n"), ("user", "before\n"), ("continuation", "before\n"), ("init", "")] {
        let (recorder, mut closings) = Recorder::new();
        let listener = Listener::tcp("127.0.0.1:0");
        // What `init` sends belongs behind the handshake, and must not be sent without it.
        let listener = if at == "init" { listener.handshake(Endless) } else { listener };
        let pool = AcceptorPool::with_protocol(move |_| PushesUnencodable {
            at,
            wait_ends: Arc::default(),
            recorder: recorder.clone(),
        });
        let pool = pool.idle_timeout(None).handshake_timeout(None).listener(listener).start().await.unwrap();
        let mut peer = connect(&pool).await;
        if at != "init" {
            peer.send("go\n").await;
        }
        if matches!(at, "user" | "continuation") {
            eventually(|| pool.list().first().is_some_and(|connection| connection.packets == 1)).await;
            pool.notify_all(());
        }
        assert_eq!(peer.read_to_end().await, sent.as_bytes(), "{at}");
        let (reason, why) = closings.next().await;
        assert_eq!((reason, &*why), (CloseReason::Error, "not to be encoded"), "{at}");
        in_time(pool.stop(Duration::ZERO)).await;
    }
}

type Answers = Vec<(String, String)>;

/// Overrides nothing; asked by a message, it tells what its callbacks answer.
struct Plain(UnboundedSender<Answers>);

impl Protocol for Plain {
    type Codec = Framing;
    type Reply = Bytes;
    type User = ();

    fn packet(&mut self, _: Bytes, _: &mut Conn<Self>) -> Next<Self> {
        Next::Continue
    }

    fn user(&mut self, _: (), conn: &mut Conn<Self>) -> Next<Self> {
        let answers = events().map(|event| {
            let name = format!("{event:?}");
            let next = match event {
                Event::Ack => self.ack(conn),
                Event::DecodeError(error) => self.decode_error(&error.into(), conn),
                Event::HalfClosed => self.half_closed(conn),
                Event::Passive => self.passive(conn),
                Event::Timeout(timeout) => self.timeout(timeout, conn),
                Event::Shutdown(deadline) => self.shutdown(deadline, conn),
                _ => Next::Continue,
            };
            (name, format!("{next:?}"))
        });
        self.0.send(answers.to_vec()).unwrap();
        Next::Continue
    }
}

fn events() -> [Event<Plain>; 9] {
    [
        Event::Ack,
        Event::Packet(Bytes::new()),
        Event::DecodeError("text".into()),
        Event::User(()),
        Event::HalfClosed,
        Event::Passive,
        Event::Timeout(Timeout::Idle),
        Event::Timeout(Timeout::Packet(Bytes::new())),
        Event::Shutdown(None),
    ]
}

#[actix::test]
async fn default_next_matches_the_default_callbacks() {
    let (telling, mut told) = unbounded_channel();
    let pool = AcceptorPool::with_protocol(move |_| Plain(telling.clone())).bind("127.0.0.1:0").await.unwrap();
    let _peer = connect(&pool).await;
    // It may be counted a moment before it has its address.
    eventually(|| pool.addresses().len() == 1).await;
    pool.notify_all(());
    let protocol_default = events().map(|event| (format!("{event:?}"), format!("{:?}", event.default_next())));
    assert_eq!(in_time(told.recv()).await.unwrap(), protocol_default);
    assert_eq!(
        protocol_default.map(|(_, answer)| answer == "Stop"),
        [false, false, true, false, false, false, true, true, true]
    );
    in_time(pool.stop(Duration::ZERO)).await;
}
