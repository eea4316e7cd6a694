//! What the rest of the program holds of a pool.

use std::any::TypeId;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::reconfigure::{ChangeSettings, SetListeners};
use super::suspend::{Resume, Suspend};
use super::{
    names, AcceptorPool, Drain, DrainReport, ListenerInfo, Pool, PoolInfo, PoolState, Status, Stop, SuspendMode,
};
use crate::acceptor::Acceptor;
use crate::config::Settings;
use crate::error::{PoolError, SettingsError, StartError, SuspendError, WaitError};
use crate::listener::Listener;
use crate::net::Address;
use crate::registry::{ConnectionInfo, ConnectionState, Signals};
use crate::telemetry::ConnectionId;

/// A pool as the rest of the program holds it: a cheap clone; dropping it stops nothing.
///
/// What is no `async fn` answers at once, from any thread, without asking any actor. [`Pool`] adds what needs to know the connections' type.
#[derive(Clone)]
pub struct PoolHandle {
    pub(super) shared: Arc<PoolState>,
}

impl PoolHandle {
    /// The pool's name: the one given to [`Builder::name`](crate::Builder::name), else its first address.
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// What is listened on, with the real port where port 0 was asked for.
    pub fn local_addrs(&self) -> Vec<Address> {
        self.shared.addrs()
    }

    /// The listeners, with their names and limits; none once the ports are closed.
    pub fn listeners(&self) -> Vec<ListenerInfo> {
        self.shared.listeners()
    }

    /// The IP address and port of the first listener that has them.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addrs().iter().find_map(Address::socket)
    }

    /// How many connections are alive.
    pub fn connections(&self) -> usize {
        self.shared.registries().live()
    }

    /// The pool in numbers.
    pub fn info(&self) -> PoolInfo {
        self.shared.info()
    }

    /// Every live connection, in the order of acceptance.
    pub fn list(&self) -> Vec<ConnectionInfo> {
        let of = |registry: &Arc<crate::registry::Registry>| {
            let entries = registry.connections();
            entries.iter().map(|entry| registry.info(entry)).collect::<Vec<_>>()
        };
        let mut list: Vec<_> = self.shared.registries().all().iter().flat_map(of).collect();
        list.sort_by_key(|connection| connection.id);
        list
    }

    /// Ends a connection at once, whatever it is doing, without sending what is queued: [`Closed::Killed`]. False if there
    /// is none of that number.
    ///
    /// Behind the door `start` the order acts in the `Socket`: its reads and writes fail, and `draining()` resolves. An actor
    /// that does none of these keeps its socket until it does.
    ///
    /// [`Closed::Killed`]: crate::Closed::Killed
    pub fn kill(&self, id: ConnectionId) -> bool {
        let entry = self.entry(id);
        entry.map(|entry| entry.signal(Signals::KILL)).is_some()
    }

    /// The acceptors at work at this moment.
    pub fn acceptors(&self) -> Vec<Addr<Acceptor>> {
        self.shared.acceptor_addresses()
    }

    /// Takes a connection off the limits on the number of connections, ranch's `remove_connection`: it lives on and does
    /// not count any more. Twice is once. False if there is none of that number.
    pub fn exempt(&self, id: ConnectionId) -> bool {
        let entry = self.entry(id);
        entry.map(|entry| entry.exempt()).is_some()
    }

    /// What the pool is doing.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Whether the pool takes peers: what a load balancer wants to know.
    pub fn is_ready(&self) -> bool {
        self.status() == Status::Running
    }

    /// Stops the pool: the ports close, **all** connections are told at the same moment, and those that have not ended
    /// within `grace` are ended. `None` waits for ever; [`Duration::ZERO`] is [`Drain::immediate`]. Short for
    /// [`drain`](PoolHandle::drain).
    pub async fn stop(&self, grace: impl Into<Option<Duration>>) -> DrainReport {
        self.drain(Drain::grace(grace)).await
    }

    /// Ends the pool in order, and says how it went.
    ///
    /// Readiness goes off, and the delay passes, if there is one. Then the acceptors take what the kernel has queued, and
    /// the ports close: what comes after that the kernel refuses. All connections are told in the same moment, with the
    /// deadline, by [`Protocol::shutdown`](crate::Protocol::shutdown) or
    /// [`Socket::draining`](crate::Socket::draining). At the deadline those that are
    /// left are stopped, with what is queued sent first; half a second later they are aborted.
    ///
    /// A second call can only bring the deadline nearer, and ends a delay; each returns when the pool has ended.
    pub async fn drain(&self, drain: Drain) -> DrainReport {
        if let Some(pool) = self.shared.pool() {
            // Unanswered only if the pool is over already.
            let _ = pool.send(Stop(drain)).await;
        }
        let _ = self.shared.ended().await;
        self.shared.report()
    }

    /// Waits until the number of live connections is as it should be, and returns it.
    ///
    /// # Errors
    /// When it is not within the limit; `None` waits for ever.
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
        enough: impl Fn(usize) -> bool,
        limit: impl Into<Option<Duration>>,
    ) -> Result<usize, WaitError> {
        let reached = async {
            loop {
                let mut changed = std::pin::pin!(self.shared.registries().shared().changed.notified());
                changed.as_mut().enable();
                let connections = self.shared.registries().shared().unsettled();
                if enough(connections) {
                    return connections;
                }
                changed.await;
            }
        };
        match limit.into() {
            None => Ok(reached.await),
            Some(limit) => {
                let reached = tokio::time::timeout(limit, reached).await;
                reached.map_err(|_| WaitError { connections: self.connections() })
            }
        }
    }

    /// Keeps new peers off until [`resume`](PoolHandle::resume); connections go on. A second suspension changes nothing,
    /// nor does one of the other kind: resume first.
    ///
    /// # Errors
    /// When a port cannot be closed, as with transports that cannot be suspended: then nothing has changed.
    pub async fn suspend(&self, how: SuspendMode) -> Result<(), SuspendError> {
        self.request(Suspend(how)).await.unwrap_or(Err(SuspendError::NotRunning))
    }

    /// Takes new peers again, on the same ports as before, also where port 0 was asked for.
    ///
    /// # Errors
    /// When a port cannot be opened, because somebody else has taken it: then the pool stays suspended.
    pub async fn resume(&self) -> Result<(), SuspendError> {
        self.request(Resume).await.unwrap_or(Err(SuspendError::NotRunning))
    }

    /// The settings as they are at present.
    pub fn settings(&self) -> Settings {
        self.shared.settings()
    }

    /// Changes settings while the pool runs, several at once: they are checked as a whole, and either all of them are
    /// changed or none. [`Settings`] says which act at once and which with new connections.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] names each setting that would be refused.
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
    /// let refused = pool.change(|settings| {
    ///     settings.max_connections = 0;
    ///     settings.max_per_peer = Some(10);
    /// });
    /// match refused.await {
    ///     Err(SettingsError::Invalid(objections)) => assert_eq!(objections[0].setting, "max_connections"),
    ///     other => panic!("{other:?}"),
    /// }
    /// assert_eq!(pool.settings().max_per_peer, None);
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub async fn change(&self, change: impl FnOnce(&mut Settings) + Send + 'static) -> Result<(), SettingsError> {
        self.request(ChangeSettings(Box::new(change))).await.unwrap_or(Err(SettingsError::NotRunning))
    }

    /// Listens elsewhere: the new ports open, all or none, then those that are not among them close. A listener at an
    /// address that is open already, given as the address itself, stays as it is, with the name, the TLS and the options it
    /// was opened with. Connections go on.
    ///
    /// # Errors
    /// See [`StartError`]: then nothing has changed. One that is open already cannot be given another limit, or TLS where it
    /// had none: [`StartError::InvalidSetting`].
    pub async fn set_listeners(&self, listeners: Vec<Listener>) -> Result<(), StartError> {
        self.request(SetListeners(listeners)).await.unwrap_or(Err(StartError::ListenerClosed))
    }

    /// Asks the pool's actor; `None` if it is gone.
    async fn request<M>(&self, message: M) -> Option<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        AcceptorPool: Handler<M>,
    {
        self.shared.pool()?.send(message).await.ok()
    }

    /// Waits until the pool has ended.
    ///
    /// # Errors
    /// Why it ended, if nobody asked it to: see [`PoolError`].
    pub async fn stopped(&self) -> Result<(), PoolError> {
        self.shared.ended().await
    }

    /// The typed handle, if `A` is the actor behind this pool's connections: [`Connection<P>`](crate::Connection) for the doors `protocol` and
    /// `events`, one's own actor for `start`, [`NoActor`](crate::handlers::NoActor) for `serve`.
    pub fn typed<A: 'static>(&self) -> Option<Pool<A>> {
        (self.shared.actor == TypeId::of::<A>()).then(|| Pool::new(self.shared.clone()))
    }

    pub(super) fn entry(&self, id: ConnectionId) -> Option<Arc<ConnectionState>> {
        self.shared.registries().all().iter().find_map(|registry| registry.find(id))
    }
}

impl AcceptorPool {
    /// The pool of that name in the current actix system. Its handle is untyped: [`PoolHandle::typed`] gives the one that
    /// reaches the connections.
    pub fn find(name: &str) -> Option<PoolHandle> {
        names::find(name).map(|shared| PoolHandle { shared })
    }
}

impl fmt::Debug for PoolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolHandle").field("name", &self.name()).finish_non_exhaustive()
    }
}
