//! Waits for futures, and their options.

use std::cell::Cell;
use std::fmt;
use std::future::{poll_fn, Future};
use std::pin::{pin, Pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::{Conn, Next, Protocol};

/// The options of a wait, for [`Conn::wait_with`] and [`Conn::blocking_with`]: what ends the wait besides its future, and
/// what is handled meanwhile.
///
/// Without options, `wait_with` waits as [`Conn::wait`] does.
///
/// ```
/// use actix_acceptor::{Conn, Framing, Next, Protocol, Wait, WaitEnded};
/// use bytes::Bytes;
/// use std::time::Duration;
/// # async fn pop(_: Bytes) -> Bytes { Bytes::new() }
///
/// /// A queue whose clients wait for the next job, for at most 30 seconds.
/// struct Worker;
///
/// impl Protocol for Worker {
///     type Codec = Framing;
///     type Reply = Bytes;
///     type User = Bytes;
///
///     fn packet(&mut self, queue: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
///         let options = Wait::new().within(Duration::from_secs(30)).until_peer_leaves().until_draining().with_messages();
///         conn.wait_with(options, pop(queue), |outcome, _, _| match outcome {
///             Ok(job) => Next::Send(job),
///             Err(WaitEnded::TimedOut) => Next::send("nothing yet"),
///             Err(_) => Next::Continue,
///         })
///     }
///
///     // Called during the wait as well, because of `with_messages`.
///     fn user(&mut self, notice: Bytes, _: &mut Conn<Self>) -> Next<Self> {
///         Next::Send(notice)
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing unless they are passed to `Conn::wait_with`"]
pub struct Wait {
    limit: Option<Duration>,
    until_peer_leaves: bool,
    until_draining: bool,
    with_messages: bool,
}

impl Wait {
    /// No options: the wait is as described at [`Conn::wait`].
    pub fn new() -> Self {
        Wait::default()
    }

    /// Ends the wait with [`WaitEnded::TimedOut`] after this time, counted from the start of the wait.
    ///
    /// It replaces the idle timeout as the bound of a wait whose peer has shut down its sending side.
    ///
    /// Default: no limit.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Ends the wait with [`WaitEnded::PeerLeft`] when the peer shuts down its sending side (FIN) or resets the
    /// connection (RST), including a FIN that arrived before the wait.
    ///
    /// A client that closes only its sending side, such as `nc -N`, counts as leaving, although it still expects an answer.
    /// A FIN cannot be detected while more input is unread than the kernel buffers, since the peer's system sends the FIN
    /// last; [`within`](Wait::within) bounds such a wait.
    ///
    /// After a FIN the peer may still receive a reply. After a reset nothing can be sent and the connection ends, but
    /// the closure is still called, so that it can clean up.
    pub fn until_peer_leaves(mut self) -> Self {
        self.until_peer_leaves = true;
        self
    }

    /// Ends the wait with [`WaitEnded::Draining`] when the pool notifies the connection of the shutdown, or at once if it
    /// has done so before. [`Protocol::shutdown`] is called afterwards.
    pub fn until_draining(mut self) -> Self {
        self.until_draining = true;
        self
    }

    /// Handles messages during the wait: [`User`](crate::User), [`Reply`](crate::Reply), your own messages, the
    /// items of streams and the messages of timers. Packets are held back.
    ///
    /// If the handler of such a message returns another wait, that one starts after this one, and messages are held back
    /// until then.
    pub fn with_messages(mut self) -> Self {
        self.with_messages = true;
        self
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    pub(super) fn ends_when_peer_leaves(&self) -> bool {
        self.until_peer_leaves
    }

    pub(super) fn ends_when_draining(&self) -> bool {
        self.until_draining
    }

    pub(super) fn takes_messages(&self) -> bool {
        self.with_messages
    }
}

/// Why a wait ended before its future was done; see [`Conn::wait_with`]. The future was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum WaitEnded {
    /// The time of [`Wait::within`] has passed.
    #[error("the wait took longer than its limit")]
    TimedOut,
    /// The peer left; see [`Wait::until_peer_leaves`].
    #[error("the peer left during the wait")]
    PeerLeft,
    /// The pool shuts down; see [`Wait::until_draining`].
    #[error("the pool is shutting down")]
    Draining,
}

/// A future that a connection waits for, and the closure that handles its output. Made by [`Conn::wait`],
/// [`Conn::wait_with`], [`Conn::blocking`] and [`Conn::blocking_with`].
pub struct PendingWait<P: Protocol>(Kind<P>);

/// Two words, to keep [`Next`] small: one is returned for every packet.
enum Kind<P: Protocol> {
    Plain(ThenFuture<P>),
    WithOptions(Box<(ThenFuture<P>, Rc<WaitEnds>)>),
}

/// Calls the user's closure with the output of the future, which it has captured.
pub(super) type Then<P> = Box<dyn FnOnce(&mut P, &mut Conn<P>) -> Next<P>>;
pub(super) type ThenFuture<P> = Pin<Box<dyn Future<Output = Then<P>>>>;

impl<P: Protocol> PendingWait<P> {
    pub(super) fn future(&mut self) -> Pin<&mut (dyn Future<Output = Then<P>> + 'static)> {
        match &mut self.0 {
            Kind::Plain(future) => future.as_mut(),
            Kind::WithOptions(wait) => wait.0.as_mut(),
        }
    }

    pub(super) fn options(&self) -> Wait {
        match &self.0 {
            Kind::Plain(_) => Wait::default(),
            Kind::WithOptions(wait) => wait.1.options,
        }
    }

    /// Makes the future ready with this outcome, unless it has completed. Only for a wait with options.
    pub(super) fn set_ended(&self, why: WaitEnded) {
        if let Kind::WithOptions(wait) = &self.0 {
            wait.1.ended.set(Some(why));
        }
    }
}

impl<P: Protocol> fmt::Debug for PendingWait<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingWait").field("options", &self.options()).finish_non_exhaustive()
    }
}

/// Shared by a wait with options and its connection.
struct WaitEnds {
    options: Wait,
    /// Set by the connection to end the wait.
    ended: Cell<Option<WaitEnded>>,
}

impl WaitEnds {
    async fn outcome<F: Future>(&self, future: F) -> Result<F::Output, WaitEnded> {
        let until_ended = async {
            let mut future = pin!(future);
            poll_fn(|cx| match future.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending => self.ended.get().map_or(Poll::Pending, |why| Poll::Ready(Err(why))),
            })
            .await
        };
        match self.options.limit {
            None => until_ended.await,
            Some(limit) => tokio::time::timeout(limit, until_ended).await.unwrap_or(Err(WaitEnded::TimedOut)),
        }
    }
}

impl<P: Protocol> Conn<P> {
    /// Waits for a future, then calls `then` with its output.
    ///
    /// The thread is not blocked, so other connections keep running. This connection handles neither packets nor
    /// messages until the future completes. Packets stay queued in their order, and so do messages. A sender that
    /// awaits the result of a message waits as well, so set a time limit for such requests.
    ///
    /// | during the wait | what happens |
    /// |---|---|
    /// | the peer is silent | Nothing: the idle timeout does not run during a wait. |
    /// | the peer shuts down its sending side or closes its socket (FIN; the two cannot be distinguished) | The wait goes on, with or without [`half_close`](crate::Builder::half_close). The answer is sent, the packets that arrived before the FIN are handled, then the connection closes as on any FIN. |
    /// | time passes after that FIN | A wait that lasts for the [`idle_timeout`](crate::Builder::idle_timeout) after the FIN, or after its start if that is later, ends the connection with [`Closed::Idle`], without a call of [`Protocol::timeout`]. Without an idle timeout, set a limit with [`Wait::within`] or [`max_age`](crate::Builder::max_age). |
    /// | the peer resets the connection (RST) | The future is dropped and the connection ends with [`Closed::Peer`], within 0.25 s if more input is unread than is read ahead (16 KiB). |
    /// | [`Pool::kill`](crate::Pool::kill), a full [`Outbox`](crate::Outbox), a name that is taken over, the maximum age, or the deadline of a drain | The future is dropped and the connection ends. |
    /// | [`Pool::close`](crate::Pool::close) | The future is dropped; the queued bytes and the last reply are sent. |
    /// | the pool shuts down | [`Protocol::shutdown`] is called after the wait. |
    /// | the wait is one of `init` | The [`handshake_timeout`](crate::Builder::handshake_timeout), counted from the accept on, ends the connection with [`Closed::Handshake`]. A FIN of a peer that has sent nothing ends it as well, unless `half_close` is on. |
    ///
    /// The answer of a wait that is ready at once is sent in the same write as other answers. To end a wait early, or to
    /// handle messages meanwhile, use [`wait_with`](Conn::wait_with).
    ///
    /// [`Closed::Idle`]: crate::Closed::Idle
    /// [`Closed::Peer`]: crate::Closed::Peer
    /// [`Closed::Handshake`]: crate::Closed::Handshake
    ///
    /// ```
    /// # use actix_acceptor::{Conn, Framing, Next, Protocol};
    /// # use bytes::Bytes;
    /// # use std::time::Duration;
    /// # struct Slow { served: u32 }
    /// # impl Protocol for Slow {
    /// #     type Codec = Framing; type Reply = Bytes; type User = ();
    /// fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///     let work = async move {
    ///         tokio::time::sleep(Duration::from_millis(20)).await;
    ///         packet
    ///     };
    ///     conn.wait(work, |packet, me, _conn| {
    ///         me.served += 1;
    ///         Next::Send(packet)
    ///     })
    /// }
    /// # }
    /// ```
    #[must_use = "the wait starts when the callback returns it"]
    pub fn wait<F, T>(&self, future: F, then: T) -> Next<P>
    where
        F: Future + 'static,
        T: FnOnce(F::Output, &mut P, &mut Conn<P>) -> Next<P> + 'static,
    {
        Next::Wait(PendingWait(Kind::Plain(then_future(future, then))))
    }

    /// Waits as [`wait`](Conn::wait) does, with options: a time limit, an end when the peer leaves or the pool shuts down,
    /// messages meanwhile. `then` is called with the output of the future, or with the reason why the wait ended before that.
    ///
    /// See [`Wait`] for the options and an example.
    #[must_use = "the wait starts when the callback returns it"]
    pub fn wait_with<F, T>(&self, options: Wait, future: F, then: T) -> Next<P>
    where
        F: Future + 'static,
        T: FnOnce(Result<F::Output, WaitEnded>, &mut P, &mut Conn<P>) -> Next<P> + 'static,
    {
        let ends = Rc::new(WaitEnds { options, ended: Cell::new(None) });
        let shared = ends.clone();
        let outcome = async move { shared.outcome(future).await };
        Next::Wait(PendingWait(Kind::WithOptions(Box::new((then_future(outcome, then), ends)))))
    }
}

pub(super) fn then_future<P, F, T>(future: F, then: T) -> ThenFuture<P>
where
    P: Protocol,
    F: Future + 'static,
    T: FnOnce(F::Output, &mut P, &mut Conn<P>) -> Next<P> + 'static,
{
    Box::pin(async move {
        let output = future.await;
        Box::new(move |me: &mut P, conn: &mut Conn<P>| then(output, me, conn)) as Then<P>
    })
}
