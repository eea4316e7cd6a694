//! The handle that knows what is behind each connection, and reaches it.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use actix::prelude::SendError as MailboxError;
use actix::prelude::*;
use actix::WeakAddr;
use bytes::BytesMut;
use tokio_util::codec::Encoder;

use super::{PoolHandle, PoolState};
use crate::connection::{Connection, Encoded, User};
use crate::connection::{EncodeOnce, Protocol, SendError, SharedFactory};
use crate::registry::ConnectionState;
use crate::telemetry::ConnectionId;

/// A [`PoolHandle`] that knows the actor behind each connection.
pub struct Pool<A> {
    handle: PoolHandle,
    actor: PhantomData<fn() -> A>,
}

impl<A: 'static> Pool<A> {
    pub(crate) fn new(shared: Arc<PoolState>) -> Self {
        Pool { handle: PoolHandle { shared }, actor: PhantomData }
    }

    /// What the handler may replace while the pool runs; `None` once the pool has ended.
    pub(crate) fn handler<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.shared.handler()
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
        self.connections().iter().filter_map(|entry| Some((entry.id(), address(entry)?))).collect()
    }

    fn connections(&self) -> Vec<Arc<ConnectionState>> {
        let mut all: Vec<_> =
            self.shared.registries().all().iter().flat_map(|registry| registry.connections()).collect();
        all.sort_by_key(|entry| entry.id());
        all
    }

    fn deliver(&self, send: impl Fn(&Addr<A>) -> Delivery) -> BroadcastReport {
        let mut delivered = BroadcastReport::default();
        for entry in self.connections() {
            match entry.with_sender(|| address::<A>(&entry), &send) {
                Some(Delivery::Taken) => delivered.delivered += 1,
                Some(Delivery::Full) => delivered.full.push(entry.id()),
                Some(Delivery::Gone) | None => {}
            }
        }
        delivered
    }
}

/// An entry keeps the weak address of a connection, and the strong one of an actor that nobody else may hold.
fn address<A: Actor>(entry: &ConnectionState) -> Option<Addr<A>> {
    let any = entry.address()?;
    match any.downcast_ref::<WeakAddr<A>>() {
        Some(weak) => weak.upgrade(),
        None => any.downcast_ref::<Addr<A>>().cloned(),
    }
}

enum Delivery {
    Taken,
    Full,
    Gone,
}

impl<M> From<Result<(), MailboxError<M>>> for Delivery {
    fn from(sent: Result<(), MailboxError<M>>) -> Self {
        match sent {
            Ok(()) => Delivery::Taken,
            Err(MailboxError::Full(_)) => Delivery::Full,
            Err(MailboxError::Closed(_)) => Delivery::Gone,
        }
    }
}

/// How a message to all connections was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastReport {
    /// How many mailboxes took it.
    pub delivered: usize,
    /// Connections whose mailbox was full: they did not get it.
    pub full: Vec<ConnectionId>,
}

impl<P: Protocol> Pool<Connection<P>> {
    /// Sends a reply to every connection, encoded once for all.
    ///
    /// # Errors
    /// [`SendError::TooLong`] when the reply does not fit its length prefix, [`SendError::Closed`] when the pool is over, else
    /// what the codec says; then nothing is sent.
    ///
    /// # Panics
    /// As the codec does.
    pub fn broadcast(&self, reply: P::Reply) -> Result<BroadcastReport, SendError>
    where
        P::Codec: EncodeOnce,
    {
        let mut wire = BytesMut::new();
        let factory = self.handler::<SharedFactory<P>>().ok_or(SendError::Closed)?;
        let mut codec = (factory.current().codec)();
        codec.encode(reply, &mut wire).map_err(|error| SendError::from_codec(error.into()))?;
        let wire = wire.freeze();
        Ok(self.deliver(|address| address.try_send(Encoded(wire.clone())).into()))
    }

    /// Sends a message to the protocol of every connection; a copy each, so the messages are [`Clone`].
    pub fn notify_all(&self, message: P::User) -> BroadcastReport
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
