//! Connections that a test polls by hand, with a record of what their callbacks return.
//!
//! A stepped connection is one that the pool has accepted, and its turns are those of any other. The only differences are that
//! the test owns its [`ConnectionTask`] instead of the arbiter, and that packets can be handed to it without the codec.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::time::Instant;

use super::{Closed, Conn, Connection, ConnectionTask, Flags, Next, Packet, Protocol, Trigger};
use crate::net::Address;
use crate::telemetry::CloseReason;

/// A callback of [`Protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Callback {
    /// [`Protocol::init`]
    Init,
    /// [`Protocol::ack`]
    Ack,
    /// [`Protocol::packet`]
    Packet,
    /// [`Protocol::decode_error`]
    DecodeError,
    /// [`Protocol::user`], for messages, the items of streams and timers.
    User,
    /// [`Protocol::timeout`]
    Timeout,
    /// [`Protocol::half_closed`]
    HalfClosed,
    /// [`Protocol::passive`]
    Passive,
    /// [`Protocol::shutdown`]
    Shutdown,
    /// Code of the program that is not a callback of its own: a message handler ([`Connection::with`](crate::Connection::with)),
    /// or what runs after a future of [`Conn::spawn`](crate::Conn::spawn).
    Other,
}

impl From<Trigger> for Callback {
    fn from(trigger: Trigger) -> Self {
        match trigger {
            Trigger::Init => Callback::Init,
            Trigger::Ack => Callback::Ack,
            Trigger::Packet => Callback::Packet,
            Trigger::DecodeError => Callback::DecodeError,
            Trigger::User => Callback::User,
            Trigger::Idle | Trigger::PacketTimeout => Callback::Timeout,
            Trigger::HalfClosed => Callback::HalfClosed,
            Trigger::Passive => Callback::Passive,
            Trigger::Shutdown => Callback::Shutdown,
            Trigger::Own => Callback::Other,
        }
    }
}

/// What a callback has returned: a [`Next`], without what it sends or waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NextKind {
    /// [`Next::Continue`]
    Continue,
    /// [`Next::Send`]
    Send,
    /// [`Next::SendAll`], with the number of replies.
    SendAll(usize),
    /// [`Next::Stop`]
    Stop,
    /// [`Next::SendAndStop`]
    SendAndStop,
    /// [`Next::Reset`]
    Reset,
    /// [`Next::Detach`]
    Detach,
    /// [`Next::StopBecause`], with the reason.
    StopBecause(String),
    /// [`Next::Fail`], with the text of the error.
    Fail(String),
    /// [`Next::Wait`]
    Wait,
    /// [`Next::Upgrade`]
    Upgrade,
    /// [`Next::File`]
    File,
}

impl<P: Protocol> From<&Next<P>> for NextKind {
    fn from(next: &Next<P>) -> Self {
        match next {
            Next::Continue => NextKind::Continue,
            Next::Send(_) => NextKind::Send,
            Next::SendAll(replies) => NextKind::SendAll(replies.len()),
            Next::Stop => NextKind::Stop,
            Next::SendAndStop(_) => NextKind::SendAndStop,
            Next::Reset => NextKind::Reset,
            Next::Detach(_) => NextKind::Detach,
            Next::StopBecause(reason) => NextKind::StopBecause(reason.to_string()),
            Next::Fail(error) => NextKind::Fail(error.to_string()),
            Next::Wait(_) => NextKind::Wait,
            Next::Upgrade(_) => NextKind::Upgrade,
            Next::File(_) => NextKind::File,
        }
    }
}

/// What a stepped connection and its test exchange.
pub(super) struct Record<P: Protocol> {
    calls: RefCell<Vec<(Callback, NextKind)>>,
    /// Packets that have not been delivered.
    packets: RefCell<VecDeque<Packet<P>>>,
    closed: RefCell<Option<(CloseReason, String)>>,
}

impl<P: Protocol> Connection<P> {
    fn record(&self) -> Option<&Rc<Record<P>>> {
        self.cold.as_ref()?.record.as_ref()
    }

    /// Records what a callback has returned.
    pub(super) fn record_call(&self, trigger: Trigger, next: &Next<P>) {
        if let Some(record) = self.record() {
            record.calls.borrow_mut().push((trigger.into(), next.into()));
        }
    }

    /// Records the end.
    pub(super) fn record_closed(&self, why: &Closed) {
        if let Some(record) = self.record() {
            record.closed.replace(Some((why.reason(), why.to_string())));
        }
    }

    /// Takes a token for a packet of a connection with a packet rate. Closes the connection if there is none.
    pub(super) fn pay_for(&mut self, packet: Packet<P>) -> Option<Packet<P>> {
        if self.take_token() {
            return Some(packet);
        }
        self.close(Closed::PacketRate);
        None
    }

    /// The next packet that a test has handed over.
    pub(super) fn take_stepped_packet(&self) -> Option<Packet<P>> {
        self.record()?.packets.borrow_mut().pop_front()
    }
}

/// Where the connection of a peer goes instead of to the arbiter.
struct Slot<P: Protocol> {
    peer: Address,
    task: RefCell<Option<ConnectionTask<P>>>,
}

thread_local! {
    /// The `Rc<Slot<P>>` of the test of this thread that waits for its connection.
    static EXPECTED: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// Gives the task to a test that expects it, else returns it.
pub(super) fn offer<P: Protocol>(task: ConnectionTask<P>) -> Option<ConnectionTask<P>> {
    EXPECTED.with_borrow(|expected| {
        let slot = expected.as_ref().and_then(|expected| expected.downcast_ref::<Rc<Slot<P>>>());
        match slot.filter(|slot| slot.peer == *task.connection.conn.socket_peer()) {
            Some(slot) => {
                slot.task.replace(Some(task));
                None
            }
            None => Some(task),
        }
    })
}

/// The connection of a peer that is expected to connect.
pub(crate) struct ExpectedConnection<P: Protocol>(Rc<Slot<P>>);

impl<P: Protocol> ExpectedConnection<P> {
    pub(crate) fn expect(peer: Address) -> Self {
        let slot = Rc::new(Slot { peer, task: RefCell::default() });
        EXPECTED.set(Some(Box::new(slot.clone())));
        ExpectedConnection(slot)
    }

    /// The connection, if the pool has accepted it.
    pub(crate) fn take(self) -> Option<SteppedConnection<P>> {
        let mut task = self.0.task.take()?;
        let record =
            Rc::new(Record { calls: RefCell::default(), packets: RefCell::default(), closed: RefCell::default() });
        task.connection.cold().record = Some(record.clone());
        let wakes = Arc::new(Wakes { woken: AtomicBool::new(true), test: AtomicWaker::new() });
        Some(SteppedConnection { task: Some(task), record, wakes })
    }
}

impl<P: Protocol> Drop for ExpectedConnection<P> {
    fn drop(&mut self) {
        EXPECTED.take();
    }
}

/// Wakes the test when its connection is to be polled.
struct Wakes {
    woken: AtomicBool,
    test: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Relaxed);
        self.test.wake();
    }
}

/// A connection that is polled by a test.
pub(crate) struct SteppedConnection<P: Protocol> {
    /// `None` once the connection has ended.
    task: Option<ConnectionTask<P>>,
    record: Rc<Record<P>>,
    wakes: Arc<Wakes>,
}

impl<P: Protocol> SteppedConnection<P> {
    /// Runs a turn if the connection was woken, and arranges for `waker` to be woken with the connection.
    pub(crate) fn poll(&mut self, waker: &Waker) {
        self.wakes.test.register(waker);
        let Some(task) = self.task.as_mut() else { return };
        if self.wakes.woken.swap(false, Relaxed) {
            let waker = Waker::from(self.wakes.clone());
            if let Poll::Ready(()) = Pin::new(task).poll(&mut Context::from_waker(&waker)) {
                self.task = None;
            }
        }
    }

    /// Hands a packet over, as if the codec had decoded it from one read.
    pub(crate) fn push_packet(&mut self, packet: Packet<P>) {
        if let Some(task) = self.task.as_mut() {
            let conn = &mut task.connection.conn;
            conn.guard.state().count_read(0, conn.guard.now());
            conn.guard.deadlines.received();
            conn.flags.insert(Flags::UNDECODED);
            self.record.packets.borrow_mut().push_back(packet);
            self.wakes.woken.store(true, Relaxed);
        }
    }

    pub(crate) fn take_calls(&self) -> Vec<(Callback, NextKind)> {
        self.record.calls.take()
    }

    /// Whether this callback was called since the calls were taken.
    pub(crate) fn has_called(&self, callback: Callback) -> bool {
        self.record.calls.borrow().iter().any(|(called, _)| *called == callback)
    }

    /// How the connection has ended.
    pub(crate) fn closed(&self) -> Option<(CloseReason, String)> {
        self.record.closed.borrow().clone()
    }

    pub(crate) fn protocol(&self) -> Option<&P> {
        self.task.as_ref().map(|task| &task.connection.me)
    }

    pub(crate) fn conn(&self) -> Option<&Conn<P>> {
        self.task.as_ref().map(|task| &task.connection.conn)
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.task.as_ref().is_some_and(|task| task.connection.is_waiting() || task.context.is_waiting())
    }

    /// How long until each timer fires, the next one first.
    pub(crate) fn timers(&self) -> Vec<Duration> {
        let background = self.conn().and_then(|conn| conn.background.as_ref());
        let now = Instant::now();
        let deadlines = background.into_iter().flat_map(|background| background.timers.deadlines());
        deadlines.map(|deadline| deadline.saturating_duration_since(now)).collect()
    }
}
