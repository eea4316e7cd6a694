//! What the rest of the program holds of a pool.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::SendError as Undelivered;
use actix::prelude::*;
use actix::WeakAddr;
use bytes::BytesMut;
use tokio_util::codec::Encoder;

use super::{directory, AcceptorPool, PoolInfo, Shared, Stop, StopReport};
use crate::acceptor::Acceptor;
use crate::connection::{Connection, Encoded, User};
use crate::error::PoolError;
use crate::protocol::{Charter, EncodeOnce, Protocol, SendError};
use crate::table::{ConnectionId, ConnectionInfo, Entry, Orders};
use crate::transport::Address;

/// A pool as the rest of the program holds it: a cheap clone; dropping it stops nothing.
///
/// All but [`stop`](PoolHandle::stop) and [`stopped`](PoolHandle::stopped) answer at once, from any thread, without asking
/// any actor. [`Pool`] adds what needs to know the connections' type.
#[derive(Clone)]
pub struct PoolHandle {
    pub(super) shared: Arc<Shared>,
}

impl PoolHandle {
    /// The pool's name: the one given to [`Builder::name`](crate::Builder::name), else its first address.
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// What is listened on, with the real port where port 0 was asked for.
    pub fn local_addrs(&self) -> &[Address] {
        self.shared.addrs()
    }

    /// The IP address and port of the first listener that has them.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addrs().iter().find_map(Address::socket)
    }

    /// How many connections are alive.
    pub fn connections(&self) -> usize {
        self.shared.tables().iter().map(|table| table.live()).sum()
    }

    /// The pool in numbers.
    pub fn info(&self) -> PoolInfo {
        self.shared.info()
    }

    /// Every live connection, in the order of acceptance.
    pub fn list(&self) -> Vec<ConnectionInfo> {
        let of = |table: &Arc<crate::table::Table>| {
            let entries = table.entries();
            entries.iter().map(|entry| table.info(entry, self.shared.listener())).collect::<Vec<_>>()
        };
        let mut list: Vec<_> = self.shared.tables().iter().flat_map(of).collect();
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
        entry.map(|entry| entry.order(Orders::KILL)).is_some()
    }

    /// The acceptors at work at this moment.
    pub fn acceptors(&self) -> Vec<Addr<Acceptor>> {
        self.shared.acceptor_addresses()
    }

    /// Stops the pool: the acceptors go, the port closes, **all** connections are told at the same moment, and those that
    /// have not ended within `grace` are ended. `None` waits for ever; [`Duration::ZERO`] asks nobody.
    ///
    /// What a connection is told is [`Protocol::shutdown`] or [`Socket::draining`](crate::Socket::draining). Peers that
    /// the kernel has queued but no acceptor has taken are reset. A second call can only bring the deadline nearer; each
    /// returns when the pool has ended.
    pub async fn stop(&self, grace: impl Into<Option<Duration>>) -> StopReport {
        if let Some(pool) = self.shared.pool() {
            // Unanswered only if the pool is over already.
            let _ = pool.send(Stop { grace: grace.into() }).await;
        }
        let _ = self.shared.ended().await;
        self.shared.report()
    }

    /// Waits until the pool has ended.
    ///
    /// # Errors
    /// Why it ended, if nobody asked it to: see [`PoolError`].
    pub async fn stopped(&self) -> Result<(), PoolError> {
        self.shared.ended().await
    }

    /// The typed handle, if `A` is the actor behind this pool's connections: [`Connection<P>`] for the doors `protocol` and
    /// `events`, one's own actor for `start`, [`Task`](crate::Task) for `serve`.
    pub fn typed<A: 'static>(&self) -> Option<Pool<A>> {
        (self.shared.actor == TypeId::of::<A>()).then(|| Pool { handle: self.clone(), actor: PhantomData })
    }

    fn entry(&self, id: ConnectionId) -> Option<Arc<Entry>> {
        self.shared.tables().iter().find_map(|table| table.find(id))
    }
}

impl AcceptorPool {
    /// The pool of that name in the current actix system. Its handle is untyped: [`PoolHandle::typed`] gives the one that
    /// reaches the connections.
    pub fn find(name: &str) -> Option<PoolHandle> {
        directory::find(name).map(|shared| PoolHandle { shared })
    }
}

impl fmt::Debug for PoolHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolHandle").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// A [`PoolHandle`] that knows the actor behind each connection.
pub struct Pool<A> {
    handle: PoolHandle,
    actor: PhantomData<fn() -> A>,
}

impl<A: 'static> Pool<A> {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Pool { handle: PoolHandle { shared }, actor: PhantomData }
    }

    /// The handle without the type.
    pub fn untyped(&self) -> PoolHandle {
        self.handle.clone()
    }
}

impl<A: Actor> Pool<A> {
    /// The address of a connection.
    pub fn find(&self, id: ConnectionId) -> Option<Addr<A>> {
        address(&*self.entry(id)?)
    }

    /// The addresses of all connections.
    pub fn addresses(&self) -> Vec<(ConnectionId, Addr<A>)> {
        self.entries().iter().filter_map(|entry| Some((entry.id(), address(entry)?))).collect()
    }

    fn entries(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.shared.tables().iter().flat_map(|table| table.entries()).collect();
        all.sort_by_key(|entry| entry.id());
        all
    }

    fn deliver(&self, send: impl Fn(&Addr<A>) -> Outcome) -> Delivered {
        let mut delivered = Delivered::default();
        for entry in self.entries() {
            match entry.speak(|| address::<A>(&entry), &send) {
                Some(Outcome::Taken) => delivered.taken += 1,
                Some(Outcome::Full) => delivered.full.push(entry.id()),
                Some(Outcome::Gone) | None => {}
            }
        }
        delivered
    }
}

/// An entry keeps the weak address of a connection, and the strong one of an actor that nobody else may hold.
fn address<A: Actor>(entry: &Entry) -> Option<Addr<A>> {
    let any = entry.address()?;
    match any.downcast_ref::<WeakAddr<A>>() {
        Some(weak) => weak.upgrade(),
        None => any.downcast_ref::<Addr<A>>().cloned(),
    }
}

enum Outcome {
    Taken,
    Full,
    Gone,
}

impl<M> From<Result<(), Undelivered<M>>> for Outcome {
    fn from(sent: Result<(), Undelivered<M>>) -> Self {
        match sent {
            Ok(()) => Outcome::Taken,
            Err(Undelivered::Full(_)) => Outcome::Full,
            Err(Undelivered::Closed(_)) => Outcome::Gone,
        }
    }
}

/// How a message to all connections was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// How many mailboxes took it.
    pub taken: usize,
    /// Connections whose mailbox was full: they did not get it.
    pub full: Vec<ConnectionId>,
}

impl<P: Protocol> Pool<Connection<P>> {
    /// Sends a reply to every connection, encoded once for all.
    ///
    /// # Errors
    /// [`SendError::TooLong`] when the reply does not fit its length prefix, else what the codec says; then nothing is sent.
    ///
    /// # Panics
    /// As the codec does.
    pub fn send_to_all(&self, reply: P::Reply) -> Result<Delivered, SendError>
    where
        P::Codec: EncodeOnce,
    {
        let mut wire = BytesMut::new();
        if let Some(charter) = self.shared.door.as_ref().and_then(|door| door.downcast_ref::<Charter<P>>()) {
            (charter.codec)().encode(reply, &mut wire).map_err(|error| SendError::from_codec(error.into()))?;
        }
        let wire = wire.freeze();
        Ok(self.deliver(|address| address.try_send(Encoded(wire.clone())).into()))
    }

    /// Sends a message to the protocol of every connection; a copy each, so the messages are [`Clone`].
    pub fn tell_all(&self, message: P::User) -> Delivered
    where
        P::User: Clone,
    {
        self.deliver(|address| address.try_send(User(message.clone())).into())
    }
}

impl<A> Deref for Pool<A> {
    type Target = PoolHandle;

    fn deref(&self) -> &PoolHandle {
        &self.handle
    }
}

impl<A> Clone for Pool<A> {
    fn clone(&self) -> Self {
        Pool { handle: self.handle.clone(), actor: PhantomData }
    }
}

impl<A> fmt::Debug for Pool<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.name()).finish_non_exhaustive()
    }
}
