//! The constructors of [`AcceptorPool`], one per kind of handler, and the settings that only one kind has.
//!
//! Each wraps its arguments into a [`Service`](crate::handlers::Service) and returns a [`Builder`] for it.

use std::future::Future;
use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::prelude::*;
use tokio_util::codec::{Decoder, Encoder};

use super::Builder;
use crate::connection::{Closed, Conn, Event, Next, Peer, Protocol};
use crate::error::{BoxError, InvalidSetting};
use crate::framing::Framing;
use crate::handlers::{invalid_max_frame, Service};
use crate::handlers::{Ack, ActorService, CodecFactory, EventLoop, FnService, Init, IntoServeResult, ProtocolService};
use crate::pool::AcceptorPool;
use crate::registry::ConnectionInfo;
use crate::socket::Socket;

impl AcceptorPool {
    /// Serves each connection with a [`Protocol`], as condor and gen_server do.
    ///
    /// `factory` makes the protocol of a connection. It is called for each connection, on the connection's arbiter. A panic
    /// in it ends only that connection.
    ///
    /// The codec is made by its `Default` implementation; a [`Framing`] is set with [`framing`](crate::Builder::framing). To
    /// make the codec with a function, use [`with_codec`](AcceptorPool::with_codec).
    pub fn with_protocol<P, F>(factory: F) -> Builder<ProtocolService<P>>
    where
        P: Protocol,
        P::Codec: Default,
        F: Fn(&Peer) -> P + Send + Sync + 'static,
    {
        Self::with_codec(factory, P::Codec::default)
    }

    /// Like [`with_protocol`](AcceptorPool::with_protocol), with a function that makes the codec: `|| codec`, or
    /// `|peer: &Peer| codec` if it depends on the [`Peer`]. The argument of a closure needs its type.
    ///
    /// The function is called once per connection, and again after a packet timeout, unless the codec is a [`Framing`]. A
    /// function without argument is also called by [`Pool::encode`](crate::Pool::encode), and, unless the codec is a
    /// [`Framing`], by `broadcast`, `send_to` and `publish`. It is not called at the start: the `max_frame` of a [`Framing`]
    /// that it makes is not checked.
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
    ///
    /// // Longer lines for the program's own tools.
    /// use actix_acceptor::Peer;
    /// let builder = AcceptorPool::with_codec(
    ///     |_| Shout,
    ///     |peer: &Peer| LinesCodec::new_with_max_length(if &*peer.listener == "admin" { 65_536 } else { 512 }),
    /// );
    /// ```
    ///
    /// If the function takes the peer, connections may encode a reply differently: [`Pool::encode`](crate::Pool::encode) then
    /// fails, while outboxes, topics and [`broadcast`](crate::Pool::broadcast) respect the codec of each of them. Such a function
    /// cannot be combined with the framing of a [`PoolConfig`](crate::PoolConfig).
    pub fn with_codec<P, F, C, Args>(factory: F, codec: C) -> Builder<ProtocolService<P>>
    where
        P: Protocol,
        F: Fn(&Peer) -> P + Send + Sync + 'static,
        C: CodecFactory<P::Codec, Args>,
    {
        Builder::new(ProtocolService::with_codec(factory, codec))
    }

    /// Serves each connection with two closures, as glisten does.
    ///
    /// `on_init` makes the state of a connection, and may add a stream whose items arrive as [`Event::User`]. `on_event` is
    /// called with each event. [`with_close`](crate::Builder::with_close) adds a third closure that takes the state at the
    /// end. The protocol of the connection is an [`EventLoop`]: a topic in the state is a `Topic<EventLoop<S>>`.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Event, Framing, Init, Next};
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_events(
    ///     |_conn| Init::new(0u64),
    ///     |count, event, _conn| match event {
    ///         Event::Packet(_) => {
    ///             *count += 1;
    ///             Next::send(count.to_string())
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
    /// [`Next::Continue`] for a `Shutdown`, a `Timeout` or a `DecodeError` keeps the connection open, so a closure that ignores
    /// unknown events also ignores these. [`Event::default_next`] returns what a [`Protocol`] without that callback returns.
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
        Builder::new(ProtocolService::with_events(on_init, on_event))
    }

    /// Serves each connection with an async fn that owns the [`Socket`], as reagent's `handle/1`.
    ///
    /// The connection ends when its socket is dropped. It counts as closed by the peer if a read or write detected that
    /// the peer left, as an error if the fn returned one (except an [`io::Error`](std::io::Error) caused by the peer
    /// leaving), and as a panic if the fn panicked. Other connections are not affected.
    ///
    /// Watermarks, framing and the packet timeout have no effect: the fn reads and writes the socket itself. It should end when
    /// [`Socket::draining`] resolves: see the example there.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, BoxError, Socket};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # actix_rt::System::new().block_on(async {
    /// // An `async fn` works as well. In a closure, the type of the error must be named.
    /// let first_byte = |mut socket: Socket| async move {
    ///     let byte = socket.read_u8().await?;
    ///     socket.write_u8(byte).await?;
    ///     Ok::<_, BoxError>(())
    /// };
    /// let pool = AcceptorPool::with_fn(first_byte).bind("127.0.0.1:0").await?;
    /// # let mut peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # peer.write_all(b"ab").await?;
    /// # assert_eq!(peer.read_u8().await?, b'a');
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn with_fn<F, T>(serve: F) -> Builder<FnService>
    where
        F: Fn(Socket) -> T + Send + Sync + 'static,
        T: Future<Output: IntoServeResult> + 'static,
    {
        Builder::new(FnService::new(serve))
    }

    /// Serves each connection with a user-defined actor, as reagent's `start/1`.
    ///
    /// `start` takes the [`Socket`], starts an actor that owns it, and returns the actor's address. The actor gets [`Ack`]
    /// once the pool has registered it. An error from `start` ends only that connection.
    ///
    /// `start` is called on the connection's arbiter: `Actor::start` and `Actor::create` run the actor there. The pool holds
    /// the actor's address until the socket is dropped, so an actor with no other address runs until it stops itself or
    /// drops the socket.
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

impl<S> Builder<S> {
    /// Adds a service that listeners of a [`PoolConfig`](crate::PoolConfig) select by name: `service = "admin"`. It replaces a
    /// service with the same name. Listeners that select none use the service of the builder. For listeners defined in code, use
    /// [`Listener::service`](crate::Listener::service).
    ///
    /// A service that no listener uses can serve adopted streams: `pool.typed::<Connection<P>>()` returns the handle whose
    /// [`adopt`](crate::Pool::adopt) uses it.
    ///
    /// ```
    /// # #[cfg(feature = "config")]
    /// # actix_rt::System::new().block_on(async {
    /// use actix_acceptor::{handlers::FnService, AcceptorPool, PoolConfig, Socket};
    ///
    /// let config = PoolConfig::from_toml(r#"
    ///     [[listeners]]
    ///     address = "tcp://127.0.0.1:0"
    ///
    ///     [[listeners]]
    ///     address = "tcp://127.0.0.1:0"
    ///     service = "admin"
    /// "#)?;
    /// # async fn serve(_: Socket) {}
    /// # async fn administrate(_: Socket) {}
    /// let pool = AcceptorPool::with_fn(serve)
    ///     .named_service("admin", FnService::new(administrate))
    ///     .config(&config)
    ///     .start()
    ///     .await?;
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn named_service(mut self, name: impl Into<Arc<str>>, service: impl Service) -> Self {
        let name = name.into();
        if let Some(invalid) = service.frame_limit().and_then(invalid_max_frame) {
            let why = format!("{name:?}: {invalid}");
            self.invalid_services.push(InvalidSetting::new("named_service", why));
        }
        self.named_services.set(name, service.into_listener_service());
        self
    }
}

impl<P: Protocol<Codec = Framing>> Builder<ProtocolService<P>> {
    /// Sets how bytes are split into packets.
    ///
    /// Default: [`Framing::raw`].
    pub fn framing(mut self, framing: Framing) -> Self {
        self.service = self.service.framing(framing);
        self
    }

    /// The largest packet accepted, in bytes, without prefix or delimiter. At least 1. A larger one ends its connection with
    /// [`Closed::TooLong`](crate::Closed::TooLong); [`Framing::raw`] splits it instead.
    ///
    /// Default: the limit of the framing, which is 1 MiB unless set.
    pub fn max_frame(mut self, bytes: usize) -> Self {
        self.service = self.service.max_frame(bytes);
        self
    }
}

impl<S: 'static, M, C, R> Builder<ProtocolService<EventLoop<S, M, C, R>>>
where
    M: Send + 'static,
    C: Decoder<Error: Into<BoxError>> + Encoder<R, Error: Into<BoxError>> + 'static,
    R: Send + 'static,
{
    /// Adds a closure that is called last, with the connection's state and the reason it ended. It is not called if `on_init`
    /// panicked, since there is no state then.
    ///
    /// It replaces a closure that was added before, by this method or by [`with_close_info`](Builder::with_close_info).
    pub fn with_close(self, on_close: impl Fn(S, &Closed) + Send + Sync + 'static) -> Self {
        self.with_close_info(move |state, why, _| on_close(state, why))
    }

    /// Like [`with_close`](Builder::with_close), with the final numbers of the connection as the third argument, as in
    /// [`Protocol::closed`].
    pub fn with_close_info(mut self, on_close: impl Fn(S, &Closed, &ConnectionInfo) + Send + Sync + 'static) -> Self {
        self.service = self.service.with_close_info(on_close);
        self
    }
}
