//! The settings of a pool as plain values: each with its unit, its default, and when a change takes effect.
//!
//! The builder fills [`Settings`] in, [`validate`] checks them, and the pool derives from them what its acceptors and
//! connections read.

mod active;
mod at_limit;
mod backlog_policy;
#[cfg(feature = "serde")]
mod format;
mod peer_prefix;
mod rate;
mod rules;
mod snapshot;
mod validate;

use std::time::Duration;

pub use active::Active;
pub use at_limit::AtLimit;
pub use backlog_policy::BacklogPolicy;
pub use peer_prefix::PeerPrefix;
pub use rate::{ParseRateError, Rate};
pub(crate) use rules::is_allowed;
pub use rules::{ParseRuleError, Rule};
pub(crate) use snapshot::{Config, SharedConfig};

/// The settings of a pool as plain values. Set with the [`Builder`](crate::Builder), read with
/// [`Pool::settings`](crate::Pool::settings), changed while the pool runs with [`Pool::change`](crate::Pool::change).
///
/// | a change takes effect | settings |
/// |---|---|
/// | at once | `acceptors`, `max_restarts`, `restart_window`, `grace`, `backlog_on_close`, `max_connections`, `at_limit`, `refusal_message`, `max_per_peer`, `peer_rate`, `accept_rate`, `rules` |
/// | for new connections | `handshake_timeout`, `idle_timeout`, `packet_timeout`, `send_timeout`, `max_age`, `max_age_jitter`, `high_watermark`, `low_watermark`, `half_close`, `active`, `mailbox_capacity` |
/// | never: a running pool rejects it | `peer_prefix`, `reserve_descriptor`, `max_handshakes`, `watchdog` |
///
/// Not included are the pool's name, its listeners, hooks, observers, alarms, and the `start_timeout`.
///
/// For times that may be `None`, zero also disables the limit, with two exceptions: a `grace` of zero ends connections at
/// once, and a `watchdog` of zero is invalid.
///
/// With feature `serde`, settings can be read from a file. Every field may be omitted; unknown fields are rejected. Times
/// are strings such as `"10s"` or `"1h 30m"`; `None` is `"never"`. For example, as JSON:
///
/// ```json
/// {
///   "acceptors": 4,
///   "max_connections": 10000,
///   "at_limit": { "hold": "2s" },
///   "refusal_message": "503 full\n",
///   "max_per_peer": 50,
///   "peer_prefix": { "v4": 32, "v6": 56 },
///   "accept_rate": { "burst": 500, "per": "1s" },
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
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Settings {
    /// The number of acceptors, each on its own arbiter (a thread). At least 1. `None`: one per core. Default: `None`.
    ///
    /// If it is lowered, the acceptors with the highest numbers stop. Their connections stay open.
    pub acceptors: Option<usize>,
    /// How many acceptors may be restarted within `restart_window`, over the whole pool. Default: 5.
    pub max_restarts: usize,
    /// The time in which `max_restarts` counts. Default: 10 seconds.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub restart_window: Duration,
    /// The grace period of connections when the pool ends by itself. `None`: no limit. Default: 5 seconds.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub grace: Option<Duration>,
    /// What happens to the peers in the kernel's queue when a listener closes. Default: [`BacklogPolicy::Accept`].
    pub backlog_on_close: BacklogPolicy,
    /// How many connections the pool may have. At least 1. Lowered if the limit of open files allows fewer:
    /// [`PoolInfo::max_connections`](crate::info::PoolInfo::max_connections) is the limit in force. Default: 16,384.
    pub max_connections: usize,
    /// What happens to new peers at the connection limit. Default: [`AtLimit::Wait`].
    pub at_limit: AtLimit,
    /// The bytes sent to a refused peer before it is closed, without framing. Not sent to peers that a rule denies, that are
    /// reset, or that are refused for lack of descriptors. Default: empty.
    #[cfg_attr(feature = "serde", serde(with = "format::text_or_bytes"))]
    pub refusal_message: Vec<u8>,
    /// How many connections one peer may have. At least 1. `None`: no limit other than the pool's. Default: `None`.
    pub max_per_peer: Option<usize>,
    /// How many leading bits of an address identify a peer. Default: 32 for IPv4 (the whole address), 64 for IPv6.
    pub peer_prefix: PeerPrefix,
    /// The rate of new connections of one peer. `None`: no limit. Default: `None`.
    pub peer_rate: Option<Rate>,
    /// The rate of new connections, over all peers. `None`: no limit. Default: `None`.
    pub accept_rate: Option<Rate>,
    /// Access rules. The first one that matches an address decides; an address that none matches is allowed. Default: none.
    pub rules: Vec<Rule>,
    /// Whether to keep a file descriptor in reserve, to refuse peers at once when no other is free. Default: `false`.
    pub reserve_descriptor: bool,
    /// How long a handshake may take, PROXY header and TLS together. `None`: no limit. Default: 5 seconds.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub handshake_timeout: Option<Duration>,
    /// How many handshakes may run at the same time. At least 1. Others wait for a permit, which counts towards their
    /// timeout. Default: 1,024.
    pub max_handshakes: usize,
    /// How long a peer may be silent. `None`: no limit. Default: 60 seconds.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub idle_timeout: Option<Duration>,
    /// How long a packet may take, from its first byte to its last. `None`: no limit. Default: 10 seconds.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub packet_timeout: Option<Duration>,
    /// How long a peer may go without reading any of the bytes queued for it. `None`: no limit. Default: 30 seconds.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub send_timeout: Option<Duration>,
    /// How long a connection may live. `None`: no limit. Default: `None`.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub max_age: Option<Duration>,
    /// The greatest random difference between the maximum age of a connection and `max_age`. Must be zero unless `max_age` is
    /// set. Default: zero.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub max_age_jitter: Duration,
    /// The number of unsent bytes above which a connection handles neither packets nor messages. Default: 64 KiB.
    pub high_watermark: usize,
    /// The number of unsent bytes at which it continues; at most `high_watermark`. Default: 16 KiB.
    pub low_watermark: usize,
    /// Whether a connection stays open when its peer has shut down its sending side. Default: `false`.
    pub half_close: bool,
    /// The mode in which a connection starts to deliver packets. Default: [`Active::Always`].
    pub active: Active,
    /// How many messages a connection's mailbox holds. At least 1. Default: 16.
    pub mailbox_capacity: usize,
    /// How long a callback may block its arbiter before the block is counted and logged. `None`: no watchdog. Default:
    /// 100 ms.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub watchdog: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            acceptors: None,
            max_restarts: 5,
            restart_window: Duration::from_secs(10),
            grace: Some(Duration::from_secs(5)),
            backlog_on_close: BacklogPolicy::Accept,
            max_connections: 16_384,
            at_limit: AtLimit::Wait,
            refusal_message: Vec::new(),
            max_per_peer: None,
            peer_prefix: PeerPrefix::default(),
            peer_rate: None,
            accept_rate: None,
            rules: Vec::new(),
            reserve_descriptor: false,
            handshake_timeout: Some(Duration::from_secs(5)),
            max_handshakes: 1_024,
            idle_timeout: Some(Duration::from_secs(60)),
            packet_timeout: Some(Duration::from_secs(10)),
            send_timeout: Some(Duration::from_secs(30)),
            max_age: None,
            max_age_jitter: Duration::ZERO,
            high_watermark: 64 * 1024,
            low_watermark: 16 * 1024,
            half_close: false,
            active: Active::Always,
            mailbox_capacity: 16,
            watchdog: Some(Duration::from_millis(100)),
        }
    }
}
