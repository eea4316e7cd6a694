//! Every setting of a pool, with unit and default; and the gate at which a pool is made.

mod constructors;
mod limits;
mod start;

use std::sync::Arc;
use std::time::Duration;

use crate::config::Settings;
use crate::connection::Active;
use crate::error::InvalidSetting;
use crate::limits::Overload;
use crate::listener::Listener;
use crate::pool::Placement;
use crate::telemetry::{Alarm, Observer};

/// The settings of a pool that is to be: made by the doors of [`AcceptorPool`](crate::AcceptorPool), ended by [`bind`](Builder::bind) or
/// [`listen`](Builder::listen).
///
/// Everything has a default; everything is checked at once, before the port is opened.
#[must_use = "a pool begins with `bind` or `listen`"]
pub struct Builder<D> {
    pub(crate) service: D,
    name: Option<Arc<str>>,
    listeners: Vec<Listener>,
    placement: Placement,
    start_timeout: Duration,
    settings: Settings,
    overload: Option<Overload>,
    observers: Vec<Box<dyn Observer>>,
    alarms: Vec<Alarm>,
    invalid: Option<InvalidSetting>,
}

impl<D> Builder<D> {
    pub(crate) fn new(service: D) -> Self {
        Builder {
            service,
            name: None,
            listeners: Vec::new(),
            placement: Placement::OwnArbiters,
            start_timeout: Duration::from_secs(5),
            settings: Settings::default(),
            overload: None,
            observers: Vec::new(),
            alarms: Vec::new(),
            invalid: None,
        }
    }

    /// The pool's name, by which [`AcceptorPool::find`](crate::AcceptorPool::find) finds it; unique among the pools of an actix system.
    ///
    /// Default: the address it listens on.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How many acceptors, each on an arbiter (a thread) of its own. 0 is refused.
    ///
    /// Default: one per core.
    pub fn acceptors(mut self, acceptors: usize) -> Self {
        self.settings.acceptors = Some(acceptors);
        self
    }

    /// All acceptors and connections on the caller's arbiter, for tests and small programs; one acceptor unless
    /// [`acceptors`](Builder::acceptors) says more.
    pub fn on_current_arbiter(mut self) -> Self {
        self.placement = Placement::Current;
        self
    }

    /// How many acceptors may be replaced within a time, over the whole pool; one more ends it with
    /// [`PoolError::TooManyRestarts`](crate::PoolError::TooManyRestarts).
    ///
    /// Default: 5 within 10 seconds.
    pub fn max_restarts(mut self, limit: usize, within: Duration) -> Self {
        (self.settings.max_restarts, self.settings.restart_window) = (limit, within);
        self
    }

    /// The grace connections get when the pool ends without being asked to: its budget is spent, or its own arbiter
    /// stopped. `None`: for ever.
    ///
    /// Default: 5 seconds.
    pub fn grace(mut self, grace: impl Into<Option<Duration>>) -> Self {
        self.settings.grace = grace.into();
        self
    }

    /// How long the start may take, the look-up of the address and the acceptors each.
    ///
    /// Default: 5 seconds.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = limit;
        self
    }

    /// How long a handshake may take, from the accept on: PROXY header and TLS together. `None`: for ever. Then the connection
    /// ends with [`Closed::Handshake`](crate::Closed::Handshake).
    ///
    /// Default: 5 seconds.
    pub fn handshake_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.handshake_timeout = limit.into();
        self
    }

    /// How many handshakes may be under way at once, over the pool. Others wait for their turn, within their time; listeners
    /// without a handshake never do. 0 is refused.
    ///
    /// Default: 1,024.
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.settings.max_handshakes = handshakes;
        self
    }

    /// How long a peer may be silent before [`timeout`](crate::Protocol::timeout) is called. `None`: for ever.
    ///
    /// Only what the peer sends counts: neither messages from the program nor what we send resets it. It stands still
    /// while the connection waits, is passive, or is above its high-water mark. Kept within a tenth or 10 ms, delegate is
    /// more; never early.
    ///
    /// Default: 60 seconds.
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.idle_timeout = limit.into();
        self
    }

    /// How long a packet may take, from its first byte to its last; progress does not extend it. `None`: for ever.
    ///
    /// Condor's packet timeout: see [`Timeout::Packet`](crate::Timeout::Packet). A packet has begun when its codec has left
    /// bytes unread; one that takes a prefix out of the buffer by itself (tokio-util's `LengthDelimitedCodec`) begins with
    /// the first byte behind the prefix.
    ///
    /// Default: 10 seconds.
    pub fn packet_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.packet_timeout = limit.into();
        self
    }

    /// How long a peer may take nothing of what is queued for it before its connection ends with
    /// [`Closed::SendTimeout`](crate::Closed::SendTimeout). Every byte it takes counts as progress. `None`: for ever.
    ///
    /// Default: 30 seconds.
    pub fn send_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.send_timeout = limit.into();
        self
    }

    /// How long a connection may live. Then what is queued is sent, and it ends with
    /// [`Closed::MaxAge`](crate::Closed::MaxAge); a wait under way is waited for. `None`: for ever.
    ///
    /// Default: for ever.
    pub fn max_age(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.max_age = limit.into();
        self
    }

    /// Spreads the ends of connections that began together: each lives for the maximum age plus or minus up to this.
    ///
    /// Default: zero.
    pub fn max_age_jitter(mut self, jitter: Duration) -> Self {
        self.settings.max_age_jitter = jitter;
        self
    }

    /// The marks of unsent bytes: above `high` a connection takes in neither packets nor messages until it is down to
    /// `low`. What one callback sends is the most that can stand above the mark.
    ///
    /// Default: 64 KiB and 16 KiB.
    pub fn watermarks(mut self, high: usize, low: usize) -> Self {
        (self.settings.high_watermark, self.settings.low_watermark) = (high, low);
        self
    }

    /// Whether a connection goes on when its peer has shut its sending side.
    ///
    /// Default: no; what came before is answered, what is queued is sent, then it ends with
    /// [`Closed::Peer`](crate::Closed::Peer). A wait with no packet behind it is dropped, see
    /// [`Conn::wait`](crate::Conn::wait): where clients pipe requests in and answers take their time, turn this on.
    pub fn half_close(mut self, half_close: bool) -> Self {
        self.settings.half_close = half_close;
        self
    }

    /// How packets are taken from the socket at first.
    ///
    /// Default: [`Active::Always`].
    pub fn active(mut self, active: Active) -> Self {
        self.settings.active = active;
        self
    }

    /// How many messages a connection's mailbox holds before `try_send` is refused and `send` waits; `do_send` ignores it.
    /// 0 is refused.
    ///
    /// Default: 16, as in actix.
    pub fn mailbox_capacity(mut self, messages: usize) -> Self {
        self.settings.mailbox_capacity = messages;
        self
    }

    /// All settings at once, read from a file for example; those made before are forgotten.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Listens there, too. A pool with listeners of its own is started by [`start`](Builder::start).
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// How long a callback may block its arbiter before that is counted in [`PoolInfo::blocked`](crate::info::PoolInfo::blocked)
    /// and logged as a warning with the connection it ran for, once for each time. `None`: nobody looks. Zero is refused.
    ///
    /// A blocked arbiter serves nobody: blocking work belongs into [`Conn::blocking`](crate::Conn::blocking). What counts is
    /// the time that one callback takes, or one poll of an async fn ([`serve`](crate::AcceptorPool::with_fn)); many short ones
    /// in a row do not add up. A thread that the machine does not let run is blocked as well. It is noticed while it lasts:
    /// never early, and within half the limit unless the machine is too busy to look. Of the log lines one a second is
    /// written, with the number of those that were `left_out`.
    ///
    /// An arbiter that is blocked by something else (an actor of one's own behind [`start`](crate::AcceptorPool::with_actor), a
    /// task spawned there, a `Drop`) is noticed as well while connections live there, up to an eighth of a second later, and
    /// logged without a connection. What ends before it is noticed is not seen, nor what blocks other threads.
    ///
    /// It costs a thread per pool, which looks four times per limit while there are connections and sleeps while there
    /// are none; and a few instructions a callback.
    ///
    /// Default: 100 ms.
    pub fn watchdog(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.watchdog = limit.into();
        self
    }

    /// Tells it what happens; one more each time.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Raises an alarm on the number of connections; one more each time.
    pub fn alarm(mut self, alarm: Alarm) -> Self {
        self.alarms.push(alarm);
        self
    }

    /// Records an invalid setting that is only known to the handler; `start` reports it.
    pub(crate) fn reject(&mut self, setting: InvalidSetting) {
        self.invalid.get_or_insert(setting);
    }
}
