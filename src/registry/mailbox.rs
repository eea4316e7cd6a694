//! The mailbox of a connection, as other threads reach it.
//!
//! Most connections are never addressed, so a connection actor has no mailbox until its address is first used. The thread that
//! asks for the address creates it; the connection takes the receiving end when the mailbox first signals
//! [`MAIL`](super::Signals::MAIL).
//!
//! ```text
//! NoActor ── connection actor spawned ──▶ NotCreated ── first addressed ──▶ Open ── guard dropped ──▶ Closed
//!    └────── user-defined actor started ─────────────────────────────────────▲
//! ```

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::task::{Context, Waker};

use actix::dev::channel::{channel, AddressReceiver};
use actix::prelude::*;
use actix::WeakAddr;
use futures::StreamExt;
use parking_lot::Mutex;

use super::ConnectionState;
use crate::panic::Guarded;

/// The mailbox of one connection.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<MailboxState>);

#[derive(Default)]
enum MailboxState {
    /// The connection has no actor, or its actor has not been started yet.
    #[default]
    NoActor,
    /// The connection is an actor that has not been addressed yet.
    NotCreated { capacity: u32 },
    /// An [`OpenMailbox`] of the connection's actor. Boxed twice, since most connections have none: a thin pointer is smaller.
    Open(Box<Box<dyn Any + Send + Sync>>),
    /// The connection has ended. The mailbox wakes through the connection's state, so keeping it here would be a cycle.
    Closed,
}

struct OpenMailbox<A: Actor> {
    address: WeakAddr<A>,
    /// The sender used for messages to all connections. One per connection is kept, because every new actix sender may put
    /// one more message into a full mailbox. A user-defined actor has one from the start, since it may have no other.
    sender: Option<Addr<A>>,
    /// Until the connection takes it.
    receiver: Option<AddressReceiver<A>>,
}

impl<A: Actor> OpenMailbox<A> {
    fn new(capacity: u32, connection: &Arc<ConnectionState>) -> Self {
        let (sender, mut receiver) = channel(capacity as usize);
        // Registers the waker, so that the first message wakes the connection.
        let waker = Waker::from(connection.clone());
        let _ = receiver.poll_next_unpin(&mut Context::from_waker(&waker));
        OpenMailbox { address: Addr::new(sender).downgrade(), sender: None, receiver: Some(receiver) }
    }

    fn address(&self) -> Option<Addr<A>> {
        self.sender.clone().or_else(|| self.address.upgrade())
    }

    fn sender(&mut self) -> Option<&Addr<A>> {
        if self.sender.is_none() {
            self.sender = self.address.upgrade();
        }
        self.sender.as_ref()
    }
}

impl Mailbox {
    /// Runs `f` with the mailbox under its lock, and creates it if need be. `None` if the connection has no actor of this type,
    /// or has ended.
    fn with_open<A: Actor, R>(
        &self,
        connection: &Arc<ConnectionState>,
        f: impl FnOnce(&mut OpenMailbox<A>) -> R,
    ) -> Option<R> {
        // The connection would not read a mailbox of another type.
        if connection.kind().actor != TypeId::of::<A>() {
            return None;
        }
        let mut state = self.0.lock();
        if let MailboxState::NotCreated { capacity } = *state {
            *state = MailboxState::Open(Box::new(Box::new(OpenMailbox::<A>::new(capacity, connection))));
        }
        match &mut *state {
            MailboxState::Open(mailbox) => mailbox.downcast_mut().map(f),
            _ => None,
        }
    }
}

impl ConnectionState {
    /// Makes the connection addressable, as an actor whose mailbox holds this many messages.
    pub(crate) fn set_addressable(&self, mailbox_capacity: usize) {
        let capacity = u32::try_from(mailbox_capacity).unwrap_or(u32::MAX);
        *self.record.mailbox.0.lock() = MailboxState::NotCreated { capacity };
    }

    /// Sets the address of the user-defined actor behind this connection. Has no effect after the connection has ended.
    pub(crate) fn set_address<A: Actor>(&self, address: Addr<A>) {
        let mut state = self.record.mailbox.0.lock();
        if let MailboxState::NoActor = *state {
            let mailbox = OpenMailbox { address: address.downgrade(), sender: Some(address), receiver: None };
            *state = MailboxState::Open(Box::new(Box::new(mailbox)));
        }
    }

    /// The address of the actor behind this connection. Creates the mailbox of a connection that was not addressed before.
    ///
    /// `None` if it has no actor, or its actor has not been started yet, or the connection has ended.
    pub(crate) fn address<A: Actor>(self: &Arc<Self>) -> Option<Addr<A>> {
        self.record.mailbox.with_open(self, |mailbox| mailbox.address()).flatten()
    }

    /// Runs `send` with the one sender kept for messages to all connections; `None` as for [`address`](Self::address). It
    /// runs under a lock and must not call user code.
    pub(crate) fn with_sender<A: Actor, R>(self: &Arc<Self>, send: impl FnOnce(&Addr<A>) -> R) -> Option<R> {
        self.record.mailbox.with_open(self, |mailbox| mailbox.sender().map(send)).flatten()
    }

    /// The receiving end of the mailbox. `None` if the connection has not been addressed, or has taken it before.
    pub(crate) fn take_receiver<A: Actor>(&self) -> Option<AddressReceiver<A>> {
        match &mut *self.record.mailbox.0.lock() {
            MailboxState::Open(mailbox) => mailbox.downcast_mut::<OpenMailbox<A>>()?.receiver.take(),
            _ => None,
        }
    }

    /// Closes the mailbox when the connection has ended. Messages that were not received are dropped.
    pub(super) fn close_mailbox(&self) {
        let state = std::mem::replace(&mut *self.record.mailbox.0.lock(), MailboxState::Closed);
        // Outside the lock: the messages are user code.
        drop(Guarded::new(state));
    }
}
