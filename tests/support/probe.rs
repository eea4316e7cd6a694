//! A protocol whose every callback is the test's closure, and that reports its calls.

use std::sync::Arc;
use std::time::Duration;

use actix_acceptor::{
    handlers::ProtocolService, telemetry::CloseReason, AcceptorPool, BoxError, Builder, Closed, Conn, ConnectionInfo,
    Framing, Next, Peer, Protocol, Timeout,
};
use bytes::Bytes;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

use super::in_time;

/// What a [`Probe`] was called for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Init,
    Ack,
    Packet(Bytes),
    /// The text of the error.
    DecodeError(String),
    User(Bytes),
    Timeout(Timeout),
    HalfClosed,
    Passive,
    Shutdown,
    Closed(CloseReason, String),
}

impl Call {
    pub fn packet(bytes: &'static str) -> Call {
        Call::Packet(Bytes::from_static(bytes.as_bytes()))
    }

    pub fn user(bytes: &'static str) -> Call {
        Call::User(Bytes::from_static(bytes.as_bytes()))
    }

    /// A packet timeout with these bytes.
    pub fn partial(bytes: &'static [u8]) -> Call {
        Call::Timeout(Timeout::Packet(Bytes::from_static(bytes)))
    }
}

type Act = dyn Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync;

pub struct Probe {
    act: Arc<Act>,
    told: UnboundedSender<(Call, Instant)>,
}

impl Probe {
    /// A pool to be of probes that answer with this closure, and what they tell.
    pub fn pool(
        act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static,
    ) -> (Builder<ProtocolService<Probe>>, Callbacks) {
        let (factory, callbacks) = Probe::factory(act);
        (AcceptorPool::with_protocol(factory), callbacks)
    }

    pub fn factory(
        act: impl Fn(&Call, &mut Conn<Probe>) -> Next<Probe> + Send + Sync + 'static,
    ) -> (impl Fn(&Peer) -> Probe + Send + Sync + 'static, Callbacks) {
        let (told, callbacks) = unbounded_channel();
        let act: Arc<Act> = Arc::new(act);
        (move |_: &Peer| Probe { act: act.clone(), told: told.clone() }, Callbacks(callbacks))
    }

    /// One callback.
    pub fn call(&self, call: Call, conn: &mut Conn<Self>) -> Next<Self> {
        let _ = self.told.send((call.clone(), Instant::now()));
        (self.act)(&call, conn)
    }
}

/// The answer of a protocol that does not override the callback.
pub fn protocol_default(call: &Call) -> Next<Probe> {
    match call {
        Call::DecodeError(_) | Call::Timeout(_) | Call::Shutdown => Next::Stop,
        _ => Next::Continue,
    }
}

impl Protocol for Probe {
    type Codec = Framing;
    type Reply = Bytes;
    type User = Bytes;

    fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.call(Call::Init, conn)
    }

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.call(Call::Ack, conn)
    }

    fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.call(Call::Packet(packet), conn)
    }

    fn decode_error(&mut self, error: &BoxError, conn: &mut Conn<Self>) -> Next<Self> {
        self.call(Call::DecodeError(error.to_string()), conn)
    }

    fn user(&mut self, message: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
        self.call(Call::User(message), conn)
    }

    fn timeout(&mut self, timeout: Timeout, conn: &mut Conn<Self>) -> Next<Self> {
        self.call(Call::Timeout(timeout), conn)
    }

    fn half_closed(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.call(Call::HalfClosed, conn)
    }

    fn passive(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.call(Call::Passive, conn)
    }

    fn shutdown(&mut self, _: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.call(Call::Shutdown, conn)
    }

    fn closed(&mut self, why: &Closed, _: &ConnectionInfo) {
        let _ = self.told.send((Call::Closed(why.reason(), why.to_string()), Instant::now()));
    }
}

/// The calls of a pool's probes, in order.
pub struct Callbacks(UnboundedReceiver<(Call, Instant)>);

impl Callbacks {
    pub async fn next(&mut self) -> Call {
        self.next_at().await.0
    }

    /// The next call, and when it came.
    pub async fn next_at(&mut self) -> (Call, Instant) {
        in_time(self.0.recv()).await.expect("a call: nobody is left to be called")
    }

    /// As [`next_at`](Diary::next_at), however far away that is: for a paused clock.
    pub async fn next_ever(&mut self) -> (Call, Instant) {
        tokio::time::timeout(Duration::from_secs(100_000), self.0.recv()).await.expect("a call").expect("a probe")
    }

    /// Skips all calls up to this one; when it came.
    pub async fn until(&mut self, wanted: &Call) -> Instant {
        loop {
            match self.next_at().await {
                (call, at) if call == *wanted => return at,
                (Call::Closed(reason, why), _) => panic!("{reason:?} ({why}) came before {wanted:?}"),
                _ => {}
            }
        }
    }

    /// Skips all calls up to `half_closed`, and connections that their peers have closed.
    pub async fn until_half_closed(&mut self) {
        loop {
            match self.next().await {
                Call::HalfClosed => return,
                Call::Closed(reason, _) => assert_eq!(reason, CloseReason::Peer),
                _ => {}
            }
        }
    }

    /// Skips all calls up to the end of a connection.
    pub async fn closed(&mut self) -> (CloseReason, String) {
        loop {
            if let Call::Closed(reason, why) = self.next().await {
                return (reason, why);
            }
        }
    }

    /// The calls so far that were not looked at yet.
    pub fn so_far(&mut self) -> Vec<Call> {
        std::iter::from_fn(|| self.0.try_recv().ok()).map(|(call, _)| call).collect()
    }

    /// Everything up to the last word of a pool that has ended.
    pub async fn rest(mut self) -> Vec<Call> {
        let mut rest = Vec::new();
        while let Some((call, _)) = in_time(self.0.recv()).await {
            rest.push(call);
        }
        rest
    }
}
