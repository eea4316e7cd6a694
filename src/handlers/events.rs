//! The handler `with_events`: two closures, as glisten's `on_init` and `loop`.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use tokio::time::Instant;
use tokio_util::codec::{Decoder, Encoder};

use super::ProtocolService;
use crate::connection::{Closed, Conn, Event, Next, Packet, Protocol, Timeout};
use crate::error::BoxError;
use crate::framing::Framing;
use crate::panic::text_of;
use crate::registry::ConnectionInfo;

/// The [`Protocol`] that wraps the closures of [`AcceptorPool::with_events`](crate::AcceptorPool::with_events).
///
/// `S` is the state, `M` the type of messages, `C` the codec and `R` the type of replies. The type can be named, so
/// that `Addr<Connection<EventLoop<u64, Command>>>`, `Recipient<User<Command>>` and your own message handlers work.
pub struct EventLoop<S, M = Infallible, C = Framing, R = Bytes> {
    state: Option<S>,
    callbacks: Arc<dyn Callbacks<S, M, C, R>>,
    on_close: Option<Arc<OnClose<S>>>,
}

impl<S, M, C, R> fmt::Debug for EventLoop<S, M, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop").finish_non_exhaustive()
    }
}

type OnClose<S> = dyn Fn(S, &Closed, &ConnectionInfo) + Send + Sync;
type MessageStream<M> = Pin<Box<dyn Stream<Item = M>>>;

/// The two closures with their types erased: a closure's type cannot be part of the [`EventLoop`] that its arguments
/// name.
trait Callbacks<S, M, C, R>: Send + Sync {
    fn on_init(&self, conn: &mut Conn<EventLoop<S, M, C, R>>) -> Init<S, M, C, R>
    where
        EventLoop<S, M, C, R>: Protocol;

    fn on_event(
        &self,
        state: &mut S,
        event: Event<EventLoop<S, M, C, R>>,
        conn: &mut Conn<EventLoop<S, M, C, R>>,
    ) -> Next<EventLoop<S, M, C, R>>
    where
        EventLoop<S, M, C, R>: Protocol;
}

struct Closures<I, E> {
    on_init: I,
    on_event: E,
}

impl<S, M, C, R, I, E> Callbacks<S, M, C, R> for Closures<I, E>
where
    EventLoop<S, M, C, R>: Protocol,
    I: Fn(&mut Conn<EventLoop<S, M, C, R>>) -> Init<S, M, C, R> + Send + Sync,
    E: Fn(&mut S, Event<EventLoop<S, M, C, R>>, &mut Conn<EventLoop<S, M, C, R>>) -> Next<EventLoop<S, M, C, R>>
        + Send
        + Sync,
{
    fn on_init(&self, conn: &mut Conn<EventLoop<S, M, C, R>>) -> Init<S, M, C, R> {
        (self.on_init)(conn)
    }

    #[inline]
    fn on_event(
        &self,
        state: &mut S,
        event: Event<EventLoop<S, M, C, R>>,
        conn: &mut Conn<EventLoop<S, M, C, R>>,
    ) -> Next<EventLoop<S, M, C, R>> {
        (self.on_event)(state, event, conn)
    }
}

/// The return value of `on_init`: the connection's state, and the streams whose items it receives as messages.
#[must_use = "return it from `on_init`"]
pub struct Init<S, M = Infallible, C = Framing, R = Bytes> {
    state: S,
    streams: Vec<MessageStream<M>>,
    outcome: InitOutcome,
    codec: PhantomData<fn() -> (C, R)>,
}

impl<S, M, C, R> fmt::Debug for Init<S, M, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("Init");
        f.field("outcome", &self.outcome).field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
enum InitOutcome {
    Continue,
    Stop,
    Fail(BoxError),
}

impl<S> Init<S> {
    /// Uses this state, with no messages, [`Framing`] as the codec, and replies of type `Bytes`.
    pub fn new(state: S) -> Self {
        Init { state, streams: Vec::new(), outcome: InitOutcome::Continue, codec: PhantomData }
    }
}

impl<S, C, R> Init<S, Infallible, C, R> {
    /// Sets the type of the messages that the connection receives.
    pub fn with_messages<M>(self) -> Init<S, M, C, R> {
        Init { state: self.state, streams: Vec::new(), outcome: self.outcome, codec: PhantomData }
    }

    /// Adds a stream whose items the connection receives as messages, as glisten's selector. Also sets the type of
    /// messages.
    pub fn stream<M>(self, stream: impl Stream<Item = M> + 'static) -> Init<S, M, C, R> {
        self.with_messages().with_stream(stream)
    }
}

impl<S, M, C, R> Init<S, M, C, R> {
    /// Adds another stream. May be called repeatedly.
    pub fn with_stream(mut self, stream: impl Stream<Item = M> + 'static) -> Self {
        self.streams.push(Box::pin(stream));
        self
    }

    /// Sets the types of the codec and the replies.
    pub fn with_codec<D, T>(self) -> Init<S, M, D, T> {
        Init { state: self.state, streams: self.streams, outcome: self.outcome, codec: PhantomData }
    }

    /// Ends the connection without a handshake, as [`Next::Stop`] in [`Protocol::init`].
    pub fn stop(mut self) -> Self {
        self.outcome = InitOutcome::Stop;
        self
    }

    /// Ends the connection with an error, as [`Next::Fail`] in [`Protocol::init`].
    pub fn fail(mut self, error: impl Into<BoxError>) -> Self {
        self.outcome = InitOutcome::Fail(error.into());
        self
    }
}

impl<S: 'static, M, C, R> ProtocolService<EventLoop<S, M, C, R>>
where
    M: Send + 'static,
    C: Decoder<Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + 'static,
    R: Send + 'static,
{
    /// Creates a service from two closures, those of [`AcceptorPool::with_events`](crate::AcceptorPool::with_events).
    pub fn with_events<I, E>(on_init: I, on_event: E) -> Self
    where
        C: Default,
        I: Fn(&mut Conn<EventLoop<S, M, C, R>>) -> Init<S, M, C, R> + Send + Sync + 'static,
        E: Fn(&mut S, Event<EventLoop<S, M, C, R>>, &mut Conn<EventLoop<S, M, C, R>>) -> Next<EventLoop<S, M, C, R>>
            + Send
            + Sync
            + 'static,
    {
        let callbacks: Arc<dyn Callbacks<S, M, C, R>> = Arc::new(Closures { on_init, on_event });
        Self::new(move |_| EventLoop { state: None, callbacks: callbacks.clone(), on_close: None })
    }

    /// Sets a closure that is called last, with the state and the reason: see [`Builder::with_close`](crate::Builder::with_close).
    pub fn with_close(self, on_close: impl Fn(S, &Closed) + Send + Sync + 'static) -> Self {
        self.with_close_info(move |state, why, _| on_close(state, why))
    }

    /// Like [`with_close`](Self::with_close), with the final numbers of the connection as the third argument.
    pub fn with_close_info(mut self, on_close: impl Fn(S, &Closed, &ConnectionInfo) + Send + Sync + 'static) -> Self {
        let on_close: Arc<OnClose<S>> = Arc::new(on_close);
        let factory = self.factory;
        self.factory = Arc::new(move |peer| EventLoop { on_close: Some(on_close.clone()), ..factory(peer) });
        self
    }
}

impl<S, M, C, R> EventLoop<S, M, C, R>
where
    Self: Protocol,
{
    /// The state, for your own message handlers. `None` only while `on_init` runs.
    pub fn state(&mut self) -> Option<&mut S> {
        self.state.as_mut()
    }
}

impl<S: 'static, M, C, R> EventLoop<S, M, C, R>
where
    M: Send + 'static,
    C: Decoder<Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + 'static,
    R: Send + 'static,
{
    #[inline]
    fn on(&mut self, event: Event<Self>, conn: &mut Conn<Self>) -> Next<Self> {
        match &mut self.state {
            Some(state) => self.callbacks.on_event(state, event, conn),
            None => Next::Stop,
        }
    }
}

impl<S: 'static, M, C, R> Protocol for EventLoop<S, M, C, R>
where
    M: Send + 'static,
    C: Decoder<Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + 'static,
    R: Send + 'static,
{
    type Codec = C;
    type Reply = R;
    type User = M;

    fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let init = self.callbacks.on_init(conn);
        self.state = Some(init.state);
        for stream in init.streams {
            conn.add_stream(stream);
        }
        match init.outcome {
            InitOutcome::Continue => Next::Continue,
            InitOutcome::Stop => Next::Stop,
            InitOutcome::Fail(error) => Next::Fail(error),
        }
    }

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(Event::Ack, conn)
    }

    #[inline]
    fn packet(&mut self, packet: Packet<Self>, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(Event::Packet(packet), conn)
    }

    fn decode_error(&mut self, error: &BoxError, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(Event::DecodeError(text_of(error)), conn)
    }

    fn user(&mut self, message: M, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(Event::User(message), conn)
    }

    fn timeout(&mut self, timeout: Timeout, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(Event::Timeout(timeout), conn)
    }

    fn half_closed(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(Event::HalfClosed, conn)
    }

    fn passive(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(Event::Passive, conn)
    }

    fn shutdown(&mut self, deadline: Option<Instant>, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(Event::Shutdown(deadline), conn)
    }

    fn closed(&mut self, why: &Closed, info: &ConnectionInfo) {
        if let (Some(on_close), Some(state)) = (&self.on_close, self.state.take()) {
            on_close(state, why, info);
        }
    }
}
