//! What a pool goes by: every setting with its unit, its default, and when a change of it takes effect.

#[cfg(feature = "serde")]
mod format;
mod snapshot;
mod validate;

use std::time::Duration;

use crate::connection::Active;
use crate::limits::{AtLimit, PeerPrefix, Rate, Rule};
use crate::listener::BacklogPolicy;

pub(crate) use snapshot::{Config, SharedConfig};

/// What a pool goes by, as plain values: set by the [`Builder`](crate::Builder), read back by
/// [`PoolHandle::settings`](crate::PoolHandle::settings), changed while the pool runs by
/// [`PoolHandle::change`](crate::PoolHandle::change).
///
/// | takes effect | settings |
/// |---|---|
/// | at once | `acceptors`, `max_restarts`, `restart_window`, `grace`, `backlog_on_close`, `max_connections`, `at_limit`, `refusal_message`, `max_per_peer`, `peer_rate`, `accept_rate`, `rules` |
/// | with new connections | `handshake_timeout`, `idle_timeout`, `packet_timeout`, `send_timeout`, `max_age`, `max_age_jitter`, `high_watermark`, `low_watermark`, `half_close`, `active`, `mailbox_capacity` |
/// | with a restart of the pool; a change is refused | `peer_prefix`, `reserve_descriptor`, `max_handshakes`, `watchdog` |
///
/// With the feature `serde` it can be read from a file: every field may be left out, unknown ones are refused; times are
/// texts such as `"10s"` or `"1h 30m"`, and those that may be for ever say so by `"never"`. As JSON, for example:
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
/// A time of zero is as good as never, but for `grace`. Not in here is what cannot be changed after the start: the pool's
/// name, its listeners, hooks, observers, alarms, and the `start_timeout`.
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
    /// How many acceptors, each on an arbiter (a thread) of its own. `None`: one per core. Default: `None`.
    ///
    /// Fewer than before: those of the highest numbers go; their connections go on.
    pub acceptors: Option<usize>,
    /// How many acceptors may be replaced within `restart_window`. Default: 5.
    pub max_restarts: usize,
    /// The time in which they may. Default: 10 seconds.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub restart_window: Duration,
    /// The grace when the pool ends without being asked to. `None`: for ever. Default: 5 seconds.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub grace: Option<Duration>,
    /// What becomes of peers in the kernel's queue when the port closes. Default: they are served.
    pub backlog_on_close: BacklogPolicy,
    /// How many connections the pool may have. Where the limit of open files leaves room for fewer, those: what is in force is
    /// told by [`PoolInfo::max_connections`](crate::info::PoolInfo::max_connections). Default: 16,384.
    pub max_connections: usize,
    /// What happens to peers while there are so many. Default: they wait.
    pub at_limit: AtLimit,
    /// What refused peers are sent before they are closed, as it goes over the wire; not those that a rule keeps out, nor
    /// those refused for want of descriptors.
    /// Default: nothing.
    #[cfg_attr(feature = "serde", serde(with = "format::text_or_bytes"))]
    pub refusal_message: Vec<u8>,
    /// How many connections one peer may have. `None`: as many as there is room for. Default: `None`.
    pub max_per_peer: Option<usize>,
    /// Which addresses count as one peer. Default: an IPv4 address, 64 bits of an IPv6 one.
    pub peer_prefix: PeerPrefix,
    /// How fast one peer may come. `None`: as it likes. Default: `None`.
    pub peer_rate: Option<Rate>,
    /// How fast all of them may come. `None`: as they like. Default: `None`.
    pub accept_rate: Option<Rate>,
    /// Who may come at all: the first rule about an address decides; none: it may. Default: none.
    pub rules: Vec<Rule>,
    /// Whether a descriptor is kept in reserve, to refuse peers at once when there is no other. Default: no.
    pub reserve_descriptor: bool,
    /// How long a handshake may take, PROXY header and TLS together. `None`: for ever. Default: 5 seconds.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub handshake_timeout: Option<Duration>,
    /// How many handshakes may be under way at once; others wait for their turn, within their time. Default: 1,024.
    pub max_handshakes: usize,
    /// How long a peer may be silent. `None`: for ever. Default: 60 seconds.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub idle_timeout: Option<Duration>,
    /// How long a packet may take. `None`: for ever. Default: 10 seconds.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub packet_timeout: Option<Duration>,
    /// How long a peer may take nothing. `None`: for ever. Default: 30 seconds.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub send_timeout: Option<Duration>,
    /// How long a connection may live. `None`: for ever. Default: `None`.
    #[cfg_attr(feature = "serde", serde(with = "format::or_never"))]
    pub max_age: Option<Duration>,
    /// By how much the ages differ. Default: zero.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub max_age_jitter: Duration,
    /// Unsent bytes above which a connection takes nothing in. Default: 64 KiB.
    pub high_watermark: usize,
    /// Unsent bytes down to which it goes on doing so. Default: 16 KiB.
    pub low_watermark: usize,
    /// Whether a connection goes on when its peer has shut its sending side. Default: no.
    pub half_close: bool,
    /// How packets are taken at first. Default: as they come.
    pub active: Active,
    /// How many messages a mailbox holds. Default: 16.
    pub mailbox_capacity: usize,
    /// How long a callback may block its arbiter before it is told. `None`: nobody looks. Default: 100 ms.
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
