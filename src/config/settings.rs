//! [`Settings`] and [`SettingsPatch`], from one table: a setting that is added here is in both, and in every merge,
//! comparison and file.

use std::time::Duration;

use super::fields::settings;
use super::{Active, AtLimit, AtRate, BacklogPolicy, PacketRate, PeerPrefix, Rate, RefuseWith, Rule, SlowConsumer};

settings! {
    /// The settings of a pool as plain values. Set with the [`Builder`](crate::Builder), read with
    /// [`Pool::settings`](crate::Pool::settings), changed while the pool runs with [`Pool::change`](crate::Pool::change).
    ///
    /// | a change takes effect | settings |
    /// |---|---|
    /// | at once | `acceptors`, `max_restarts`, `restart_window`, `grace`, `backlog_on_close`, `max_connections`, `at_limit`, `refuse_with`, `refusal_message`, `max_per_peer`, `peer_rate`, `accept_rate`, `at_rate`, `rules`, `outbox`, `slow_consumer`, `max_blocking` |
    /// | for new connections | `handshake_timeout`, `idle_timeout`, `packet_timeout`, `send_timeout`, `max_age`, `max_age_jitter`, `high_watermark`, `low_watermark`, `half_close`, `active`, `packet_rate`, `max_read_buffer`, `mailbox_capacity` |
    /// | never: a running pool rejects it | `peer_prefix`, `reserve_descriptor`, `max_handshakes`, `watchdog` |
    ///
    /// Not included are the pool's name, its listeners, hooks, observers, alarms, and the `start_timeout`.
    ///
    /// For times that may be `None`, zero also disables the limit, with two exceptions: a `grace` of zero ends connections at
    /// once, and a `watchdog` of zero is invalid.
    ///
    /// To change some settings and leave the others as they are, use a [`SettingsPatch`].
    ///
    /// With feature `serde`, `Settings` are serialized with every key, and deserializing them requires every key, so that a
    /// missing key never resets a setting. Read a file or request that contains only some settings as a [`SettingsPatch`].
    /// In both, unknown keys are rejected, and times are strings such as `"10s"` or `"1h 30m"`. `None` is `"never"` for a
    /// time and `"none"` for other values; `null` means the same. For example, a patch as JSON:
    ///
    /// ```json
    /// {
    ///   "acceptors": 4,
    ///   "max_connections": 10000,
    ///   "at_limit": { "hold": "2s" },
    ///   "refuse_with": "reset",
    ///   "refusal_message": "503 full\n",
    ///   "max_per_peer": 50,
    ///   "peer_prefix": { "v4": 32, "v6": 56 },
    ///   "accept_rate": { "burst": 500, "per": "1s" },
    ///   "at_rate": { "hold": "3s" },
    ///   "rules": ["allow 10.0.0.0/8", "deny 0.0.0.0/0", "deny ::/0"],
    ///   "idle_timeout": "5m",
    ///   "max_age": "never",
    ///   "active": { "count": 3 }
    /// }
    /// ```
    ///
    /// ```
    /// use actix_acceptor::Settings;
    /// use std::time::Duration;
    ///
    /// let mut settings = Settings::default();
    /// settings.max_per_peer = Some(50);
    /// assert_eq!(settings.max_connections, 16_384);
    /// assert_eq!(settings.idle_timeout, Some(Duration::from_secs(60)));
    /// ```
    pub struct Settings {
        /// The number of acceptors, each on its own arbiter (a thread). At least 1, at most 1,024. `None`: one per core.
        /// Default: `None`.
        ///
        /// If it is lowered, the acceptors with the highest numbers stop. Their connections stay open.
        acceptors: Option<usize> = None,
        /// How many acceptors may be restarted within `restart_window`, over the whole pool. Default: 5.
        max_restarts: usize = 5,
        /// The period to which `max_restarts` applies. Default: 10 seconds.
        restart_window: Duration = Duration::from_secs(10),
        /// The grace period of connections when the pool ends by itself, and of
        /// [`Drain::configured`](crate::Drain::configured) unless the configuration sets another one. `None`: no limit.
        /// Default: 5 seconds.
        grace: Option<Duration> = Some(Duration::from_secs(5)),
        /// What happens to the peers in the kernel's queue when a listener closes. Default: [`BacklogPolicy::Accept`].
        backlog_on_close: BacklogPolicy = BacklogPolicy::Accept,
        /// How many connections the pool may have. At least 1. Lowered if the limit of open files allows fewer:
        /// [`PoolInfo::max_connections`](crate::info::PoolInfo::max_connections) is the limit in force. Default: 16,384.
        max_connections: usize = 16_384,
        /// What happens to new peers at the connection limit. Default: [`AtLimit::Wait`].
        at_limit: AtLimit = AtLimit::Wait,
        /// How a peer is closed that is refused for a reason other than the connection limit. Default: [`RefuseWith::Close`].
        refuse_with: RefuseWith = RefuseWith::Close,
        /// The bytes sent to a refused peer before it is closed, without framing. They are not sent to peers that a rule
        /// denies, that are reset, or that are refused for lack of descriptors. Default: empty.
        refusal_message: Vec<u8> = Vec::new(),
        /// How many connections one peer may have. At least 1. `None`: no limit other than the pool's. Default: `None`.
        max_per_peer: Option<usize> = None,
        /// How many leading bits of an address identify a peer. Default: 32 for IPv4 (the whole address), 64 for IPv6.
        peer_prefix: PeerPrefix = PeerPrefix::default(),
        /// The rate of new connections of one peer. `None`: no limit. Default: `None`.
        peer_rate: Option<Rate> = None,
        /// The rate of new connections, over all peers. `None`: no limit. Default: `None`.
        accept_rate: Option<Rate> = None,
        /// What happens to new peers above a rate. Default: [`AtRate::Refuse`].
        at_rate: AtRate = AtRate::Refuse,
        /// Access rules. The first one that matches an address decides; an address that none matches is allowed. Default:
        /// none.
        rules: Vec<Rule> = Vec::new(),
        /// Whether to keep a file descriptor in reserve, to refuse peers at once when no other is free. Default: `false`.
        reserve_descriptor: bool = false,
        /// How long a handshake may take from the accept on, PROXY header and TLS together. `None`: no limit. Default: 5
        /// seconds.
        handshake_timeout: Option<Duration> = Some(Duration::from_secs(5)),
        /// How many handshakes may run at the same time. At least 1. Others wait for a permit, which counts towards their
        /// timeout. Default: 1,024.
        max_handshakes: usize = 1_024,
        /// How long a peer may be silent. `None`: no limit. Default: 60 seconds.
        idle_timeout: Option<Duration> = Some(Duration::from_secs(60)),
        /// How long a packet may take, from its first byte to its last. `None`: no limit. Default: 10 seconds.
        packet_timeout: Option<Duration> = Some(Duration::from_secs(10)),
        /// How long a peer may go without reading any of the bytes queued for it. `None`: no limit. Default: 30 seconds.
        send_timeout: Option<Duration> = Some(Duration::from_secs(30)),
        /// How long a connection may live. `None`: no limit. Default: `None`.
        max_age: Option<Duration> = None,
        /// The greatest random difference between the maximum age of a connection and `max_age`. Must be zero unless
        /// `max_age` is set. Default: zero.
        max_age_jitter: Duration = Duration::ZERO,
        /// The number of unsent bytes above which a connection handles neither packets nor messages. Default: 64 KiB.
        high_watermark: usize = 64 * 1024,
        /// The number of unsent bytes at which it continues; at most `high_watermark`. Default: 16 KiB.
        low_watermark: usize = 16 * 1024,
        /// How many bytes others may have queued for a connection: see [`Outbox`](crate::Outbox). At least 1. Default: 1 MiB.
        outbox: usize = 1024 * 1024,
        /// What happens when a connection's outbox is full. Default: [`SlowConsumer::Close`].
        slow_consumer: SlowConsumer = SlowConsumer::Close,
        /// Whether a connection stays open when its peer has shut down its sending side. Default: `false`.
        half_close: bool = false,
        /// The mode in which a connection starts to deliver packets. Default: [`Active::Always`].
        active: Active = Active::Always,
        /// The rate of packets of one connection. `None`: no limit. Default: `None`.
        packet_rate: Option<PacketRate> = None,
        /// How many bytes of an incomplete packet a connection buffers for a codec other than [`Framing`](crate::Framing),
        /// which has its own limit. At least 1. Default: 16 MiB.
        max_read_buffer: usize = 16 * 1024 * 1024,
        /// How many messages a connection's mailbox holds. At least 1, at most 4,294,967,295. Default: 256.
        mailbox_capacity: usize = 256,
        /// How many closures of [`Conn::blocking`](crate::Conn::blocking) may run at the same time, over all connections.
        /// Others wait in a queue. At least 1. If it is lowered, running closures are not stopped; the next one starts when
        /// fewer than the new limit run. Default: 64.
        max_blocking: usize = 64,
        /// How long a callback may block its arbiter before the block is counted and logged. `None`: no watchdog. Default:
        /// 100 ms.
        watchdog: Option<Duration> = Some(Duration::from_millis(100)),
    }
}
