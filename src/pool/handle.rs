//! [`Pool`], the handle of a pool, and its methods that do not depend on the type of the connections.
//!
//! Methods that are not `async` read [`PoolState`] and return at once. The others send a message to the [`AcceptorPool`]
//! actor, or wait on a channel of the state. [`typed`](super::typed) adds the methods that reach the connections' actors.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::listeners::SetListeners;
use super::reconfigure::ChangeSettings;
use super::suspend::{Resume, Suspend};
use super::{AcceptorPool, Drain, DrainReport, ListenerInfo, ListenersChanged, PoolInfo, PoolState, Status, Stop};
use crate::acceptor::Acceptor;
use crate::config::{Changed, Settings, SettingsPatch, SuspendMode};
use crate::error::{PoolError, SettingsError, StartError, SuspendError, WaitError};
use crate::listener::Listener;
use crate::net::Address;
use crate::registry::ConnectionInfo;
use crate::telemetry::ConnectionId;

/// A handle to a running pool: cheap to clone, usable from any thread. Dropping it does not stop the pool.
///
/// `A` is the actor behind each connection: [`Connection<P>`](crate::Connection) for
/// [`with_protocol`](AcceptorPool::with_protocol), [`with_codec`](AcceptorPool::with_codec) and
/// [`with_events`](AcceptorPool::with_events), the user's actor for [`with_actor`](AcceptorPool::with_actor), and
/// [`NoActor`](crate::handlers::NoActor) for [`with_fn`](AcceptorPool::with_fn). It determines which methods for reaching
/// connections exist, and, in a pool with [several protocols](Listener::service), which connections they reach: `find`,
/// `addresses`, `connection`, `whereis`, `close`, `broadcast`, `send_to` and `notify_all` those with the protocol of the handle. All
/// other methods exist for every `A`, including [`Untyped`], and are about the whole pool. To publish, broadcast or send to sockets of
/// `with_fn` and `with_actor`, or to close them, use the handle that [`untyped`](Pool::untyped) returns.
/// Methods that are not `async` return without waiting for an actor.
///
/// ```
/// use actix_acceptor::{AcceptorPool, Pool, Socket};
///
/// fn is_full<A>(pool: &Pool<A>) -> bool {
///     pool.connections() >= pool.info().max_connections
/// }
///
/// # actix_rt::System::new().block_on(async {
/// let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
/// assert!(!is_full(&pool));
/// assert!(!is_full(&pool.untyped()));
/// # pool.stop(None).await;
/// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
/// ```
pub struct Pool<A = Untyped> {
    pub(super) shared: Arc<PoolState>,
    actor: PhantomData<fn() -> A>,
}

/// The actor type of a [`Pool`] whose connections' actor is not known. It has no values.
#[derive(Debug)]
pub enum Untyped {}

/// A [`Pool`] whose connections' actor is not known. Returned by [`AcceptorPool::find`] and [`Pool::untyped`].
/// [`typed`](Pool::typed) converts it to a typed one.
pub type PoolHandle = Pool<Untyped>;

impl<A> Pool<A> {
    /// `A` must be the type recorded in the state, or [`Untyped`].
    pub(crate) fn new(shared: Arc<PoolState>) -> Self {
        Pool { shared, actor: PhantomData }
    }

    /// The pool's name: the one given to [`Builder::name`](crate::Builder::name), else its first address.
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// The addresses that the pool listens on. If port 0 was requested, with the port that the system chose.
    ///
    /// While the pool is suspended with [`SuspendMode::Close`], the addresses that [`resume`](Pool::resume) opens again.
    pub fn local_addrs(&self) -> Vec<Address> {
        self.shared.addresses()
    }

    /// The listeners, with their names and limits, also while the pool is suspended. Empty once the listening sockets are
    /// closed permanently.
    pub fn listeners(&self) -> Vec<ListenerInfo> {
        self.shared.listeners()
    }

    /// The IP address and port of the first listener that has them.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addrs().iter().find_map(Address::socket)
    }

    /// The number of live connections.
    pub fn connections(&self) -> usize {
        self.shared.registries().live()
    }

    /// Counters and state of the pool.
    pub fn info(&self) -> PoolInfo {
        self.shared.info()
    }

    /// Every live connection, in the order of acceptance.
    pub fn list(&self) -> Vec<ConnectionInfo> {
        let registries = self.shared.registries();
        let mut list = Vec::with_capacity(registries.live());
        registries.all().iter().for_each(|registry| registry.append_infos(&mut list));
        // Each registry's part is sorted: this merges them.
        list.sort_by_key(|connection| connection.id);
        list
    }

    /// The numbers of one connection. They are read without a message to its actor, so this also works while the connection
    /// waits or is above the high-water mark. `None` if there is no connection with this id.
    pub fn connection_info(&self, id: ConnectionId) -> Option<ConnectionInfo> {
        self.find_connection(id).map(|(registry, connection)| registry.info(&connection))
    }

    /// Ends a connection at once with [`Closed::Killed`]. Queued bytes are not sent. Returns `false` if there is no
    /// connection with this id, or if it was killed before and is about to end. [`Pool::close`] sends the queued bytes first.
    ///
    /// In a pool made by [`with_actor`](AcceptorPool::with_actor), the reads and writes of the `Socket` fail, and
    /// `draining()` resolves. An actor that uses none of them keeps its socket until it does.
    ///
    /// [`Closed::Killed`]: crate::Closed::Killed
    pub fn kill(&self, id: ConnectionId) -> bool {
        self.find_connection(id).is_some_and(|(registry, connection)| registry.kill(&connection))
    }

    /// The addresses of the acceptors that are running.
    pub fn acceptors(&self) -> Vec<Addr<Acceptor>> {
        self.shared.acceptor_addresses()
    }

    /// Exempts a connection from the limits on the number of connections, as ranch's `remove_connection`. It stays open
    /// and no longer counts: neither for the pool and the listener, nor for its peer
    /// ([`max_per_peer`](crate::Builder::max_per_peer)). Calling it again has no effect. Returns `false` if there is no
    /// connection with this id.
    pub fn exempt(&self, id: ConnectionId) -> bool {
        let connection = self.state_of(id);
        connection.map(|connection| connection.exempt()).is_some()
    }

    /// The state of the pool.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Whether the pool accepts connections: the answer to a load balancer's readiness check.
    pub fn is_ready(&self) -> bool {
        self.status() == Status::Running
    }

    /// Stops the pool: closes the listening sockets, notifies **all** connections at the same moment, and ends those that
    /// are still alive after `grace`.
    ///
    /// When it returns, the threads of the pool have ended. It waits at most 1 second for threads that user code blocks: with a
    /// closure of [`Conn::blocking`](crate::Conn::blocking), or in the `drop` of a value on an arbiter.
    ///
    /// With `None`, it waits for connections without a limit. [`Duration::ZERO`] is the same as [`Drain::immediate`]. For
    /// other options, use [`drain`](Pool::drain).
    pub async fn stop(&self, grace: impl Into<Option<Duration>>) -> DrainReport {
        self.drain(Drain::grace(grace)).await
    }

    /// Drains the pool, and returns a report once it has ended.
    ///
    /// 1. [`is_ready`](Pool::is_ready) returns `false` from now on. If a delay is set, it passes.
    /// 2. The acceptors handle the peers in the kernel's queue as set by [`Builder::backlog_on_close`], and the listening
    ///    sockets close. The kernel refuses later peers.
    /// 3. All connections are notified at the same moment, with the deadline, by
    ///    [`Protocol::shutdown`](crate::Protocol::shutdown) or [`Socket::draining`](crate::Socket::draining).
    /// 4. At the deadline the remaining connections are stopped; their queued bytes are sent first. Half a second later
    ///    they are aborted.
    ///
    /// A second call during a drain cuts its delay short. It can make the deadline earlier, but not later. Each call returns
    /// when the pool has ended.
    ///
    /// If a connection of this pool awaits it, in [`Conn::wait`](crate::Conn::wait) or an async fn, it returns when all other
    /// connections have ended or await it as well. An actor of [`with_actor`](AcceptorPool::with_actor) that awaits it is
    /// ended only at the deadline, so set one.
    ///
    /// [`Builder::backlog_on_close`]: crate::Builder::backlog_on_close
    pub async fn drain(&self, drain: Drain) -> DrainReport {
        self.shared.stopping.send_replace(true);
        if let Some(pool) = self.shared.supervisor() {
            let _ = pool.send(Stop(drain)).await; // An error means that the pool has ended already.
        }
        self.shared.wait_drained().await;
        self.shared.report()
    }

    /// Waits until the number of live connections satisfies a condition, and returns that number.
    ///
    /// `limit` is the longest time to wait; `None` waits without a limit.
    ///
    /// # Errors
    /// [`WaitError`] when the condition is not met within `limit`, or not before the pool and its last connection have ended.
    ///
    /// # Panics
    /// When the condition panics. With a limit, also outside of a tokio runtime with timers enabled.
    ///
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// # use actix_acceptor::{AcceptorPool, Socket};
    /// # use std::time::Duration;
    /// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// assert_eq!(pool.wait_for(|connections| connections <= 3, None).await, Ok(0));
    /// assert!(pool.wait_for(|connections| connections > 3, Duration::from_millis(1)).await.is_err());
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub async fn wait_for(
        &self,
        condition: impl Fn(usize) -> bool,
        limit: impl Into<Option<Duration>>,
    ) -> Result<usize, WaitError> {
        let met = self.shared.wait_for(condition);
        match limit.into() {
            None => met.await,
            Some(limit) => {
                let timed_out = |_| Err(WaitError { connections: self.connections(), ended: false });
                tokio::time::timeout(limit, met).await.unwrap_or_else(timed_out)
            }
        }
    }

    /// Stops accepting until [`resume`](Pool::resume). Live connections stay open.
    ///
    /// A pool that is suspended in the other mode changes to this one: held ports close once the peers in the kernel's queue
    /// are served, closed ports open again and hold their peers. If the pool is suspended in this mode already, the call has
    /// no effect.
    ///
    /// # Errors
    /// [`SuspendError::Listener`] when a listener cannot be closed, as with transports that cannot be suspended, or cannot be
    /// opened again; the pool then accepts, or stays suspended, as before. [`SuspendError::NotRunning`] when the pool is
    /// draining or has ended.
    pub async fn suspend(&self, mode: SuspendMode) -> Result<(), SuspendError> {
        self.request(Suspend(mode)).await.unwrap_or(Err(SuspendError::NotRunning))
    }

    /// Accepts again after [`suspend`](Pool::suspend), on the same ports as before, even if port 0 was requested.
    ///
    /// # Errors
    /// [`SuspendError::Listener`] when a listener cannot be opened again, for example because another process has taken
    /// the port; then the pool stays suspended. [`SuspendError::NotRunning`] when the pool is draining or has ended.
    pub async fn resume(&self) -> Result<(), SuspendError> {
        self.request(Resume).await.unwrap_or(Err(SuspendError::NotRunning))
    }

    /// The current settings.
    pub fn settings(&self) -> Settings {
        self.shared.settings()
    }

    /// Changes the settings that the patch contains while the pool runs, and returns what changed. The others stay as they
    /// are. [`Settings`] lists which take effect at once and which for new connections.
    ///
    /// The resulting settings are validated as a whole, and either all or none are changed.
    ///
    /// # Errors
    /// The same as those of [`change`](Pool::change).
    ///
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// # use actix_acceptor::{AcceptorPool, SettingsPatch, Socket};
    /// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// let mut patch = SettingsPatch::default();
    /// patch.max_connections = Some(100);
    /// patch.grace = Some(None);
    ///
    /// let changed = pool.apply(patch).await?;
    /// assert_eq!(changed.to_string(), "grace: 5s -> never, max_connections: 16384 -> 100");
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub async fn apply(&self, patch: SettingsPatch) -> Result<Changed, SettingsError> {
        self.change(move |settings| drop(settings.apply(patch))).await
    }

    /// Changes settings while the pool runs, and returns what changed. They are validated as a whole, and either all or none
    /// are changed. [`Settings`] lists which take effect at once and which for new connections.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] names every setting that is invalid. [`SettingsError::NotRunning`] when the pool is
    /// draining or has ended.
    ///
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// # use actix_acceptor::{error::SettingsError, AcceptorPool, Socket};
    /// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// pool.change(|settings| {
    ///     settings.max_connections = 100;
    ///     settings.idle_timeout = None;
    /// })
    /// .await?;
    /// assert_eq!(pool.settings().max_connections, 100);
    ///
    /// let rejected = pool.change(|settings| {
    ///     settings.max_connections = 0;
    ///     settings.max_per_peer = Some(10);
    /// });
    /// match rejected.await {
    ///     Err(SettingsError::Invalid(invalid)) => assert_eq!(invalid[0].setting, "max_connections"),
    ///     other => panic!("{other:?}"),
    /// }
    /// assert_eq!(pool.settings().max_per_peer, None);
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub async fn change(&self, change: impl FnOnce(&mut Settings) + Send + 'static) -> Result<Changed, SettingsError> {
        self.request(ChangeSettings(Box::new(change))).await.unwrap_or(Err(SettingsError::NotRunning))
    }

    /// Replaces the listeners: opens the new ones, all or none, then closes those that are not in the list. Live connections
    /// stay open. Returns what changed once the old ones are closed, so that their addresses can be used again; if an
    /// acceptor's arbiter is blocked, after 1 second.
    ///
    /// A listener whose address is in the list stays open, and no peer is refused meanwhile. New connections get the name,
    /// limit, handshake steps and socket options of the list, or the defaults for those that are not set; live connections
    /// keep theirs. A lower limit ends no connection. A new [`on_bind`](Listener::on_bind) hook is called with the open
    /// socket.
    ///
    /// Port 0 stands for the open listener that has the same IP address and [`name`](Listener::name) and was also requested
    /// with port 0. If there is none, or no name is set, the system chooses another port.
    ///
    /// # Errors
    /// See [`StartError`]. On an error nothing has changed, except by hooks.
    ///
    /// [`StartError::InvalidSetting`] names the listener and a setting that cannot change while its socket is open:
    /// [`reuse_port`](Listener::reuse_port), [`reuse_port_per_acceptor`](Listener::reuse_port_per_acceptor),
    /// [`multipath_tcp`](Listener::multipath_tcp) and [`only_v6`](Listener::only_v6). Some settings can get other values but not be
    /// removed once they are set: the hook `on_bind`, the buffer sizes of TCP, and the interval and retries of
    /// [`keepalive`](Listener::keepalive). An address that is in the list twice is an error, too.
    pub async fn set_listeners(&self, listeners: Vec<Listener>) -> Result<ListenersChanged, StartError> {
        self.request(SetListeners(listeners)).await.unwrap_or(Err(StartError::ListenerClosed))
    }

    /// Sends a message to the pool's actor; `None` if the actor has ended.
    pub(crate) async fn request<M>(&self, message: M) -> Option<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        AcceptorPool: Handler<M>,
    {
        self.shared.supervisor()?.send(message).await.ok()
    }

    /// Waits until the pool has ended.
    ///
    /// # Errors
    /// [`PoolError`] when the pool ended without a call that stops it.
    pub async fn stopped(&self) -> Result<(), PoolError> {
        self.shared.wait_ended().await
    }

    /// Converts to a handle typed by the actor behind the connections. `None` if no service of the pool, now or before, has this
    /// actor; see [`Pool`].
    ///
    /// In a pool with [several protocols](Listener::service), there is a handle for each of them.
    pub fn typed<B: 'static>(&self) -> Option<Pool<B>> {
        self.shared.has_actor(TypeId::of::<B>()).then(|| Pool::new(self.shared.clone()))
    }

    /// Converts to an untyped handle, for example to store handles of different pools in one collection.
    pub fn untyped(&self) -> PoolHandle {
        Pool::new(self.shared.clone())
    }
}

impl<A> Clone for Pool<A> {
    fn clone(&self) -> Self {
        Pool::new(self.shared.clone())
    }
}

/// Handles are equal if they are of the same pool.
impl<A> PartialEq for Pool<A> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<A> Eq for Pool<A> {}

impl<A> fmt::Debug for Pool<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.name()).field("status", &self.status()).finish_non_exhaustive()
    }
}
