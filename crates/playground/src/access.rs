//! How the console reaches a connection, whatever is behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::prelude::*;
use actix_acceptor::{Connection, ConnectionContext, ConnectionId, Framing, Next, Pool, Reply, User};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::actor::EchoActor;
use crate::doors::Watched;
use crate::session::Order;

pub trait Reach: Send + Sync {
    /// Sends a packet to a connection. False if it is gone.
    fn send(&self, id: ConnectionId, packet: Bytes) -> bool;

    /// Sends a packet to all; how many took it.
    fn broadcast(&self, packet: Bytes) -> usize;

    /// Asks a connection how many packets it has had. `None` if it is gone.
    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>>;

    /// Something that sends a connection so many messages which it does not answer. `None` if it is gone.
    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>>;

    /// New connections cut their packets by this one. Where this program cuts them itself it asks its options.
    fn set_framing(&self, _: Framing) {}
}

/// The question for the number of packets.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "u64")]
pub struct HowMany;

impl<P: Watched> Handler<HowMany> for Connection<P> {
    type Result = u64;

    fn handle(&mut self, _: HowMany, ctx: &mut ConnectionContext<P>) -> u64 {
        self.with(ctx, |me, _| (me.packets(), Next::Continue))
    }
}

/// With callbacks: the connection is an actor.
impl<P: Watched> Reach for Pool<Connection<P>> {
    fn send(&self, id: ConnectionId, packet: Bytes) -> bool {
        self.find(id).map(|address| address.do_send(Reply(packet))).is_some()
    }

    fn broadcast(&self, packet: Bytes) -> usize {
        self.broadcast(packet).map_or(0, |delivered| delivered.delivered)
    }

    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>> {
        ask(self.find(id))
    }

    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>> {
        let address = self.find(id)?;
        Some(Box::new(move || (0..messages).for_each(|_| address.do_send(User(P::nothing())))))
    }

    fn set_framing(&self, framing: Framing) {
        Pool::set_framing(self, framing);
    }
}

fn ask<A>(address: Option<Addr<A>>) -> LocalBoxFuture<'static, Option<u64>>
where
    A: Actor + Handler<HowMany>,
    A::Context: actix::dev::ToEnvelope<A, HowMany>,
{
    Box::pin(async move { address?.send(HowMany).await.ok() })
}

/// An actor of one's own: its own messages.
impl Reach for Pool<EchoActor> {
    fn send(&self, id: ConnectionId, packet: Bytes) -> bool {
        self.find(id).map(|address| address.do_send(Order::Send(packet))).is_some()
    }

    fn broadcast(&self, packet: Bytes) -> usize {
        let all = self.addresses().into_iter();
        all.filter(|(_, address)| address.try_send(Order::Send(packet.clone())).is_ok()).count()
    }

    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>> {
        ask(self.find(id))
    }

    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>> {
        let address = self.find(id)?;
        Some(Box::new(move || (0..messages).for_each(|_| address.do_send(Order::Nothing))))
    }
}

/// Behind an async fn there is no actor: this one keeps a channel to each.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Channels>>);

type Channels = BTreeMap<ConnectionId, mpsc::UnboundedSender<Order>>;

impl Registry {
    /// A channel to this connection, as long as the place is kept.
    pub fn enter(&self, id: ConnectionId) -> (mpsc::UnboundedReceiver<Order>, Place) {
        let (orders, taken) = mpsc::unbounded_channel();
        self.channels().insert(id, orders);
        (taken, Place { id, registry: self.clone() })
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, id: ConnectionId, order: Order) -> bool {
        self.channels().get(&id).is_some_and(|orders| orders.send(order).is_ok())
    }
}

/// A connection's entry in the registry.
pub struct Place {
    id: ConnectionId,
    registry: Registry,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.channels().remove(&self.id);
    }
}

impl Reach for Registry {
    fn send(&self, id: ConnectionId, packet: Bytes) -> bool {
        self.order(id, Order::Send(packet))
    }

    fn broadcast(&self, packet: Bytes) -> usize {
        self.channels().values().filter(|orders| orders.send(Order::Send(packet.clone())).is_ok()).count()
    }

    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>> {
        let (answer, count) = oneshot::channel();
        let asked = self.order(id, Order::Ask(answer));
        Box::pin(async move { count.await.ok().filter(|_| asked) })
    }

    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>> {
        let orders = self.channels().get(&id)?.clone();
        Some(Box::new(move || (0..messages).for_each(|_| drop(orders.send(Order::Nothing)))))
    }
}
