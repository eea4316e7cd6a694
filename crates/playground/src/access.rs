//! How the console accesses a connection of any handler.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{Connection, ConnectionContext, ConnectionId, Framing, Next, Pool, PoolHandle, User};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use tokio::sync::oneshot;

use crate::actor::EchoActor;
use crate::handlers::{Controllable, ServerConfig};
use crate::messaging::is_accepted;
use crate::session::Command;
use crate::sessions::Sessions;

pub trait ConnectionAccess: Send + Sync {
    /// Sends a packet to a connection. Returns `false` if it is gone.
    fn send(&self, id: ConnectionId, packet: Bytes) -> bool;

    /// Closes a connection in order, with this packet as the last one. Returns `false` if the connection has ended.
    fn close(&self, id: ConnectionId, last: Option<Bytes>, grace: Duration) -> bool;

    /// Sends a packet to all connections. Returns how many accepted it.
    fn broadcast(&self, packet: Bytes) -> usize;

    /// Sends a packet to the members of a topic. Returns how many accepted it.
    fn publish(&self, topic: &str, packet: Bytes) -> usize;

    /// Asks a connection for its number of packets. `None` if it is gone.
    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>>;

    /// A closure that sends `messages` messages without an answer to a connection. `None` if it is gone.
    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>>;

    /// Sets the framing of new connections. Handlers that frame packets themselves read the options instead.
    fn set_framing(&self, _: Framing) {}
}

/// Asks for the number of packets.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "u64")]
pub struct PacketCount;

impl<P: Controllable> Handler<PacketCount> for Connection<P> {
    type Result = u64;

    fn handle(&mut self, _: PacketCount, _: &mut ConnectionContext<P>) -> u64 {
        self.with(|me, _| (me.packets(), Next::Continue))
    }
}

/// Handlers with callbacks: the connection is an actor.
impl<P: Controllable> ConnectionAccess for Pool<Connection<P>> {
    fn send(&self, id: ConnectionId, packet: Bytes) -> bool {
        // Not by a message to its address: those of the mailbox and those of `broadcast` are not ordered.
        let outbox = self.connection(id).map(|connection| connection.outbox());
        outbox.is_some_and(|outbox| is_accepted(&outbox, outbox.send(packet)))
    }

    fn close(&self, id: ConnectionId, last: Option<Bytes>, grace: Duration) -> bool {
        Pool::<Connection<P>>::close(self, id, last, grace)
    }

    fn broadcast(&self, packet: Bytes) -> usize {
        self.broadcast(packet).map_or(0, |delivered| delivered.delivered)
    }

    fn publish(&self, topic: &str, packet: Bytes) -> usize {
        self.topic(topic).publish(packet).members
    }

    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>> {
        ask(self.find(id))
    }

    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>> {
        let address = self.find(id)?;
        Some(Box::new(move || (0..messages).for_each(|_| address.do_send(User(P::no_op())))))
    }

    fn set_framing(&self, framing: Framing) {
        // A pool that has ended has no new connections.
        let _ = Pool::set_framing(self, framing);
    }
}

fn ask<A>(address: Option<Addr<A>>) -> LocalBoxFuture<'static, Option<u64>>
where
    A: Actor + Handler<PacketCount>,
    A::Context: actix::dev::ToEnvelope<A, PacketCount>,
{
    Box::pin(async move { address?.send(PacketCount).await.ok() })
}

/// Handlers that own a socket, which sends bytes as they are: packets are framed here.
pub struct SocketAccess<M> {
    pub pool: PoolHandle,
    pub config: Arc<ServerConfig>,
    pub mailboxes: M,
}

/// How messages reach the connections of such a handler.
pub trait Mailboxes: Send + Sync {
    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>>;

    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>>;
}

impl<M: Mailboxes> ConnectionAccess for SocketAccess<M> {
    fn send(&self, id: ConnectionId, packet: Bytes) -> bool {
        let outbox = self.pool.connection(id).map(|connection| connection.outbox());
        outbox.is_some_and(|outbox| is_accepted(&outbox, outbox.send(self.config.packet_text.encode(packet))))
    }

    fn close(&self, id: ConnectionId, last: Option<Bytes>, grace: Duration) -> bool {
        self.pool.close(id, last.map(|last| self.config.packet_text.encode(last)), grace)
    }

    fn broadcast(&self, packet: Bytes) -> usize {
        self.pool.broadcast(self.config.packet_text.encode(packet)).delivered
    }

    fn publish(&self, topic: &str, packet: Bytes) -> usize {
        self.pool.topic(topic).publish(self.config.packet_text.encode(packet)).members
    }

    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>> {
        self.mailboxes.ask(id)
    }

    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>> {
        self.mailboxes.flood(id, messages)
    }
}

/// The user-defined actor has its own messages.
impl Mailboxes for Pool<EchoActor> {
    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>> {
        ask(self.find(id))
    }

    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>> {
        let address = self.find(id)?;
        Some(Box::new(move || (0..messages).for_each(|_| address.do_send(Command::NoOp))))
    }
}

/// An async fn has no address, but a channel.
impl Mailboxes for Sessions {
    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>> {
        let (sender, count) = oneshot::channel();
        let is_sent = self.get(id).is_some_and(|session| session.commands.send(Command::Ask(sender)).is_ok());
        Box::pin(async move { count.await.ok().filter(|_| is_sent) })
    }

    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>> {
        let commands = self.get(id)?.commands;
        Some(Box::new(move || {
            (0..messages).for_each(|_| {
                let _ = commands.send(Command::NoOp);
            })
        }))
    }
}
