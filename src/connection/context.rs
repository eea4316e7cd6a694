//! [`ConnectionContext`], the actix context of a connection: its address, and the futures that message handlers
//! spawned.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix::dev::channel::AddressReceiver;
use actix::dev::{Envelope, ToEnvelope};
use actix::fut::ActorFuture;
use actix::prelude::*;
use futures::StreamExt;
use tokio::sync::oneshot::Sender;

use super::{Connection, Protocol};
use crate::registry::ConnectionState;

/// The context of a [`Connection`], as passed to its message handlers. It implements actix's
/// [`AsyncContext`] (`spawn`, `wait`, `run_later`, `notify` and so on).
///
/// Spawned futures and streams run only while the connection handles packets: not during a wait, not above the high-water
/// mark, and not once the connection is closing. `wait` holds back packets and messages. `stop` closes the connection as
/// [`Next::Stop`](crate::Next::Stop) does.
///
/// At most 64 futures that other futures have spawned (`notify` in a handler that `notify` has called) are polled before
/// other connections run.
///
/// # Messages of other crates
/// [`Connection`] is not a type of your crate, so the orphan rule allows an implementation of `Handler` only for message
/// types of your crate. Wrap a message of another crate in a type of your own. The same holds for the items of a
/// `StreamHandler`.
///
/// ```
/// use actix::prelude::*;
/// use actix_acceptor::{Conn, Connection, ConnectionContext, Framing, Next, Protocol};
/// use bytes::Bytes;
/// # mod other_crate {
/// #     #[derive(actix::Message)]
/// #     #[rtype(result = "()")]
/// #     pub struct Tick;
/// # }
///
/// # struct Clock { ticks: u64 }
/// # impl Protocol for Clock {
/// #     type Codec = Framing; type Reply = Bytes; type User = ();
/// #     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> { Next::Send(packet) }
/// # }
/// #[derive(Message)]
/// #[rtype(result = "()")]
/// struct Ticked(other_crate::Tick);
///
/// impl Handler<Ticked> for Connection<Clock> {
///     type Result = ();
///     fn handle(&mut self, _: Ticked, _: &mut ConnectionContext<Clock>) {
///         self.with(|me, _conn| {
///             me.ticks += 1;
///             ((), Next::Continue)
///         })
///     }
/// }
///
/// fn subscribe(connection: &Addr<Connection<Clock>>) -> Recipient<Ticked> {
///     connection.clone().recipient()
/// }
/// ```
pub struct ConnectionContext<P: Protocol> {
    /// Taken when the first message arrives. Without one, no handler has run.
    mailbox: Option<AddressReceiver<Connection<P>>>,
    futures: Option<Box<Futures<P>>>,
}

type BoxedFuture<P> = Pin<Box<dyn ActorFuture<Connection<P>, Output = ()>>>;

/// The futures that message handlers spawned. Allocated at the first one.
struct Futures<P: Protocol> {
    /// Kept when nothing is left to poll: a handle must not come to stand for a later future.
    last: SpawnHandle,
    /// `None` while the future is being polled.
    spawned: Vec<(SpawnHandle, Option<BoxedFuture<P>>)>,
    waits: Vec<BoxedFuture<P>>,
    unpolled: bool,
    /// The context was stopped. Here, although it is no future, because few contexts are.
    stopped: bool,
    /// Set while a future is polled after which the connection no longer handles packets and messages.
    held: Held,
}

/// Shared by a connection and its context while the futures of the context are polled. A stream added with `add_stream` is
/// one future that may call its handler several times, and asks only the context whether it may continue.
pub(super) type Held = Rc<Cell<bool>>;

impl<P: Protocol> ConnectionContext<P> {
    pub(super) fn new() -> Self {
        ConnectionContext { mailbox: None, futures: None }
    }

    /// Whether the connection has a mailbox. Takes it from the connection's state if it was created since the last call.
    #[inline]
    pub(super) fn find_mailbox(&mut self, state: &ConnectionState) -> bool {
        if self.mailbox.is_none() {
            self.mailbox = state.take_receiver();
        }
        self.mailbox.is_some()
    }

    /// The next message of the mailbox; `None` if there is none at present.
    #[inline]
    pub(super) fn next_message(&mut self, cx: &mut Context<'_>) -> Option<Envelope<Connection<P>>> {
        match self.mailbox.as_mut()?.poll_next_unpin(cx) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        }
    }

    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        self.futures.as_ref().is_some_and(|futures| futures.stopped)
    }

    /// Whether there are futures to poll.
    #[inline]
    pub(super) fn has_futures(&self) -> bool {
        self.futures.as_ref().is_some_and(|futures| !futures.spawned.is_empty() || !futures.waits.is_empty())
    }

    /// Whether a message handler waits for a future.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.futures.as_ref().is_some_and(|futures| !futures.waits.is_empty())
    }

    /// Whether a future was added that has not been polled.
    pub(super) fn has_unpolled(&self) -> bool {
        self.futures.as_ref().is_some_and(|futures| futures.unpolled)
    }

    /// Polls the futures; while there are waits, only the waits. Futures may spawn and cancel others meanwhile. Returns false
    /// if the budget for futures that were spawned meanwhile is used up.
    pub(super) fn poll_futures(&mut self, act: &mut Connection<P>, cx: &mut Context<'_>, budget: &mut u32) -> bool {
        let futures = self.futures();
        futures.unpolled = false;
        let mut known = futures.waits.len() + futures.spawned.len();
        let mut may_poll = || match (known, *budget) {
            (0, 0) => false,
            (0, _) => {
                *budget -= 1;
                true
            }
            _ => {
                known -= 1;
                true
            }
        };
        while self.is_waiting() {
            if !self.may_continue(act) {
                return true;
            }
            if !may_poll() {
                return false;
            }
            if !self.poll_newest_wait(act, cx) {
                return true;
            }
        }
        let mut index = 0;
        while index < self.futures().spawned.len() && !self.is_waiting() && self.may_continue(act) {
            if !may_poll() {
                return false;
            }
            index = self.poll_spawned(index, act, cx);
        }
        true
    }

    fn may_continue(&self, act: &Connection<P>) -> bool {
        !self.is_stopped() && act.takes_messages()
    }

    /// Polls the wait that was added last. Returns false if all others have to wait for it.
    fn poll_newest_wait(&mut self, act: &mut Connection<P>, cx: &mut Context<'_>) -> bool {
        let Some(mut wait) = self.futures().waits.pop() else { return true };
        let at = self.futures().waits.len();
        if wait.as_mut().poll(act, self, cx).is_ready() {
            return true;
        }
        // A wait added by another future comes first, as in actix.
        let is_newest = self.futures().waits.len() == at;
        self.futures().waits.insert(at, wait);
        !is_newest
    }

    /// Polls a spawned future. Returns the index of the next one.
    fn poll_spawned(&mut self, index: usize, act: &mut Connection<P>, cx: &mut Context<'_>) -> usize {
        let (handle, future) = &mut self.futures().spawned[index];
        let (handle, Some(mut future)) = (*handle, future.take()) else { return index + 1 };
        let is_done = future.as_mut().poll(act, self, cx).is_ready();
        let spawned = &mut self.futures().spawned;
        // It may have cancelled itself, or moved by cancelling others.
        match spawned.iter().position(|(other, _)| *other == handle) {
            None => 0,
            Some(at) if is_done => {
                spawned.remove(at);
                at
            }
            Some(at) => {
                spawned[at].1 = Some(future);
                at + 1
            }
        }
    }

    /// What the connection sets while the futures are polled.
    pub(super) fn held(&mut self) -> Held {
        self.futures().held.clone()
    }

    fn futures(&mut self) -> &mut Futures<P> {
        self.futures.get_or_insert_with(|| {
            Box::new(Futures {
                last: SpawnHandle::default(),
                spawned: Vec::new(),
                waits: Vec::new(),
                unpolled: false,
                stopped: false,
                held: Held::default(),
            })
        })
    }
}

impl<P: Protocol> ActorContext for ConnectionContext<P> {
    fn stop(&mut self) {
        self.futures().stopped = true;
    }

    fn terminate(&mut self) {
        self.futures().stopped = true;
    }

    fn state(&self) -> ActorState {
        if self.is_stopped() {
            ActorState::Stopping
        } else {
            ActorState::Running
        }
    }
}

impl<P: Protocol> AsyncContext<Connection<P>> for ConnectionContext<P> {
    /// # Panics
    /// Never: only message handlers and their futures have a context, and the mailbox lives as long as that.
    fn address(&self) -> Addr<Connection<P>> {
        let mailbox = self.mailbox.as_ref().expect("a message was received");
        Addr::new(mailbox.sender())
    }

    fn spawn<F>(&mut self, future: F) -> SpawnHandle
    where
        F: ActorFuture<Connection<P>, Output = ()> + 'static,
    {
        let futures = self.futures();
        futures.last = futures.last.next();
        futures.spawned.push((futures.last, Some(Box::pin(future))));
        futures.unpolled = true;
        futures.last
    }

    fn wait<F>(&mut self, future: F)
    where
        F: ActorFuture<Connection<P>, Output = ()> + 'static,
    {
        let futures = self.futures();
        futures.waits.push(Box::pin(future));
        futures.unpolled = true;
    }

    fn waiting(&self) -> bool {
        self.is_stopped() || self.is_waiting() || self.futures.as_ref().is_some_and(|futures| futures.held.get())
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        let spawned = &mut self.futures().spawned;
        let before = spawned.len();
        spawned.retain(|(other, _)| *other != handle);
        spawned.len() < before
    }
}

impl<P, M> ToEnvelope<Connection<P>, M> for ConnectionContext<P>
where
    P: Protocol,
    Connection<P>: Actor<Context = ConnectionContext<P>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn pack(message: M, answer: Option<Sender<M::Result>>) -> Envelope<Connection<P>> {
        Envelope::new(message, answer)
    }
}

impl<P: Protocol> std::fmt::Debug for ConnectionContext<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionContext").field("stopped", &self.is_stopped()).finish_non_exhaustive()
    }
}
