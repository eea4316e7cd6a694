//! What runs beside a connection: the futures, timers and streams that its callbacks have added.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::{FuturesUnordered, Stream as _};

use super::streams::Streams;
use super::timers::Timers;
use super::turn::Budget;
use super::wait::{then_future, Then, ThenFuture};
use super::{Closed, Conn, Connection, ConnectionContext, Flags, Next, Protocol, Trigger};
use crate::error::BoxError;
use crate::panic::catch_panic;

/// The futures, timers and streams of one connection. Allocated when the first one is added.
pub(crate) struct Background<P: Protocol> {
    pub(super) streams: Streams<P::User>,
    pub(super) timers: Timers<P::User>,
    futures: FuturesUnordered<ThenFuture<P>>,
    /// The continuations of futures that are done, until messages are handled.
    done: VecDeque<Then<P>>,
    /// A future was added that has not been polled.
    future_added: bool,
    /// What was asked last for an item.
    source: Source,
    /// The error of a reply that [`Conn::push`] could not encode. The connection closes for this reason.
    pub(super) failure: Option<BoxError>,
}

/// What has items to deliver.
#[derive(Clone, Copy)]
enum Source {
    Futures,
    Timers,
    Streams,
}

/// What is delivered.
enum Item<P: Protocol> {
    /// A future is done.
    Done(Then<P>),
    /// From a timer or a stream.
    Message(P::User),
}

impl<P: Protocol> Default for Background<P> {
    fn default() -> Self {
        Background {
            streams: Streams::default(),
            timers: Timers::default(),
            futures: FuturesUnordered::new(),
            done: VecDeque::new(),
            future_added: false,
            source: Source::Streams,
            failure: None,
        }
    }
}

impl<P: Protocol> Background<P> {
    pub(super) fn future_added(&self) -> bool {
        self.future_added
    }

    fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.timers.is_empty() && self.futures.is_empty() && self.done.is_empty()
    }

    /// The next item. The sources take turns, so that one that always has items does not starve the others.
    fn next_item(&mut self, cx: &mut Context<'_>) -> Option<Item<P>> {
        for _ in 0..3 {
            self.source = match self.source {
                Source::Futures => Source::Timers,
                Source::Timers => Source::Streams,
                Source::Streams => Source::Futures,
            };
            let item = match self.source {
                Source::Futures => self.done.pop_front().map(Item::Done),
                Source::Timers => ready(self.timers.poll_due(cx)).map(Item::Message),
                Source::Streams => ready(self.streams.poll_next(cx)).flatten().map(Item::Message),
            };
            if let Some(item) = item {
                return Some(item);
            }
        }
        None
    }

    /// Drops everything under the panic guard.
    pub(super) fn drop_each(&mut self) -> Result<(), String> {
        let streams = drop_each(self.failure.take()).and(self.streams.drop_each());
        let futures = drop_each(std::mem::take(&mut self.futures));
        self.timers.drop_each().and(drop_each(self.done.drain(..))).and(futures).and(streams)
    }
}

fn ready<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Drops values of the user one by one, each under the panic guard: a panic must not leave out the others, and a second one
/// while the first unwinds would abort the process. Returns the message of a panic.
pub(super) fn drop_each<T>(values: impl IntoIterator<Item = T>) -> Result<(), String> {
    let mut dropped = Ok(());
    for value in values {
        dropped = catch_panic(|| drop(value)).and(dropped);
    }
    dropped
}

impl<P: Protocol> Conn<P> {
    /// The number of futures given to [`spawn`](Conn::spawn) whose `then` has not been called yet.
    pub fn spawned(&self) -> usize {
        self.background.as_ref().map_or(0, |background| background.futures.len() + background.done.len())
    }

    /// Runs a future beside the connection, then calls `then` with its output.
    ///
    /// Packets and messages are handled meanwhile, and several futures run concurrently. The future is also polled during a
    /// wait, but `then` is called like a message handler: not during a wait without
    /// [`with_messages`](crate::Wait::with_messages), not above the high-water mark, and not before the connection is ready.
    ///
    /// When the connection closes, the futures are dropped and `then` is not called. If the connection is already closing,
    /// the future is dropped at once. Without [`half_close`](crate::Builder::half_close) a FIN closes the connection, so a
    /// client that sends a request and then closes its sending side gets no answer from `then`. Use [`wait`](Conn::wait) for
    /// answers to such clients.
    ///
    /// There is no limit on the number of futures. If a peer can cause them, check [`spawned`](Conn::spawned) first.
    ///
    /// ```
    /// # use actix_acceptor::{Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use std::time::Duration;
    /// # struct Reminders;
    /// # impl Protocol for Reminders {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, text: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///     if conn.spawned() >= 10 {
    ///         return Next::send("too many reminders");
    ///     }
    ///     conn.spawn(tokio::time::sleep(Duration::from_secs(60)), |(), _me, _conn| Next::Send(text));
    ///     Next::Continue
    /// }
    /// # }
    /// ```
    pub fn spawn<F, T>(&mut self, future: F, then: T)
    where
        F: Future + 'static,
        T: FnOnce(F::Output, &mut P, &mut Conn<P>) -> Next<P> + 'static,
    {
        if !self.is_closing() {
            let background = self.background.get_or_insert_default();
            background.futures.push(then_future(future, then));
            background.future_added = true;
            self.flags.insert(Flags::STREAM_ADDED);
        }
    }
}

impl<P: Protocol> Connection<P> {
    /// Polls the futures, and delivers what is ready: outputs of futures, messages of timers, items of streams.
    pub(super) fn poll_background(&mut self, ctx: &ConnectionContext<P>, cx: &mut Context<'_>, budget: &mut Budget) {
        self.poll_spawned(cx);
        while self.takes_messages() && !ctx.is_waiting() {
            let Some(background) = self.conn.background.as_mut() else { return };
            if budget.items == 0 {
                budget.exhausted = true;
                return;
            }
            self.conn.flags.remove(Flags::STREAM_ADDED);
            match catch_panic(|| background.next_item(cx)) {
                Err(text) => return self.end(Closed::Panic(text)),
                Ok(Some(Item::Done(then))) => {
                    budget.items -= 1;
                    self.call_caught(Trigger::Own, then);
                    self.poll_spawned(cx);
                }
                Ok(Some(Item::Message(message))) => {
                    budget.items -= 1;
                    self.call_caught(Trigger::User, |me, conn| me.user(message, conn));
                }
                Ok(None) => {
                    if background.is_empty() {
                        self.conn.background = None;
                    }
                    return;
                }
            }
        }
    }

    /// Polls the futures of `spawn`, whether or not messages are handled.
    fn poll_spawned(&mut self, cx: &mut Context<'_>) {
        let Some(background) = self.conn.background.as_mut() else { return };
        background.future_added = false;
        while !background.futures.is_empty() {
            match catch_panic(|| Pin::new(&mut background.futures).poll_next(cx)) {
                Err(text) => return self.end(Closed::Panic(text)),
                Ok(Poll::Ready(Some(then))) => background.done.push_back(then),
                Ok(Poll::Pending | Poll::Ready(None)) => return,
            }
        }
    }
}
