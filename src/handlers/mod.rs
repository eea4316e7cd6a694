//! Handlers: the four ways to define how a connection is served.
//!
//! | handler | the user writes |
//! |---|---|
//! | [`with_protocol`](crate::AcceptorPool::with_protocol) | a struct with callbacks: [`Protocol`](crate::Protocol) |
//! | [`with_events`](crate::AcceptorPool::with_events) | two closures, `on_init` and `on_event` |
//! | [`with_fn`](crate::AcceptorPool::with_fn) | an async fn that owns its [`Socket`](crate::Socket) |
//! | [`with_actor`](crate::AcceptorPool::with_actor) | an actor that owns its [`Socket`](crate::Socket) |
//!
//! [`ProtocolService`], [`FnService`] and [`ActorService`] are the same handlers for one listener: [`Listener::service`].

mod actor;
mod async_fn;
mod events;
mod protocol;

use std::sync::Arc;

use crate::framing::Framing;
use crate::listener::{Listener, ListenerService};

pub use crate::connection::CodecFactory;
pub use actor::{Ack, ActorService};
pub use async_fn::{FnService, IntoServeResult, NoActor};
pub use events::{EventLoop, Init};
pub(crate) use protocol::invalid_max_frame;
pub use protocol::ProtocolService;

/// How connections are served. Implemented by [`ProtocolService`], [`FnService`] and [`ActorService`], and by no other types. The
/// constructors of [`AcceptorPool`](crate::AcceptorPool) create one for the whole pool; [`Listener::service`] sets one for a
/// listener.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    note = "an async fn becomes one by `FnService::new(serve)`, a protocol by `ProtocolService::new(|peer| ..)`, an actor by \
            `ActorService::new(..)`"
)]
#[allow(private_interfaces)]
pub trait Service: sealed::Sealed + Send + 'static {
    /// The actor behind each connection: the type parameter of [`Pool`](crate::Pool).
    type Actor: 'static;

    /// The service without its type, for listeners.
    #[doc(hidden)]
    fn into_listener_service(self) -> Arc<ListenerService>;

    /// Changes the framing of new connections. Returns `false` if the handler has another codec, one that depends on the
    /// peer, or none.
    #[doc(hidden)]
    fn change_framing(&mut self, _: Box<dyn FnOnce(Framing) -> Framing + Send>) -> bool {
        false
    }

    /// The greatest length of an incoming packet, if the builder has set it or a framing.
    #[doc(hidden)]
    fn frame_limit(&self) -> Option<usize> {
        None
    }
}

impl Listener {
    /// Serves the connections of this listener with a service of its own, so that one pool serves several protocols. All
    /// listeners of the pool share its acceptors, limits, drain, list of connections, topics and names.
    ///
    /// [`Pool::typed`](crate::Pool::typed) returns a handle for one kind of connection: `pool.typed::<Connection<Admin>>()`. It
    /// reaches only connections of that kind, and its `set_*` methods replace the factories of all services of that kind.
    /// Connections with different protocols can be members of one topic: see [`Topic`](crate::Topic#several-protocols).
    ///
    /// [`set_listeners`](crate::Pool::set_listeners) can give an open listener another service; live connections keep theirs.
    ///
    /// Default: the service of the builder.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Conn, Connection, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use std::io::{BufRead, BufReader, Write};
    /// use actix_acceptor::{handlers::{FnService, ProtocolService}, Listener, Socket};
    ///
    /// # struct Echo;
    /// # impl Protocol for Echo {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// #     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> { Next::Send(packet) }
    /// # }
    /// struct Admin;
    ///
    /// impl Protocol for Admin {
    ///     type Codec = Framing;
    ///     type Reply = Bytes;
    ///     type User = ();
    ///
    ///     fn packet(&mut self, _: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///         Next::send(format!("{} connections", conn.pool().connections()))
    ///     }
    /// }
    ///
    /// async fn discard(mut socket: Socket) -> std::io::Result<()> {
    ///     tokio::io::copy(&mut socket, &mut tokio::io::sink()).await.map(|_| ())
    /// }
    ///
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_protocol(|_| Echo)
    ///     .framing(Framing::len4())
    ///     .listener(Listener::tcp("127.0.0.1:0"))
    ///     .listener(Listener::tcp("127.0.0.1:0").service(ProtocolService::new(|_| Admin).framing(Framing::lines())))
    ///     .listener(Listener::tcp("127.0.0.1:0").service(FnService::new(discard)))
    ///     .start()
    ///     .await?;
    /// # let mut admin = std::net::TcpStream::connect(pool.local_addrs()[1].socket().expect("TCP"))?;
    /// # let mut line = String::new();
    /// # let line = tokio::task::spawn_blocking(move || {
    /// #     admin.write_all(b"?\n")?;
    /// #     BufReader::new(admin).read_line(&mut line).map(|_| line)
    /// # }).await??;
    /// # assert_eq!(line, "1 connections\n");
    /// let admins = pool.typed::<Connection<Admin>>().expect("a listener with this protocol");
    /// admins.broadcast("maintenance at noon".into())?;
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn service(self, service: impl Service) -> Self {
        let invalid = service.frame_limit().and_then(invalid_max_frame);
        self.served_by(service.into_listener_service(), invalid)
    }
}

mod sealed {
    pub trait Sealed {}
}
