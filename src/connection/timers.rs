//! The timers of a connection: messages to itself that are delivered later, once or periodically.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{ready, Context, Poll};
use std::time::Duration;

use tokio::time::{sleep_until, Instant, Sleep};

use super::background::drop_each;
use super::{Conn, Flags, Protocol};

/// The shortest period. It is the resolution of tokio's timers.
const MIN_PERIOD: Duration = Duration::from_millis(1);
/// A periodic message that is delivered at most this late does not postpone the next one, as with tokio's `Interval`.
const MAX_LATE: Duration = Duration::from_millis(5);
/// The longest time that a timer can run: about 30 years.
const MAX_DELAY: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Identifies a timer that was set with [`Conn::after`] or [`Conn::every`], for [`Conn::cancel`].
///
/// A key is never reused: no other timer of the process has the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerKey(u64);

impl TimerKey {
    fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        TimerKey(LAST.fetch_add(1, Relaxed) + 1)
    }
}

/// The timers of one connection.
pub(super) struct Timers<M> {
    /// In the order in which they are due; those that are due at the same time in the order in which they were set.
    by_deadline: BTreeMap<(Instant, TimerKey), Timer<M>>,
    deadlines: HashMap<TimerKey, Instant>,
    /// Wakes the connection when the first one is due.
    sleep: Option<Pin<Box<Sleep>>>,
}

enum Timer<M> {
    Once(M),
    Every { message: M, period: Duration, clone: fn(&M) -> M },
}

impl<M> Default for Timers<M> {
    fn default() -> Self {
        Timers { by_deadline: BTreeMap::new(), deadlines: HashMap::new(), sleep: None }
    }
}

impl<M> Timers<M> {
    pub(super) fn is_empty(&self) -> bool {
        self.by_deadline.is_empty()
    }

    #[cfg(feature = "testing")]
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Instant> {
        self.by_deadline.keys().map(|(deadline, _)| *deadline)
    }

    fn set(&mut self, key: TimerKey, deadline: Instant, timer: Timer<M>) {
        self.by_deadline.insert((deadline, key), timer);
        self.deadlines.insert(key, deadline);
    }

    fn cancel(&mut self, key: TimerKey) -> bool {
        let Some(deadline) = self.deadlines.remove(&key) else { return false };
        self.by_deadline.remove(&(deadline, key)).is_some()
    }

    /// The message of the timer that is due first. Clones it if the timer is periodic.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<M> {
        let Some(first) = self.by_deadline.first_entry() else {
            self.sleep = None;
            return Poll::Pending;
        };
        let (deadline, key) = *first.key();
        if deadline > Instant::now() {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
        }
        // The clone is user code. If it panics, the timer is still in the table, and is dropped with the others.
        let copy = match first.get() {
            Timer::Once(_) => None,
            Timer::Every { message, clone, .. } => Some(clone(message)),
        };
        match (first.remove(), copy) {
            (Timer::Every { message, period, clone }, Some(copy)) => {
                let next = next_deadline(deadline, period, Instant::now());
                self.set(key, next, Timer::Every { message, period, clone });
                Poll::Ready(copy)
            }
            (Timer::Once(message) | Timer::Every { message, .. }, _) => {
                self.deadlines.remove(&key);
                Poll::Ready(message)
            }
        }
    }

    /// Drops every message under the panic guard.
    pub(super) fn drop_each(&mut self) -> Result<(), String> {
        drop_each(std::mem::take(&mut self.by_deadline))
    }
}

/// When a periodic message is due again that was due at `deadline` and is delivered `now`.
fn next_deadline(deadline: Instant, period: Duration, now: Instant) -> Instant {
    let is_late = now.saturating_duration_since(deadline) > MAX_LATE.min(period / 2);
    later(if is_late { now } else { deadline }, period)
}

fn later(from: Instant, delay: Duration) -> Instant {
    from.checked_add(delay).unwrap_or(from + MAX_DELAY)
}

impl<P: Protocol> Conn<P> {
    /// Delivers a message to [`Protocol::user`] once, after `delay`.
    ///
    /// The delay is measured from this call, on tokio's clock; the message is never early. It is delivered like other messages:
    /// not during a wait without [`with_messages`](crate::Wait::with_messages), not above the high-water mark, and not before
    /// the connection is ready. If it becomes due meanwhile, it is delivered as soon as messages are handled again. The messages
    /// of several timers are delivered in the order in which they are due.
    ///
    /// When the connection closes, its timers are dropped; they do not delay the close. Without
    /// [`half_close`](crate::Builder::half_close) a FIN of the peer closes the connection. If the connection is already closing,
    /// the message is dropped at once. A timer does not count as activity of the peer, so it does not reset the idle timeout.
    ///
    /// There is no limit on the number of timers. If a peer can cause them, check [`timers`](Conn::timers) first.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol, TimerKey};
    /// use bytes::Bytes;
    /// use std::time::Duration;
    ///
    /// /// Asks a silent client once whether it is still there.
    /// struct Patient { reminder: Option<TimerKey> }
    ///
    /// impl Protocol for Patient {
    ///     type Codec = Framing;
    ///     type Reply = Bytes;
    ///     type User = &'static str;
    ///
    ///     fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
    ///         self.reminder = Some(conn.after(Duration::from_millis(20), "still there?"));
    ///         Next::Continue
    ///     }
    ///
    ///     fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
    ///         // False if the reminder was delivered before.
    ///         let _in_time = self.reminder.take().is_some_and(|key| conn.cancel(key));
    ///         Next::Send(packet)
    ///     }
    ///
    ///     fn user(&mut self, text: &'static str, _: &mut Conn<Self>) -> Next<Self> {
    ///         Next::Send(Bytes::from_static(text.as_bytes()))
    ///     }
    /// }
    ///
    /// # use tokio::io::{AsyncBufReadExt, BufReader};
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_protocol(|_| Patient { reminder: None });
    /// let pool = pool.framing(Framing::lines()).bind("127.0.0.1:0").await?;
    /// # let peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # let mut lines = BufReader::new(peer).lines();
    /// // The client sends nothing.
    /// assert_eq!(lines.next_line().await?.as_deref(), Some("still there?"));
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn after(&mut self, delay: Duration, message: P::User) -> TimerKey {
        self.set_timer(delay, Timer::Once(message))
    }

    /// Delivers a clone of a message to [`Protocol::user`] after each period, until the timer is cancelled. The first message
    /// is due one period from now.
    ///
    /// Each message is delivered under the conditions of [`after`](Conn::after). A period of less than 1 ms counts as 1 ms.
    ///
    /// If a message is delivered more than 5 ms late, or more than half a period if that is less, the next one is due one
    /// period after this delivery, as with tokio's
    /// [`MissedTickBehavior::Delay`](tokio::time::MissedTickBehavior::Delay). Missed messages are not made up for: after a long
    /// wait one message is delivered, and the next one a whole period later.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Conn, Framing, Next, Protocol};
    /// use bytes::Bytes;
    /// use std::time::Duration;
    ///
    /// #[derive(Clone)]
    /// enum Message { Heartbeat }
    ///
    /// struct Beating;
    ///
    /// impl Protocol for Beating {
    ///     type Codec = Framing;
    ///     type Reply = Bytes;
    ///     type User = Message;
    ///
    ///     fn ack(&mut self, conn: &mut Conn<Self>) -> Next<Self> {
    ///         conn.every(Duration::from_millis(20), Message::Heartbeat);
    ///         Next::Continue
    ///     }
    ///
    ///     fn packet(&mut self, packet: Bytes, _: &mut Conn<Self>) -> Next<Self> {
    ///         Next::Send(packet)
    ///     }
    ///
    ///     fn user(&mut self, message: Message, _: &mut Conn<Self>) -> Next<Self> {
    ///         match message {
    ///             Message::Heartbeat => Next::Send(Bytes::from_static(b"beat")),
    ///         }
    ///     }
    /// }
    ///
    /// # use tokio::io::{AsyncBufReadExt, BufReader};
    /// # actix_rt::System::new().block_on(async {
    /// let pool = AcceptorPool::with_protocol(|_| Beating).framing(Framing::lines()).bind("127.0.0.1:0").await?;
    /// # let peer = tokio::net::TcpStream::connect(pool.local_addr().expect("TCP")).await?;
    /// # let mut lines = BufReader::new(peer).lines();
    /// for _ in 0..3 {
    ///     assert_eq!(lines.next_line().await?.as_deref(), Some("beat"));
    /// }
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn every(&mut self, period: Duration, message: P::User) -> TimerKey
    where
        P::User: Clone,
    {
        let period = period.max(MIN_PERIOD);
        self.set_timer(period, Timer::Every { message, period, clone: P::User::clone })
    }

    /// Cancels a timer: its message is dropped and will not be delivered. Returns false if the connection has no timer with
    /// this key: the message of [`after`](Conn::after) was delivered, or the timer was cancelled before or belongs to another
    /// connection.
    pub fn cancel(&mut self, key: TimerKey) -> bool {
        self.background.as_mut().is_some_and(|background| background.timers.cancel(key))
    }

    /// The number of timers that are set: those of [`after`](Conn::after) until their message is delivered, those of
    /// [`every`](Conn::every) until they are cancelled.
    pub fn timers(&self) -> usize {
        self.background.as_ref().map_or(0, |background| background.timers.by_deadline.len())
    }

    fn set_timer(&mut self, delay: Duration, timer: Timer<P::User>) -> TimerKey {
        let key = TimerKey::new();
        if !self.is_closing() {
            self.background.get_or_insert_default().timers.set(key, later(Instant::now(), delay), timer);
            self.flags.insert(Flags::STREAM_ADDED);
        }
        key
    }
}
