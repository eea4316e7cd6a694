//! [`ConnectionRef`], a connection as seen from outside, and the names by which connections are found.

use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use bytes::Bytes;

use super::{Pool, PoolState, Untyped};
use crate::connection::{own, Conn, Connection, Outbox, OutboxError, Protocol};
use crate::names::{NameTaken, Registration};
use crate::registry::{ConnectionGuard, ConnectionInfo, ConnectionState, LastReply, Registry};
use crate::telemetry::{CloseReason, ConnectionId};
use crate::topics::TopicState;

/// A connection as seen from other parts of the program, found by [name](Pool::whereis) or [id](Pool::connection).
///
/// Cheap to clone and usable from any thread. It does not keep the connection open.
///
/// Type parameter: the connection's [`Protocol`], or `Bytes` for a connection of any kind.
pub struct ConnectionRef<P> {
    registry: Arc<Registry>,
    state: Arc<ConnectionState>,
    replies: PhantomData<fn(P)>,
}

impl<P> ConnectionRef<P> {
    fn new(registry: Arc<Registry>, state: Arc<ConnectionState>) -> Self {
        ConnectionRef { registry, state, replies: PhantomData }
    }

    /// The connection's id.
    pub fn id(&self) -> ConnectionId {
        self.state.id()
    }

    /// The connection's outbox.
    pub fn outbox(&self) -> Outbox<P> {
        Outbox::new(self.registry.clone(), self.state.clone())
    }

    /// The numbers of the connection, also of one that has ended: then nothing is unsent, and its age goes on.
    /// [`Protocol::closed`] receives the final ones.
    pub fn info(&self) -> ConnectionInfo {
        self.registry.info(&self.state)
    }

    /// The names that the connection has [registered](Conn::register), in the order of registration. Empty once it is closing.
    pub fn names(&self) -> Vec<Arc<str>> {
        let Some(pool) = self.pool().filter(|_| !self.state.is_ending()) else { return Vec::new() };
        let is_owner = |own: &&Registration| pool.names().get(own.name()).is_some_and(|owner| ptr::eq(&*owner, *own));
        self.groups(|own: &Registration| Some(own).filter(is_owner).map(Registration::name).cloned())
    }

    /// The topics of its pool in which the connection is a member, in the order in which it joined them. Empty once it is
    /// closing.
    ///
    /// The time that this takes depends on the number of these topics and names, not on that of the members or of all topics.
    pub fn topics(&self) -> Vec<Arc<str>> {
        let Some(pool) = self.pool().filter(|_| !self.state.is_closing()) else { return Vec::new() };
        self.groups(|topic: &TopicState| Some(topic.name()).filter(|_| topic.is_of(pool.topics())).cloned())
    }

    /// What `name` returns for the groups of this type.
    fn groups<G: 'static>(&self, name: impl Fn(&G) -> Option<Arc<str>>) -> Vec<Arc<str>> {
        let groups = self.state.list_groups();
        groups.iter().filter_map(|group| (&**group as &dyn Any).downcast_ref().and_then(&name)).collect()
    }

    /// The state of the pool, as long as it exists.
    fn pool(&self) -> Option<Arc<PoolState>> {
        self.registry.shared().pool().and_then(|pool| pool.downcast().ok())
    }

    /// Ends the connection at once, as [`Pool::kill`] does. Returns false if it was killed before or has ended.
    pub fn kill(&self) -> bool {
        self.registry.find(self.id()).is_some() && self.registry.kill(&self.state)
    }
}

impl<P> ConnectionRef<P> {
    /// Ends the connection at once with [`Closed::Replaced`](crate::Closed::Replaced), as [`Conn::register_replacing`] does with
    /// the former owner of a name. For programs that keep names of their own. Returns false if it was killed before or has
    /// ended.
    pub fn end_as_replaced(&self) -> bool {
        self.registry.find(self.id()).is_some() && self.state.end(CloseReason::Replaced)
    }
}

impl<P: Protocol> ConnectionRef<P> {
    /// The address of the connection's actor. `None` if the connection has ended, or its actor has not been started yet.
    pub fn address(&self) -> Option<Addr<Connection<P>>> {
        self.state.address()
    }

    /// Sends a reply through the [outbox](ConnectionRef::outbox).
    ///
    /// # Errors
    /// The same as those of [`Outbox::send`].
    pub fn send(&self, reply: impl Into<P::Reply>) -> Result<(), OutboxError<P::Reply>> {
        self.outbox().send(reply)
    }

    /// Closes the connection gracefully, as [`Pool::close`] does. Returns false if it has ended or is being killed. Its names are
    /// free when this method returns.
    pub fn close(&self, last_reply: Option<P::Reply>, grace: Duration) -> bool {
        let last_reply = last_reply.map(|reply| LastReply::Reply(Box::new(reply)));
        self.registry.request_close(&self.state, last_reply, grace)
    }
}

impl ConnectionRef<Bytes> {
    /// Sends bytes through the [outbox](ConnectionRef::outbox), as they are.
    ///
    /// # Errors
    /// The same as those of [`Outbox::send`].
    pub fn send(&self, bytes: impl Into<Bytes>) -> Result<(), OutboxError<Bytes>> {
        self.outbox().send(bytes)
    }

    /// Closes the connection gracefully, as [`PoolHandle::close`](Pool::close) does: `last_bytes` are sent last, as they are.
    /// Returns false if it has ended or is being killed. Its names are free when this method returns.
    pub fn close(&self, last_bytes: Option<Bytes>, grace: Duration) -> bool {
        let last_reply = last_bytes.map(|bytes| LastReply::Encoded(own(bytes)));
        self.registry.request_close(&self.state, last_reply, grace)
    }
}

impl<A> Pool<A> {
    /// All registered names, sorted.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.shared.names().list()
    }

    pub(super) fn state_of(&self, id: ConnectionId) -> Option<Arc<ConnectionState>> {
        self.shared.registries().find(id)
    }

    /// A live connection and its registry.
    pub(super) fn find_connection(&self, id: ConnectionId) -> Option<(Arc<Registry>, Arc<ConnectionState>)> {
        let registries = self.shared.registries().all();
        registries.into_iter().find_map(|registry| registry.find(id).map(|connection| (registry, connection)))
    }

    fn connection_ref<P>(&self, id: ConnectionId) -> Option<ConnectionRef<P>> {
        self.find_connection(id).map(|(registry, state)| ConnectionRef::new(registry, state))
    }

    fn owner<P>(&self, name: &str) -> Option<ConnectionRef<P>> {
        let registration = self.shared.names().get(name)?;
        Some(ConnectionRef::new(registration.registry.clone(), registration.state.clone()))
    }
}

impl<P: Protocol> ConnectionRef<P> {
    /// Whether the connection has this protocol.
    fn is_of_protocol(&self) -> bool {
        self.state.kind().actor == TypeId::of::<Connection<P>>()
    }
}

impl<P: Protocol> Pool<Connection<P>> {
    /// The connection with this id. `None` if it has ended, or has another protocol.
    pub fn connection(&self, id: ConnectionId) -> Option<ConnectionRef<P>> {
        self.connection_ref(id).filter(ConnectionRef::is_of_protocol)
    }

    /// The connection that has [registered](Conn::register) this name. `None` if the name is free, or if its owner has another
    /// protocol; the [untyped](Pool::untyped) handle finds that one.
    pub fn whereis(&self, name: impl AsRef<str>) -> Option<ConnectionRef<P>> {
        self.owner(name.as_ref()).filter(ConnectionRef::is_of_protocol)
    }
}

impl Pool<Untyped> {
    /// The connection with this id, to send bytes to. `None` if it has ended.
    pub fn connection(&self, id: ConnectionId) -> Option<ConnectionRef<Bytes>> {
        self.connection_ref(id)
    }

    /// The connection that has registered this name, to send bytes to. `None` if the name is free.
    pub fn whereis(&self, name: impl AsRef<str>) -> Option<ConnectionRef<Bytes>> {
        self.owner(name.as_ref())
    }
}

impl ConnectionGuard {
    /// The state of the connection's pool.
    pub(super) fn pool(&self) -> Arc<PoolState> {
        let pool = self.registry().shared().pool().and_then(|pool| pool.downcast().ok());
        pool.expect("a pool's state lives as long as its connections")
    }
}

impl<P: Protocol> Conn<P> {
    /// The pool of this connection.
    pub fn pool(&self) -> Pool<Connection<P>> {
        Pool::new(self.guard.pool())
    }

    /// Registers a name for this connection, by which [`Pool::whereis`] finds it. A name has at most one owner in the pool at
    /// any time.
    ///
    /// A connection may have several names. It keeps each until [`unregister`](Conn::unregister), or until it begins to close or
    /// is asked to by [`Pool::close`], whatever the reason. Registering a name again has no effect, nor has registering one once
    /// the connection is closing. If peers choose the names, limit their number and length.
    ///
    /// # Errors
    /// [`NameTaken`] if another connection has the name.
    pub fn register(&mut self, name: impl AsRef<str>) -> Result<(), NameTaken> {
        self.guard.register(self.guard.pool().names(), name.as_ref())
    }

    /// Registers a name as [`register`](Conn::register) does, and takes it over if another connection has it. That connection
    /// ends at once with [`Closed::Replaced`](crate::Closed::Replaced), whatever it is doing; its unsent bytes are lost.
    ///
    /// Its [`closed`](Protocol::closed) may run on another thread after the callback of this connection has returned. A `closed`
    /// that announces the end of a name should therefore not do so for `Closed::Replaced`.
    ///
    /// The former owner gets no last reply. To send one, [close](ConnectionRef::close) it first, which releases its names:
    ///
    /// ```
    /// # use actix_acceptor::{Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use std::time::Duration;
    /// # struct Guest;
    /// # impl Protocol for Guest {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, name: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///     let name = String::from_utf8_lossy(&name);
    ///     if let Some(former) = conn.pool().whereis(&*name) {
    ///         former.close(Some("you have logged in elsewhere".into()), Duration::from_secs(1));
    ///     }
    ///     conn.register_replacing(&*name);
    ///     Next::send("welcome")
    /// }
    /// # }
    /// # use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    /// # actix_rt::System::new().block_on(async {
    /// # use actix_acceptor::AcceptorPool;
    /// # let pool = AcceptorPool::with_protocol(|_| Guest).framing(Framing::lines()).bind("127.0.0.1:0").await?;
    /// # let address = pool.local_addr().expect("TCP");
    /// # let connect = || async { tokio::net::TcpStream::connect(address).await.map(BufReader::new) };
    /// # let (mut first, mut second, mut line) = (connect().await?, connect().await?, String::new());
    /// # first.write_all(b"ann\n").await?;
    /// # first.read_line(&mut line).await?;
    /// # second.write_all(b"ann\n").await?;
    /// # first.read_to_string(&mut line).await?;
    /// # assert_eq!(line, "welcome\nyou have logged in elsewhere\n");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn register_replacing(&mut self, name: impl AsRef<str>) {
        self.guard.register_replacing(self.guard.pool().names(), name.as_ref());
    }

    /// Releases a name. Returns false if this connection does not have it.
    pub fn unregister(&mut self, name: impl AsRef<str>) -> bool {
        self.guard.unregister(self.guard.pool().names(), name.as_ref())
    }
}

impl<P> Clone for ConnectionRef<P> {
    fn clone(&self) -> Self {
        ConnectionRef::new(self.registry.clone(), self.state.clone())
    }
}

impl<P> fmt::Debug for ConnectionRef<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionRef").field("id", &self.id()).finish_non_exhaustive()
    }
}
