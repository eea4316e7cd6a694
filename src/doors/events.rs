//! The door `events`: a closure pair, as glisten's `on_init` and `loop`.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::Stream;
use tokio_util::codec::{Decoder, Encoder};

use super::ProtocolDoor;
use crate::builder::Builder;
use crate::error::BoxError;
use crate::framing::Framing;
use crate::pool::AcceptorPool;
use crate::protocol::{Closed, Conn, Event, Next, Packet, Protocol, Timeout};

/// The protocol made of the closures given to [`AcceptorPool::events`]: `S` is their state, `M` the messages it takes.
///
/// A nameable type, so that `Addr<Connection<Loop<u64, Tell>>>`, `Recipient<User<Tell>>` and handlers of one's own work.
pub struct Loop<S, M = Infallible, C = Framing, R = Bytes> {
    state: Option<S>,
    script: Arc<dyn Script<S, M, C, R>>,
    on_close: Option<Arc<OnClose<S>>>,
}

type OnClose<S> = dyn Fn(S, &Closed) + Send + Sync;
type Items<M> = Pin<Box<dyn Stream<Item = M>>>;

/// The two closures, their types forgotten: a closure cannot stand inside the type that its own arguments name.
trait Script<S, M, C, R>: Send + Sync {
    fn on_init(&self, conn: &mut Conn<Loop<S, M, C, R>>) -> Init<S, M, C, R>
    where
        Loop<S, M, C, R>: Protocol;

    fn on_event(
        &self,
        state: &mut S,
        event: Event<Loop<S, M, C, R>>,
        conn: &mut Conn<Loop<S, M, C, R>>,
    ) -> Next<Loop<S, M, C, R>>
    where
        Loop<S, M, C, R>: Protocol;
}

struct Closures<I, E> {
    on_init: I,
    on_event: E,
}

impl<S, M, C, R, I, E> Script<S, M, C, R> for Closures<I, E>
where
    Loop<S, M, C, R>: Protocol,
    I: Fn(&mut Conn<Loop<S, M, C, R>>) -> Init<S, M, C, R> + Send + Sync,
    E: Fn(&mut S, Event<Loop<S, M, C, R>>, &mut Conn<Loop<S, M, C, R>>) -> Next<Loop<S, M, C, R>> + Send + Sync,
{
    fn on_init(&self, conn: &mut Conn<Loop<S, M, C, R>>) -> Init<S, M, C, R> {
        (self.on_init)(conn)
    }

    #[inline]
    fn on_event(
        &self,
        state: &mut S,
        event: Event<Loop<S, M, C, R>>,
        conn: &mut Conn<Loop<S, M, C, R>>,
    ) -> Next<Loop<S, M, C, R>> {
        (self.on_event)(state, event, conn)
    }
}

/// What `on_init` answers: the state, and what else the connection begins with.
#[must_use]
pub struct Init<S, M = Infallible, C = Framing, R = Bytes> {
    state: S,
    streams: Vec<Items<M>>,
    next: Begin,
    codec: PhantomData<fn() -> (C, R)>,
}

enum Begin {
    Continue,
    Stop,
    Fail(BoxError),
}

impl<S> Init<S> {
    /// Begins with this state; no messages, and [`Framing`] with replies of bytes.
    pub fn new(state: S) -> Self {
        Init { state, streams: Vec::new(), next: Begin::Continue, codec: PhantomData }
    }
}

impl<S, C, R> Init<S, Infallible, C, R> {
    /// Takes messages of this type.
    pub fn takes<M>(self) -> Init<S, M, C, R> {
        Init { state: self.state, streams: Vec::new(), next: self.next, codec: PhantomData }
    }

    /// Takes the items of this stream as messages (glisten's selector), and others of their type.
    pub fn stream<M>(self, stream: impl Stream<Item = M> + 'static) -> Init<S, M, C, R> {
        self.takes().also(stream)
    }
}

impl<S, M, C, R> Init<S, M, C, R> {
    /// Takes the items of one more stream.
    pub fn also(mut self, stream: impl Stream<Item = M> + 'static) -> Self {
        self.streams.push(Box::pin(stream));
        self
    }

    /// Packets by another codec, replies of another type.
    pub fn speaks<D, T>(self) -> Init<S, M, D, T> {
        Init { state: self.state, streams: self.streams, next: self.next, codec: PhantomData }
    }

    /// Ends the connection before it begins.
    pub fn stop(mut self) -> Self {
        self.next = Begin::Stop;
        self
    }

    /// Ends the connection with an error before it begins.
    pub fn fail(mut self, error: impl Into<BoxError>) -> Self {
        self.next = Begin::Fail(error.into());
        self
    }
}

impl AcceptorPool {
    /// Serves every connection by two closures: glisten's way.
    ///
    /// `on_init` makes the state of a connection, and may hand over a stream whose items arrive as [`Event::User`];
    /// `on_event` is called with every event. [`with_close`](crate::Builder::with_close) adds a third that gets the state
    /// at the end.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Event, Framing, Init, Next};
    /// use bytes::Bytes;
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::events(
    ///     |_conn| Init::new(0u64),
    ///     |count, event, _conn| match event {
    ///         Event::Packet(_) => {
    ///             *count += 1;
    ///             Next::Send(Bytes::from(count.to_string()))
    ///         }
    ///         _ => Next::Continue,
    ///     },
    /// )
    /// .framing(Framing::lines())
    /// .bind("127.0.0.1:0")
    /// .await?;
    /// # pool.stop(None).await;
    /// # Ok::<_, actix_acceptor::StartError>(()) }).expect("it works");
    /// ```
    ///
    /// A `Shutdown` or a `Timeout` answered with [`Next::Continue`] goes on: a closure that ignores events ignores these,
    /// too. [`Event::otherwise`] answers as a protocol does that does not override the callback.
    pub fn events<S, M, C, R, I, E>(on_init: I, on_event: E) -> Builder<ProtocolDoor<Loop<S, M, C, R>>>
    where
        S: 'static,
        M: Send + 'static,
        C: Decoder<Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + Default + 'static,
        R: Send + 'static,
        I: Fn(&mut Conn<Loop<S, M, C, R>>) -> Init<S, M, C, R> + Send + Sync + 'static,
        E: Fn(&mut S, Event<Loop<S, M, C, R>>, &mut Conn<Loop<S, M, C, R>>) -> Next<Loop<S, M, C, R>>
            + Send
            + Sync
            + 'static,
    {
        let script: Arc<dyn Script<S, M, C, R>> = Arc::new(Closures { on_init, on_event });
        AcceptorPool::protocol(move |_| Loop { state: None, script: script.clone(), on_close: None })
    }
}

impl<S: 'static, M, C, R> Builder<ProtocolDoor<Loop<S, M, C, R>>>
where
    M: Send + 'static,
    C: Decoder<Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + 'static,
    R: Send + 'static,
{
    /// Called last, with the connection's state and why it ended. Not called if `on_init` panicked: there is no state then.
    pub fn with_close(mut self, on_close: impl Fn(S, &Closed) + Send + Sync + 'static) -> Self {
        let on_close: Arc<OnClose<S>> = Arc::new(on_close);
        let factory = self.door.factory;
        self.door.factory = Box::new(move |peer| Loop { on_close: Some(on_close.clone()), ..factory(peer) });
        self
    }
}

impl<S, M, C, R> Loop<S, M, C, R>
where
    Self: Protocol,
{
    /// The state, for handlers of one's own; `None` only while `on_init` runs.
    pub fn state(&mut self) -> Option<&mut S> {
        self.state.as_mut()
    }
}

impl<S: 'static, M, C, R> Loop<S, M, C, R>
where
    M: Send + 'static,
    C: Decoder<Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + 'static,
    R: Send + 'static,
{
    #[inline]
    fn on(&mut self, event: Event<Self>, conn: &mut Conn<Self>) -> Next<Self> {
        match &mut self.state {
            Some(state) => self.script.on_event(state, event, conn),
            None => Next::Stop,
        }
    }
}

impl<S: 'static, M, C, R> Protocol for Loop<S, M, C, R>
where
    M: Send + 'static,
    C: Decoder<Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + 'static,
    R: Send + 'static,
{
    type Codec = C;
    type Reply = R;
    type User = M;

    fn init(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        let init = self.script.on_init(conn);
        self.state = Some(init.state);
        init.streams.into_iter().for_each(|stream| conn.add_stream(stream));
        match init.next {
            Begin::Continue => Next::Continue,
            Begin::Stop => Next::Stop,
            Begin::Fail(error) => Next::Fail(error),
        }
    }

    fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(Event::Ack, conn)
    }

    #[inline]
    fn packet(&mut self, packet: Packet<Self>, conn: &mut Conn<Self>) -> Next<Self> {
        self.on(Event::Packet(packet), conn)
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

    fn closed(&mut self, why: &Closed) {
        if let (Some(on_close), Some(state)) = (&self.on_close, self.state.take()) {
            on_close(state, why);
        }
    }
}
