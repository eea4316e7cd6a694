//! One callback, one answer: what is tried, how it is brought about, and what must come of it.

use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{
    messages::Close, telemetry::CloseReason, AcceptorPool, Active, BoxError, Closed, Conn, Connection,
    ConnectionContext, ConnectionInfo, Next, Pool, Protocol, SendError, Timeout, User,
};
use bytes::Bytes;
use futures::{stream, StreamExt};
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

use support::FailingCodec;
use support::*;

/// Which callback gives the answer that is on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Init,
    Ack,
    Packet,
    DecodeError,
    User,
    /// `user`, with an item of a stream.
    Item,
    Idle,
    PacketTimeout,
    HalfClosed,
    /// `half_closed`, where the connection goes on without the peer's side.
    HalfOpen,
    Passive,
    Shutdown,
    /// A custom message handler, through `Connection::with`.
    Foreign,
}

/// What it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Continue,
    Send,
    Stop,
    SendAndStop,
    Fail,
    Panic,
    SendUnencodable,
    SendUnencodableAndStop,
    SendPoison,
    SendAll,
    SendAllUnencodable,
    Push,
    PushUnencodable,
    PushUnencodableAndStop,
}

impl Answer {
    pub(super) const ALL: [Answer; 14] = [
        Answer::Continue,
        Answer::Send,
        Answer::Stop,
        Answer::SendAndStop,
        Answer::Fail,
        Answer::Panic,
        Answer::SendUnencodable,
        Answer::SendUnencodableAndStop,
        Answer::SendPoison,
        Answer::SendAll,
        Answer::SendAllUnencodable,
        Answer::Push,
        Answer::PushUnencodable,
        Answer::PushUnencodableAndStop,
    ];

    fn resumes(self) -> bool {
        matches!(self, Answer::Continue | Answer::Send | Answer::SendAll | Answer::Push)
    }

    fn panics(self) -> bool {
        matches!(self, Answer::Panic | Answer::SendPoison)
    }
}

/// A case: the callback, its answer, and how many waits come before that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub at: At,
    pub answer: Answer,
    pub waits: u32,
}

/// What is seen from outside and from within.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The callbacks in order, with `answered` where the answer was given.
    pub log: Vec<String>,
    /// All that the peer got before the end of the stream.
    pub wire: String,
    /// What the pool counted.
    pub counted: Vec<(CloseReason, u64)>,
}

impl Case {
    /// The expected outcome. A connection that goes on is asked for `alive` and then closed.
    pub(super) fn expected(self) -> Outcome {
        let (reason, why) = self.ending();
        let mut log = vec!["init"];
        log.extend(match self.at {
            At::Init => &[][..],
            At::Ack => &["ack"],
            At::Packet => &["ack", "packet"],
            At::DecodeError => &["ack", "decode_error not to be decoded"],
            At::User | At::Item => &["ack", "user"],
            At::Idle => &["ack", "timeout Idle"],
            At::PacketTimeout => &["ack", "timeout Packet(b\"half\")"],
            At::HalfClosed | At::HalfOpen => &["ack", "half_closed"],
            At::Passive => &["ack", "packet", "passive"],
            At::Shutdown => &["ack", "shutdown None"],
            At::Foreign => &["ack", "foreign"],
        });
        log.push("answered");
        if self.at == At::Init && self.answer.resumes() {
            log.push("ack");
        }
        let closed = format!("closed: {reason:?}, {why}");
        log.extend(self.continues().then_some("alive"));
        log.push(&closed);
        let mut wire = String::new();
        wire.push_str(match self.answer {
            Answer::Send | Answer::SendAndStop => "answer\n",
            Answer::SendAll | Answer::Push => "one\ntwo\n",
            Answer::SendAllUnencodable | Answer::PushUnencodable | Answer::PushUnencodableAndStop => "one\n",
            _ => "",
        });
        wire.extend(self.continues().then_some("alive\n"));
        Outcome { log: log.into_iter().map(str::to_owned).collect(), wire, counted: vec![(reason, 1)] }
    }

    fn ending(self) -> (CloseReason, &'static str) {
        let local = (CloseReason::Local, "closed by the program");
        let peer = (CloseReason::Peer, "closed by the peer");
        match self.answer {
            Answer::Fail => (CloseReason::Error, "no good"),
            Answer::SendUnencodable
            | Answer::SendUnencodableAndStop
            | Answer::SendAllUnencodable
            | Answer::PushUnencodable
            | Answer::PushUnencodableAndStop => (CloseReason::Error, "not to be encoded"),
            Answer::Panic => (CloseReason::Panic, "a callback panicked: as asked"),
            Answer::SendPoison => (CloseReason::Panic, "a callback panicked: poison in encode"),
            Answer::Continue | Answer::Send | Answer::SendAll | Answer::Push => match self.at {
                At::HalfClosed => peer,
                At::Shutdown => (CloseReason::Shutdown, "pool shut down"),
                _ => local,
            },
            // However long it was waited before: it is the answer to that event.
            Answer::Stop | Answer::SendAndStop => match self.at {
                At::DecodeError => (CloseReason::Error, "not to be decoded"),
                At::Idle => (CloseReason::Idle, "idle timeout"),
                At::PacketTimeout => (CloseReason::PacketTimeout, "packet timeout"),
                At::HalfClosed | At::HalfOpen => peer,
                At::Shutdown => (CloseReason::Shutdown, "pool shut down"),
                _ => local,
            },
        }
    }

    /// Whether it is alive after the answer.
    fn continues(self) -> bool {
        self.answer.resumes() && self.at != At::HalfClosed
    }

    /// Brings it about.
    pub(super) async fn run(self) -> Outcome {
        let (log, mut events) = unbounded_channel();
        let pool = self.pool(log).await;
        let mut peer = connect(&pool).await;
        let mut log = Vec::new();
        if !matches!(self.at, At::Init | At::Ack) {
            until("ack", &mut log, &mut events).await;
        }
        self.cause(&pool, &mut peer).await;
        until("answered", &mut log, &mut events).await;
        if self.continues() {
            eventually(|| pool.addresses().len() == 1).await;
            let address = pool.addresses()[0].1.clone();
            in_time(address.send(User(Trigger::Alive))).await.expect("it takes messages");
            in_time(address.send(Close)).await.expect("it takes messages");
        }
        let wire = String::from_utf8(peer.read_to_end().await).expect("text");
        in_time(pool.stop(Duration::ZERO)).await;
        let info = pool.info();
        assert_eq!((info.accepted, info.connections), (1, 0));
        drop(pool);
        while let Some(event) = in_time(events.recv()).await {
            log.push(event);
        }
        let counted = info.closed.iter().filter(|(_, count)| *count > 0).collect();
        Outcome { log, wire, counted }
    }

    async fn pool(self, log: UnboundedSender<String>) -> Pool<Connection<TestedProtocol>> {
        let limit = |at: At| (self.at == at).then_some(Duration::from_millis(50));
        let trial = move |_: &_| TestedProtocol { case: self, tried: false, log: log.clone() };
        AcceptorPool::with_protocol(trial)
            .idle_timeout(limit(At::Idle))
            .packet_timeout(limit(At::PacketTimeout))
            .half_close(self.at == At::HalfOpen)
            .active(if self.at == At::Passive { Active::Count(1) } else { Active::Always })
            .on_current_arbiter()
            .bind("127.0.0.1:0")
            .await
            .expect("it starts")
    }

    /// Has the callback called.
    async fn cause(self, pool: &Pool<Connection<TestedProtocol>>, peer: &mut Peer) {
        match self.at {
            At::Init | At::Ack | At::Item | At::Idle => {}
            At::Packet | At::Passive => peer.send("packet\n").await,
            At::DecodeError => peer.send("undecodable\n").await,
            At::PacketTimeout => peer.send("half").await,
            At::HalfClosed | At::HalfOpen => peer.finish().await,
            At::User => pool.addresses()[0].1.do_send(User(Trigger::Try)),
            At::Shutdown => {
                let pool = pool.untyped();
                actix::spawn(async move { pool.stop(None).await });
            }
            At::Foreign => {
                let answer = in_time(pool.addresses()[0].1.send(TriggerRequest)).await;
                let expected = if self.answer.panics() && self.waits == 0 { None } else { Some(42) };
                assert_eq!(answer.ok(), expected);
            }
        }
    }
}

async fn until(event: &str, log: &mut Vec<String>, events: &mut UnboundedReceiver<String>) {
    while log.last().is_none_or(|last| last != event) {
        log.push(in_time(events.recv()).await.expect("somebody to tell"));
    }
}

/// The connection on trial.
pub(super) struct TestedProtocol {
    case: Case,
    tried: bool,
    log: UnboundedSender<String>,
}

pub(super) enum Trigger {
    Try,
    Alive,
}

#[derive(Message)]
#[rtype(result = "u32")]
struct TriggerRequest;

impl TestedProtocol {
    fn note(&self, event: impl Into<String>) {
        let _ = self.log.send(event.into());
    }

    fn on(&mut self, callback: impl Into<String>, ats: &[At], conn: &mut Conn<Self>) -> Next<Self> {
        self.note(callback);
        if ats.contains(&self.case.at) && !std::mem::replace(&mut self.tried, true) {
            self.answer(self.case.waits, conn)
        } else {
            Next::Continue
        }
    }

    fn answer(&mut self, waits: u32, conn: &mut Conn<Self>) -> Next<Self> {
        if waits > 0 {
            return conn.wait(tokio::task::yield_now(), move |(), me, conn| me.answer(waits - 1, conn));
        }
        self.note("answered");
        match self.case.answer {
            Answer::Continue => Next::Continue,
            Answer::Send => Next::send("answer"),
            Answer::Stop => Next::Stop,
            Answer::SendAndStop => Next::SendAndStop("answer".into()),
            Answer::Fail => Next::fail("no good"),
            Answer::Panic => panic!("as asked"),
            Answer::SendUnencodable => Next::Send("unencodable".into()),
            Answer::SendUnencodableAndStop => Next::SendAndStop("unencodable".into()),
            Answer::SendPoison => Next::Send("poison".into()),
            Answer::SendAll => Next::send_all(["one", "two"]),
            Answer::SendAllUnencodable => Next::send_all(["one", "unencodable", "three"]),
            Answer::Push => {
                conn.push("one");
                Next::send("two")
            }
            Answer::PushUnencodable | Answer::PushUnencodableAndStop => {
                conn.push("one");
                conn.push("unencodable");
                conn.push("three");
                assert!(matches!(conn.send("four".into()), Err(SendError::Closed)));
                match self.case.answer {
                    Answer::PushUnencodable => Next::send("five"),
                    _ => Next::SendAndStop("five".into()),
                }
            }
        }
    }
}

impl Protocol for TestedProtocol {
    type Codec = FailingCodec;
    type Reply = Bytes;
    type User = Trigger;

    fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.on("init", &[At::Init], conn)
    }

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        if self.case.at == At::Item {
            conn.add_stream(stream::iter([Trigger::Try]).chain(stream::pending()));
        }
        self.on("ack", &[At::Ack], conn)
    }

    fn packet(&mut self, _: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.on("packet", &[At::Packet], conn)
    }

    fn decode_error(&mut self, error: &BoxError, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(format!("decode_error {error}"), &[At::DecodeError], conn)
    }

    fn user(&mut self, message: Trigger, conn: &mut Conn<Self>) -> Next<Self> {
        match message {
            Trigger::Try => self.on("user", &[At::User, At::Item], conn),
            Trigger::Alive => {
                self.note("alive");
                Next::Send("alive".into())
            }
        }
    }

    fn timeout(&mut self, timeout: Timeout, conn: &mut Conn<Self>) -> Next<Self> {
        // Once is enough.
        conn.set_idle_timeout(None);
        self.on(format!("timeout {timeout:?}"), &[At::Idle, At::PacketTimeout], conn)
    }

    fn half_closed(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.on("half_closed", &[At::HalfClosed, At::HalfOpen], conn)
    }

    fn passive(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.on("passive", &[At::Passive], conn)
    }

    fn shutdown(&mut self, deadline: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(format!("shutdown {deadline:?}"), &[At::Shutdown], conn)
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        self.note(format!("closed: {:?}, {why}", why.reason()));
    }
}

impl Handler<TriggerRequest> for Connection<TestedProtocol> {
    type Result = u32;

    fn handle(&mut self, _: TriggerRequest, _: &mut ConnectionContext<TestedProtocol>) -> u32 {
        self.with(|me, conn| (42, me.on("foreign", &[At::Foreign], conn)))
    }
}
