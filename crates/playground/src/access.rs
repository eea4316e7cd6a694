//! How the console accesses a connection of any handler.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use actix_acceptor::{Connection, ConnectionContext, ConnectionId, Framing, Next, Pool, User};
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use tokio::sync::oneshot;

use crate::actor::EchoActor;
use crate::handlers::Controllable;
use crate::messaging;
use crate::session::{command_channel, Command, CommandReceiver, CommandSender};

pub trait ConnectionAccess: Send + Sync {
    /// Sends a packet to a connection. Returns `false` if it is gone.
    fn send(&self, id: ConnectionId, packet: Bytes) -> bool;

    /// Closes a connection in order, with this packet as the last one. Returns `false` if the connection has ended.
    fn close(&self, id: ConnectionId, last: Option<Bytes>, grace: Duration) -> bool;

    /// Sends a packet to all connections. Returns how many accepted it.
    fn broadcast(&self, packet: Bytes) -> usize;

    /// Sends a packet to the members of a topic. Returns how many accepted it.
    fn publish(&self, _topic: &str, _packet: Bytes) -> usize {
        0
    }

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
        self.connection(id).is_some_and(|connection| messaging::send(&connection, packet))
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

/// The user-defined actor has its own messages.
impl ConnectionAccess for Pool<EchoActor> {
    fn send(&self, id: ConnectionId, packet: Bytes) -> bool {
        self.find(id).map(|address| address.do_send(Command::Send(packet))).is_some()
    }

    fn close(&self, id: ConnectionId, last: Option<Bytes>, grace: Duration) -> bool {
        self.find(id).map(|address| address.do_send(Command::Close(last, grace))).is_some()
    }

    fn broadcast(&self, packet: Bytes) -> usize {
        let all = self.addresses().into_iter();
        all.filter(|(_, address)| address.try_send(Command::Send(packet.clone())).is_ok()).count()
    }

    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>> {
        ask(self.find(id))
    }

    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>> {
        let address = self.find(id)?;
        Some(Box::new(move || (0..messages).for_each(|_| address.do_send(Command::NoOp))))
    }
}

/// An async fn has no address: this map holds a channel to each connection.
#[derive(Clone, Default)]
pub struct CommandChannels(Arc<Mutex<Channels>>);

type Channels = BTreeMap<ConnectionId, CommandSender>;

impl CommandChannels {
    /// Adds a channel to this connection. Dropping the guard removes it.
    pub fn add(&self, id: ConnectionId) -> (CommandReceiver, ChannelGuard) {
        let (commands, receiver) = command_channel();
        self.channels().insert(id, commands);
        (receiver, ChannelGuard { id, channels: self.clone() })
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_command(&self, id: ConnectionId, command: Command) -> bool {
        self.channels().get(&id).is_some_and(|commands| commands.send(command))
    }
}

/// Removes the channel of a connection when it is dropped.
pub struct ChannelGuard {
    id: ConnectionId,
    channels: CommandChannels,
}

impl Drop for ChannelGuard {
    fn drop(&mut self) {
        self.channels.channels().remove(&self.id);
    }
}

impl ConnectionAccess for CommandChannels {
    fn send(&self, id: ConnectionId, packet: Bytes) -> bool {
        self.send_command(id, Command::Send(packet))
    }

    fn close(&self, id: ConnectionId, last: Option<Bytes>, grace: Duration) -> bool {
        self.send_command(id, Command::Close(last, grace))
    }

    fn broadcast(&self, packet: Bytes) -> usize {
        self.channels().values().filter(|commands| commands.send(Command::Send(packet.clone()))).count()
    }

    fn ask(&self, id: ConnectionId) -> LocalBoxFuture<'static, Option<u64>> {
        let (sender, count) = oneshot::channel();
        let is_sent = self.send_command(id, Command::Ask(sender));
        Box::pin(async move { count.await.ok().filter(|_| is_sent) })
    }

    fn flood(&self, id: ConnectionId, messages: u64) -> Option<Box<dyn FnOnce() + Send>> {
        let commands = self.channels().get(&id)?.clone();
        Some(Box::new(move || {
            (0..messages).for_each(|_| {
                commands.send(Command::NoOp);
            })
        }))
    }
}
