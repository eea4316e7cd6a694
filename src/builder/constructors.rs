//! The ways in: the four doors, and what can be set at one of them only.

use std::future::Future;

use actix::dev::ToEnvelope;
use actix::prelude::*;
use tokio_util::codec::{Decoder, Encoder};

use super::Builder;
use crate::connection::{Closed, Conn, Event, Next, Peer, Protocol};
use crate::error::{BoxError, InvalidSetting};
use crate::framing::Framing;
use crate::handlers::{Ack, ActorService, EventLoop, FnService, Init, IntoServeResult, ProtocolService};
use crate::pool::AcceptorPool;
use crate::socket::Socket;

impl AcceptorPool {
    /// Serves every connection by a [`Protocol`]: condor's and gen_server's way.
    ///
    /// The factory is called for each connection, on its arbiter, and sees the peer before there is any state for it. What
    /// it captures is the starting environment. A panic in it ends that connection and no other.
    ///
    /// The codec is made by its `Default`; for [`Framing`] it is chosen with
    /// [`framing`](crate::Builder::framing). [`with_codec`](AcceptorPool::with_codec) takes a function
    /// that makes it.
    pub fn with_protocol<P, F>(factory: F) -> Builder<ProtocolService<P>>
    where
        P: Protocol,
        P::Codec: Default,
        F: Fn(&Peer) -> P + Send + Sync + 'static,
    {
        Self::with_codec(factory, P::Codec::default)
    }

    /// As [`protocol`](AcceptorPool::with_protocol), with a function that makes the codec: once per connection, and again when
    /// a packet timed out.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Conn, Next, Protocol};
    /// use tokio_util::codec::LinesCodec;
    ///
    /// struct Shout;
    /// impl Protocol for Shout {
    ///     type Codec = LinesCodec;
    ///     type Reply = String;
    ///     type User = ();
    ///     fn packet(&mut self, line: String, _: &mut Conn<Self>) -> Next<Self> {
    ///         Next::Send(line.to_uppercase())
    ///     }
    /// }
    ///
    /// let builder = AcceptorPool::with_codec(|_| Shout, || LinesCodec::new_with_max_length(512));
    /// ```
    pub fn with_codec<P, F, C>(factory: F, codec: C) -> Builder<ProtocolService<P>>
    where
        P: Protocol,
        F: Fn(&Peer) -> P + Send + Sync + 'static,
        C: Fn() -> P::Codec + Send + Sync + 'static,
    {
        Builder::new(ProtocolService::new(factory, codec))
    }

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
    /// let pool = AcceptorPool::with_events(
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
    /// too. [`Event::default_next`] answers as a protocol does that does not override the callback.
    pub fn with_events<S, M, C, R, I, E>(on_init: I, on_event: E) -> Builder<ProtocolService<EventLoop<S, M, C, R>>>
    where
        S: 'static,
        M: Send + 'static,
        C: Decoder<Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + Default + 'static,
        R: Send + 'static,
        I: Fn(&mut Conn<EventLoop<S, M, C, R>>) -> Init<S, M, C, R> + Send + Sync + 'static,
        E: Fn(&mut S, Event<EventLoop<S, M, C, R>>, &mut Conn<EventLoop<S, M, C, R>>) -> Next<EventLoop<S, M, C, R>>
            + Send
            + Sync
            + 'static,
    {
        Builder::new(ProtocolService::events(on_init, on_event))
    }

    /// Serves every connection by an async fn that owns its [`Socket`]: reagent's `handle/1`.
    ///
    /// The connection ends when its socket is dropped. It counts as ended by the peer if the socket saw it leave, as an
    /// error if the fn returned one (an [`io::Error`](std::io::Error) of the peer's leaving counts as the peer's), as a
    /// panic if it panicked: other connections go on.
    ///
    /// The pool's marks, framing and packet timeout do not act here: the fn reads and writes as it likes.
    pub fn with_fn<F, T>(serve: F) -> Builder<FnService>
    where
        F: Fn(Socket) -> T + Send + Sync + 'static,
        T: Future<Output: IntoServeResult> + 'static,
    {
        Builder::new(FnService::new(serve))
    }

    /// Serves every connection by an actor of one's own: reagent's `start/1`.
    ///
    /// The function takes the [`Socket`], starts an actor that owns it, and returns the actor's address. The actor gets
    /// [`Ack`] once the pool has it on its books. An error closes that socket, if the function has not done so, and nothing
    /// else.
    ///
    /// The function is called on the arbiter that the connection lives on: `start` and `create` run the actor there. The
    /// pool holds the actor's address as long as the socket is alive, so an actor with no other address goes on until it
    /// stops itself or drops the socket.
    ///
    /// ```
    /// use actix::prelude::*;
    /// use actix_acceptor::{AcceptorPool, Ack, Socket};
    /// use tokio::io::AsyncWriteExt;
    ///
    /// struct Greeter(Option<Socket>);
    /// impl Actor for Greeter {
    ///     type Context = Context<Self>;
    /// }
    /// impl Handler<Ack> for Greeter {
    ///     type Result = ();
    ///     fn handle(&mut self, ack: Ack, ctx: &mut Context<Self>) {
    ///         let mut socket = self.0.take().expect("acked once");
    ///         let greet = async move { socket.write_all(format!("you are {}\n", ack.id).as_bytes()).await };
    ///         ctx.spawn(greet.into_actor(self).map(|_, _, ctx| ctx.stop()));
    ///     }
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_actor(|socket| Ok(Greeter(Some(socket)).start())).bind("127.0.0.1:0").await?;
    /// # use tokio::io::AsyncReadExt;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # let mut line = String::new();
    /// # peer.read_to_string(&mut line).await?;
    /// # assert_eq!(line, "you are 1\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn with_actor<A, F>(start: F) -> Builder<ActorService<A>>
    where
        A: Actor + Handler<Ack>,
        A::Context: ToEnvelope<A, Ack>,
        F: Fn(Socket) -> Result<Addr<A>, BoxError> + Send + Sync + 'static,
    {
        Builder::new(ActorService::new(start))
    }
}

impl<P: Protocol<Codec = Framing>> Builder<ProtocolService<P>> {
    /// How bytes become packets. Default: [`Framing::raw`].
    pub fn framing(mut self, framing: Framing) -> Self {
        self.service.set_codec(move || framing.clone());
        self
    }

    /// The longest packet taken in, in bytes, without prefix or delimiter; this length itself is allowed. A longer one ends
    /// its connection with [`Closed::TooLong`](crate::Closed::TooLong); `raw` cuts there instead.
    ///
    /// Default: what the framing says, which is 1 MiB. 0 is refused.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.service.set_max_frame(bytes, Framing::with_max_frame);
        if bytes == 0 {
            self.reject(InvalidSetting::new("max_frame", "must be at least 1 byte (got 0)"));
        }
        self
    }
}

impl<S: 'static, M, C, R> Builder<ProtocolService<EventLoop<S, M, C, R>>>
where
    M: Send + 'static,
    C: Decoder<Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + 'static,
    R: Send + 'static,
{
    /// Called last, with the connection's state and why it ended. Not called if `on_init` panicked: there is no state then.
    pub fn with_close(mut self, on_close: impl Fn(S, &Closed) + Send + Sync + 'static) -> Self {
        self.service = self.service.with_close(on_close);
        self
    }
}
