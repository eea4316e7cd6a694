//! The builder of a pool: every setting, with unit and default.
//!
//! A constructor of [`AcceptorPool`](crate::AcceptorPool) ([`constructors`]) makes a [`Builder`] around a [`Service`], the
//! user's handler. [`start`] validates all settings, opens the listeners and starts the pool.
//!
//! [`Service`]: crate::handlers::Service

mod config;
mod constructors;
mod limits;
mod own_thread;
mod start;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Active, DrainConfig, Settings, SettingsPatch};
use crate::error::{ConfigError, InvalidSetting};
use crate::limits::Overload;
use crate::listener::{Listener, NamedServices};
use crate::pool::Placement;
use crate::telemetry::{Alarm, Observer};

pub use own_thread::{PoolStart, PoolThread};

/// Configures and starts a pool. Made by the constructors of [`AcceptorPool`](crate::AcceptorPool); [`bind`](Builder::bind),
/// [`listen`](Builder::listen) or [`start`](Builder::start) starts the pool;
/// [`start_on_own_thread`](Builder::start_on_own_thread) starts it where no actix system runs.
///
/// Every setting has a default. All settings, with those of the listeners, are validated together when the pool is started,
/// before any socket is opened; the error names every invalid one.
/// Most of them can be changed later with [`Pool::change`](crate::Pool::change): see [`Settings`].
#[must_use = "a builder does nothing until `bind`, `listen` or `start` is called"]
pub struct Builder<S> {
    service: S,
    name: Option<Arc<str>>,
    listeners: Vec<Listener>,
    placement: Placement,
    start_timeout: Duration,
    settings: Settings,
    overload: Option<Overload>,
    observers: Vec<Box<dyn Observer>>,
    alarms: Vec<Alarm>,
    drain: DrainConfig,
    config_errors: Vec<ConfigError>,
    named_services: NamedServices,
    invalid_services: Vec<InvalidSetting>,
}

impl<S> Builder<S> {
    fn new(service: S) -> Self {
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
            drain: DrainConfig::default(),
            config_errors: Vec::new(),
            named_services: NamedServices::default(),
            invalid_services: Vec::new(),
        }
    }

    /// The pool's name, for [`AcceptorPool::find`](crate::AcceptorPool::find). Unique among the pools of an actix system.
    ///
    /// The threads of the pool are named after it: the watchdog `chat-watch` and, on Linux and Android, the arbiters of the
    /// acceptors `chat-acc-0`, `chat-acc-1`. Long names are truncated, since Linux keeps 15 bytes. Without a name, the port is
    /// used (`:7878-acc-0`). On other systems the threads of arbiters keep the names that `actix-rt` gives them.
    ///
    /// Default: the address of the first listener.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The number of acceptors, each on its own arbiter (a thread). At least 1, at most 1,024.
    ///
    /// Default: one per core.
    pub fn acceptors(mut self, acceptors: usize) -> Self {
        self.settings.acceptors = Some(acceptors);
        self
    }

    /// Runs all acceptors and connections on the caller's arbiter, for tests and small programs. There is one acceptor,
    /// unless [`acceptors`](Builder::acceptors) is set.
    ///
    /// A paused tokio clock is that of one thread only, so while it is paused, acceptors must run there. A pool without
    /// sockets, as with [`transport::Memory`](crate::transport::Memory), then does so by default; a pool with sockets fails
    /// to start with [`StartError::PausedClock`](crate::StartError::PausedClock) unless this method was called.
    pub fn on_current_arbiter(mut self) -> Self {
        self.placement = Placement::Current;
        self
    }

    /// The restart budget: how many acceptors of the pool may be restarted within a period. When one more restart is needed,
    /// the pool ends with [`PoolError::TooManyRestarts`](crate::PoolError::TooManyRestarts).
    ///
    /// Default: 5 within 10 seconds.
    pub fn max_restarts(mut self, limit: usize, within: Duration) -> Self {
        (self.settings.max_restarts, self.settings.restart_window) = (limit, within);
        self
    }

    /// The grace period of connections when the pool ends by itself, because its restart budget is spent or its own arbiter
    /// stopped. `None` sets no limit; zero ends connections at once. [`stop`](crate::Pool::stop) and
    /// [`drain`](crate::Pool::drain) have their own, except with [`Drain::configured`](crate::Drain::configured).
    ///
    /// Default: 5 seconds.
    pub fn grace(mut self, grace: impl Into<Option<Duration>>) -> Self {
        self.settings.grace = grace.into();
        self
    }

    /// The time limit for resolving the address, and separately for starting the acceptors.
    /// Must be greater than zero.
    ///
    /// Default: 5 seconds.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = limit;
        self
    }

    /// How long a handshake may take from the accept on, PROXY header and TLS together. After that the connection ends with
    /// [`Closed::Handshake`](crate::Closed::Handshake). `None` or zero disables the timeout.
    ///
    /// Default: 5 seconds.
    pub fn handshake_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.handshake_timeout = limit.into();
        self
    }

    /// How many handshakes may run at the same time, over the pool. Others wait for a permit, and the wait counts towards
    /// their timeout. TLS and the PROXY protocol take a permit when the first byte of the peer has arrived, so peers that
    /// send nothing hold none. Listeners without a handshake are not affected. At least 1.
    ///
    /// Default: 1,024.
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.settings.max_handshakes = handshakes;
        self
    }

    /// How long a peer may be silent before [`timeout`](crate::Protocol::timeout) is called. `None` or zero disables the
    /// timeout.
    ///
    /// Only bytes from the peer reset the timeout, not messages from the program or bytes sent to the peer. It is paused
    /// while the connection does not read: during a handshake or a wait, and while it is passive, sends a file, or is above
    /// its high-water mark. It fires at most 10 % or 10 ms late, whichever is larger, and never early.
    ///
    /// Once the peer has shut down its sending side, the timeout also bounds a wait (see [`Conn::wait`](crate::Conn::wait))
    /// and a passive connection (see [`Active::Passive`]).
    ///
    /// Default: 60 seconds.
    pub fn idle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.idle_timeout = limit.into();
        self
    }

    /// How long a packet may take, from its first byte to its last; progress does not extend it. `None` or zero disables the
    /// timeout.
    ///
    /// See [`Timeout::Packet`](crate::Timeout::Packet). A packet starts when its codec has bytes and returns `Ok(None)`,
    /// whether it leaves them in the buffer or takes them out (as tokio-util's `LengthDelimitedCodec` does with a prefix). It
    /// ends when the codec returns a packet. A codec that skips bytes between packets, such as keep-alive messages, should
    /// therefore return a packet for them.
    ///
    /// Default: 10 seconds.
    pub fn packet_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.packet_timeout = limit.into();
        self
    }

    /// How long a peer may go without reading any of the bytes queued for it before its connection ends with
    /// [`Closed::SendTimeout`](crate::Closed::SendTimeout). Every byte that it reads restarts the time. `None` or zero
    /// disables the timeout.
    ///
    /// Default: 30 seconds.
    pub fn send_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.send_timeout = limit.into();
        self
    }

    /// How long a connection may live. After that its queued bytes are sent, for at most half a second, and it ends with
    /// [`Closed::MaxAge`](crate::Closed::MaxAge). A wait or a handshake in progress is cancelled, and the answer of the wait
    /// is not sent. A connection that is already closing has the same half second, and keeps its reason if everything was
    /// sent. `None` or zero sets no limit.
    ///
    /// Default: `None`.
    pub fn max_age(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.max_age = limit.into();
        self
    }

    /// Spreads the ends of connections that started together: the maximum age of each is `max_age` plus or minus a random
    /// time of up to `jitter`. Requires [`max_age`](Builder::max_age).
    ///
    /// Default: zero.
    pub fn max_age_jitter(mut self, jitter: Duration) -> Self {
        self.settings.max_age_jitter = jitter;
        self
    }

    /// The high- and low-water mark of unsent bytes, including those in the [outbox](Builder::outbox). Above `high`, a connection
    /// handles neither packets nor messages until at most `low` bytes are unsent. The connection's own answers exceed the mark
    /// by at most the bytes that one callback sends.
    ///
    /// Default: 64 KiB and 16 KiB.
    pub fn watermarks(mut self, high: usize, low: usize) -> Self {
        (self.settings.high_watermark, self.settings.low_watermark) = (high, low);
        self
    }

    /// Whether a connection stays open when its peer has shut down its sending side.
    ///
    /// With `false`, packets that were received before are delivered, waits are completed and their answers sent (see
    /// [`Conn::wait`](crate::Conn::wait)), then the connection ends with [`Closed::Peer`](crate::Closed::Peer). Futures of
    /// [`Conn::spawn`](crate::Conn::spawn) are dropped.
    ///
    /// With `true`, [`Protocol::half_closed`](crate::Protocol::half_closed) is called and the connection stays open. It can
    /// still send. Return [`Next::Stop`](crate::Next::Stop) once the last answer is queued; otherwise the idle timeout ends
    /// the connection.
    ///
    /// Default: `false`.
    pub fn half_close(mut self, half_close: bool) -> Self {
        self.settings.half_close = half_close;
        self
    }

    /// The mode in which a connection starts to deliver packets.
    ///
    /// Default: [`Active::Always`].
    pub fn active(mut self, active: Active) -> Self {
        self.settings.active = active;
        self
    }

    /// How many bytes of an incomplete packet a connection buffers for a codec other than [`Framing`](crate::Framing). If the
    /// codec leaves more bytes than that without returning a packet, the connection ends with
    /// [`Closed::TooLong`](crate::Closed::TooLong). At least 1.
    ///
    /// It bounds codecs without a limit of their own, such as tokio-util's `LinesCodec::new()`. A codec that takes the bytes
    /// out of the buffer and keeps them must bound them itself. The limit of `Framing` is
    /// [`max_frame`](Builder::max_frame).
    ///
    /// Default: 16 MiB.
    pub fn max_read_buffer(mut self, bytes: usize) -> Self {
        self.settings.max_read_buffer = bytes;
        self
    }

    /// How many messages a connection's mailbox holds before `try_send` fails. At least 1, at most 4,294,967,295.
    ///
    /// Only `try_send` with an address that is kept is bounded by it: see [`messages`](crate::messages#the-mailbox). Memory is
    /// used only for messages that are in the mailbox.
    ///
    /// Default: 256.
    pub fn mailbox_capacity(mut self, messages: usize) -> Self {
        self.settings.mailbox_capacity = messages;
        self
    }

    /// How many closures of [`Conn::blocking`](crate::Conn::blocking) may run at the same time, over all connections of the
    /// pool. Others wait in a first-in, first-out queue. At least 1.
    ///
    /// Default: 64.
    pub fn max_blocking(mut self, closures: usize) -> Self {
        self.settings.max_blocking = closures;
        self
    }

    /// Changes the settings that the patch contains, for example those read from a file. The others stay as they are. If
    /// several calls set the same setting, the last one counts.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, SettingsPatch, Socket};
    /// # actix_rt::System::new().block_on(async {
    /// let mut patch = SettingsPatch::default();
    /// patch.max_connections = Some(100);
    ///
    /// let pool = AcceptorPool::with_fn(|_: Socket| async {}).acceptors(1).patch(patch).bind("127.0.0.1:0").await?;
    /// assert_eq!(pool.settings().acceptors, Some(1));
    /// assert_eq!(pool.settings().max_connections, 100);
    /// # pool.stop(None).await;
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn patch(mut self, patch: SettingsPatch) -> Self {
        self.settings.apply(patch);
        self
    }

    /// Replaces all [`Settings`], including those set before. To change only some of them, use [`patch`](Builder::patch).
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Adds a listener. May be called repeatedly. Call [`start`](Builder::start) to open the listeners.
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// How long a callback may block its arbiter before the block is counted in
    /// [`PoolInfo::blocked`](crate::info::PoolInfo::blocked) and logged as a warning with the connection, once per
    /// occurrence. `None` disables the watchdog. Zero is invalid.
    ///
    /// A blocked arbiter serves no connection: run blocking work with [`Conn::blocking`](crate::Conn::blocking). The limit
    /// applies to one callback, or one poll of an async fn ([`with_fn`](crate::AcceptorPool::with_fn)); short ones do not
    /// add up. A thread that the system does not schedule counts as blocked. A block is reported while it lasts, at the
    /// earliest at the limit, and at most half the limit later unless the machine is too busy. At most one log line a second
    /// is written, with the number of omitted ones in `left_out`.
    ///
    /// An arbiter that is blocked by something else (an actor of [`with_actor`](crate::AcceptorPool::with_actor), a task
    /// spawned there, a `Drop`) is detected as well while it has connections, up to an eighth of a second later, and logged
    /// without a connection. A block that ends before it is detected is not counted, nor are blocks of other threads.
    ///
    /// The cost is a few instructions per callback, and a thread per pool that wakes four times per limit while there are
    /// connections and sleeps while there are none.
    ///
    /// Default: 100 ms.
    pub fn watchdog(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.watchdog = limit.into();
        self
    }

    /// Registers an observer for pool events. May be called repeatedly. [`Pool::add_observer`](crate::Pool::add_observer) adds
    /// one to a running pool.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Adds an alarm on the number of connections. May be called repeatedly. [`Pool::add_alarm`](crate::Pool::add_alarm) adds
    /// one to a running pool.
    pub fn alarm(mut self, alarm: Alarm) -> Self {
        self.alarms.push(alarm);
        self
    }
}

impl<S> fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("listeners", &self.listeners)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
