//! Who may come in, and how many: permits, connections and rates per peer, access rules, the user's own word.
//!
//! ```text
//! readable ─▶ Port::room() ─▶ accept ─▶ Port::admit(peer) ─▶ Permit, PeerPermit ── live in the seat ──▶ given back with it
//!             (a permit)                 denied · per peer · rate · overload
//! ```

mod descriptors;
mod listener;
mod peers;
mod permits;
mod rate;
mod reserve;
mod rules;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tracing::error;

use crate::config::{Settings, SharedConfig};
use crate::net::Address;
use crate::panic::catch_panic;
use crate::telemetry::{LogThrottle, RefusalReason};

pub(crate) use descriptors::room_for_descriptors;
pub(crate) use listener::{ListenerLimits, PeerPermit, Permit};
pub use peers::PeerPrefix;
pub(crate) use permits::Permits;
pub use rate::{ParseRateError, Rate};
pub(crate) use reserve::ReserveDescriptor;
pub use rules::{ParseRuleError, Rule};

pub use crate::listener::BacklogPolicy;

use peers::{PeerRefusal, PeerTable};
use rate::TokenBucket;

/// What the permits are made of; a model checker has its own.
mod sync {
    pub(super) use std::sync::{Mutex, MutexGuard};
}

/// How many peers are held at the limit at the most.
const MAX_HELD: usize = 1_024;

/// What happens to peers while there is no permit for one more connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AtLimit {
    /// They wait in the kernel's queue, unaccepted, as far as the backlog goes.
    #[default]
    Wait,
    /// They are accepted and closed at once, after the refusal_message where there is one.
    Close,
    /// They are accepted and reset (RST).
    Reset,
    /// They are accepted and held, in the order in which they came, until there is a permit; after this time they are
    /// closed as by [`AtLimit::Close`]. 1,024 are held at the most, fewer where descriptors are scarce; those that come then
    /// are closed. A held peer counts as accepted once it is let in or turned away.
    Hold(#[cfg_attr(feature = "serde", serde(with = "humantime_serde"))] Duration),
}

/// A peer that was accepted and has passed every limit, as the overload hook sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NewConnection<'a> {
    /// The socket's peer: no PROXY header has been read yet.
    pub peer: &'a Address,
    /// The name of the listener it came by.
    pub listener: &'a str,
    /// Live connections of the pool, without this one.
    pub connections: usize,
    /// The limit in force.
    pub max_connections: usize,
}

/// The user's own word: true keeps the newcomer out.
pub(crate) type Overload = Box<dyn Fn(&NewConnection<'_>) -> bool + Send + Sync>;

/// The limits of one pool.
pub(crate) struct Limits {
    permits: Permits,
    peers: PeerTable,
    bucket: Mutex<TokenBucket>,
    config: Arc<SharedConfig>,
    overload: Option<Overload>,
    max_held: AtomicUsize,
    panics: LogThrottle,
    /// One for each handshake that may be under way.
    handshakes: Arc<Semaphore>,
    alive: AtomicUsize,
    epoch: Instant,
}

impl Limits {
    pub(crate) fn new(config: Arc<SharedConfig>, overload: Option<Overload>) -> Arc<Self> {
        let (max, handshakes, prefix) = {
            let settings = &config.load().settings;
            (settings.max_connections, settings.max_handshakes, settings.peer_prefix)
        };
        Arc::new(Limits {
            permits: Permits::new(max),
            peers: PeerTable::new(prefix),
            bucket: Mutex::default(),
            config,
            overload,
            max_held: AtomicUsize::new(MAX_HELD),
            panics: LogThrottle::new(),
            handshakes: Arc::new(Semaphore::new(handshakes.min(Semaphore::MAX_PERMITS))),
            alive: AtomicUsize::new(0),
            epoch: Instant::now(),
        })
    }

    pub(crate) fn handshakes(&self) -> &Arc<Semaphore> {
        &self.handshakes
    }

    /// The limit over the whole pool.
    pub(crate) fn max(&self) -> usize {
        self.permits.max()
    }

    /// `spare`: descriptors that are left beside so many connections, for peers that are held.
    pub(crate) fn set_max(&self, max: usize, spare: usize) {
        self.max_held.store(spare.min(MAX_HELD), Relaxed);
        self.permits.set_max(max);
    }

    /// How many peers may be held at the limit; those that come then are closed.
    pub(crate) fn max_held(&self) -> usize {
        self.max_held.load(Relaxed)
    }

    pub(crate) fn config(&self) -> &SharedConfig {
        &self.config
    }

    /// A connection is alive; answers with how many are.
    pub(crate) fn opened(&self) -> usize {
        self.alive.fetch_add(1, Relaxed) + 1
    }

    /// How many connections are alive.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Relaxed)
    }

    /// A connection is over; answers with how many are left.
    pub(crate) fn closed(&self) -> usize {
        self.alive.fetch_sub(1, Relaxed) - 1
    }

    /// Whether a rule keeps this peer out.
    fn denies(&self, ip: IpAddr) -> bool {
        !rules::allowed(&self.config.load().settings.rules, ip)
    }

    /// Counts the peer in, or says why not. What belongs to the peer is asked first, so that one peer's haste does not
    /// use up what is for all. A proxy (`claims`) is not a peer: whom it speaks for is counted when that is known.
    fn admit(&self, peer: &Address, listener: &str, claims: bool) -> Result<Option<IpAddr>, RefusalReason> {
        let config = self.config.load();
        let ip = self.enter(&config.settings, peer, !claims)?;
        let refused = if !self.has_token(&config.settings) {
            Some(RefusalReason::Rate)
        } else if self.is_overloaded(peer, listener) {
            Some(RefusalReason::Overload)
        } else {
            None
        };
        match (refused, ip) {
            (None, ip) => Ok(ip),
            (Some(refusal), ip) => {
                ip.into_iter().for_each(|ip| self.leave(ip));
                Err(refusal)
            }
        }
    }

    /// What is asked of a peer alone: whether a rule keeps it out, and how many and how fast.
    fn enter(&self, settings: &Settings, peer: &Address, counts: bool) -> Result<Option<IpAddr>, RefusalReason> {
        let Some(ip) = peer.ip() else { return Ok(None) };
        if !rules::allowed(&settings.rules, ip) {
            return Err(RefusalReason::Denied);
        }
        if !counts {
            return Ok(None);
        }
        let entered = self.peers.enter(ip, settings.max_per_peer, settings.peer_rate.as_ref(), self.now());
        match entered {
            Ok(()) => Ok(Some(ip)),
            Err(PeerRefusal::Connections) => Err(RefusalReason::PerPeer),
            Err(PeerRefusal::Rate) => Err(RefusalReason::Rate),
        }
    }

    fn has_token(&self, settings: &Settings) -> bool {
        let bucket = || self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        settings.accept_rate.as_ref().is_none_or(|rate| bucket().take(rate, self.now()))
    }

    /// A hook that panics keeps nobody in: whoever cannot be judged is refused.
    fn is_overloaded(&self, peer: &Address, listener: &str) -> bool {
        let Some(overload) = &self.overload else { return false };
        let connections = self.alive.load(Relaxed);
        let newcomer = NewConnection { peer, listener, connections, max_connections: self.max() };
        catch_panic(|| overload(&newcomer)).unwrap_or_else(|panic| {
            self.panics.log(|left_out| error!(%peer, listener, panic, left_out, "the overload hook panicked"));
            true
        })
    }

    /// One connection of this peer is over.
    fn leave(&self, ip: IpAddr) {
        self.peers.leave(ip, self.now());
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("permits", &self.permits).finish_non_exhaustive()
    }
}
