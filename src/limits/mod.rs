//! Limits on connections and peers: permits, per-peer counts and rates, access rules, the overload hook.
//!
//! ```text
//! readable ─▶ ListenerLimits::acquire ─▶ accept ─▶ count_peer, check_pool ─▶ Permit, PeerPermit ─▶ ConnectionGuard
//!             a permit                             denied, per peer, rate, overload              gives both back
//! ```

mod blocking;
mod checks;
mod descriptors;
mod env;
mod fair_acceptors;
mod held;
mod lingering;
mod listener;
mod peers;
mod permits;
mod queue;
mod reserve;
mod token_bucket;
mod verdict;
mod waiting;

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::error;

use crate::config::{is_allowed, Settings, SharedConfig};
use crate::net::Address;
use crate::panic::{catch_panic, Guarded};
use crate::telemetry::{LogThrottle, RefusalReason};

pub use crate::config::{
    AtLimit, AtRate, BacklogPolicy, OverRate, PacketRate, ParseRateError, ParseRuleError, PeerPrefix, Rate, RefuseWith,
    Rule, SlowConsumer,
};
pub(crate) use blocking::BlockingJobs;
pub(crate) use checks::{Check, Checked};
pub(crate) use descriptors::available_descriptors;
use descriptors::{HELD_OF_RESERVED, LINGERING_OF_RESERVED};
pub(crate) use env::Env;
pub(crate) use fair_acceptors::FairAcceptorsGuard;
pub(crate) use held::HeldPermit;
pub(crate) use listener::{ConnectionKind, ListenerLimits, PeerPermit, Permit};
pub(crate) use permits::Permits;
pub(crate) use reserve::ReserveDescriptor;
pub(crate) use token_bucket::TokenBucket;
pub(crate) use verdict::Overload;
pub use verdict::{NewConnection, Verdict};
pub(crate) use waiting::WaitingGuard;

use fair_acceptors::FairAcceptors;
use held::HeldPeers;
use lingering::LingeringPeers;
use peers::{PeerRefusal, PeerTable};

/// The lock that `permits` is built on. The loom test substitutes loom's.
mod sync {
    pub(super) use std::sync::{Mutex, MutexGuard};
}

/// The limits of one pool.
pub(crate) struct Limits {
    permits: Permits,
    fair_acceptors: FairAcceptors,
    peers: PeerTable,
    bucket: Mutex<TokenBucket>,
    config: Arc<SharedConfig>,
    overload: Option<Guarded<Overload>>,
    held: HeldPeers,
    lingering: LingeringPeers,
    panics: LogThrottle,
    /// One permit for each handshake that may be in progress.
    handshakes: Arc<Semaphore>,
    max_handshakes: usize,
    blocking: Arc<BlockingJobs>,
    alive: AtomicUsize,
    epoch: Instant,
}

impl Limits {
    pub(crate) fn new(config: Arc<SharedConfig>, overload: Option<Overload>) -> Arc<Self> {
        let (max, handshakes, blocking, prefix) = {
            let settings = &config.load().settings;
            (settings.max_connections, settings.max_handshakes, settings.max_blocking, settings.peer_prefix)
        };
        let max_handshakes = handshakes.min(Semaphore::MAX_PERMITS);
        Arc::new(Limits {
            permits: Permits::new(max),
            fair_acceptors: FairAcceptors::default(),
            peers: PeerTable::new(prefix),
            bucket: Mutex::default(),
            config,
            overload: overload.map(Guarded::new),
            held: HeldPeers::new(),
            lingering: LingeringPeers::new(),
            panics: LogThrottle::new(),
            handshakes: Arc::new(Semaphore::new(max_handshakes)),
            max_handshakes,
            blocking: BlockingJobs::new(blocking),
            alive: AtomicUsize::new(0),
            epoch: Instant::now(),
        })
    }

    pub(crate) fn handshakes(&self) -> &Arc<Semaphore> {
        &self.handshakes
    }

    pub(crate) fn max_handshakes(&self) -> usize {
        self.max_handshakes
    }

    /// How many handshakes hold a permit.
    pub(crate) fn handshakes_under_way(&self) -> usize {
        self.max_handshakes.saturating_sub(self.handshakes.available_permits())
    }

    /// The blocking closures of the pool.
    pub(crate) fn blocking(&self) -> &Arc<BlockingJobs> {
        &self.blocking
    }

    /// The connection limit of the whole pool.
    pub(crate) fn max(&self) -> usize {
        self.permits.max()
    }

    /// Sets the connection limit. `spare` is the number of descriptors that are left beside `max` connections and those
    /// reserved for the rest of the program: held peers, and refused peers that linger, share them.
    pub(crate) fn set_max(&self, max: usize, spare: usize) {
        let for_lingering = spare / 4;
        self.held.set_max((spare - for_lingering).saturating_add(HELD_OF_RESERVED));
        self.lingering.set_max(for_lingering.saturating_add(LINGERING_OF_RESERVED));
        self.permits.set_max(max);
    }

    pub(crate) fn config(&self) -> &SharedConfig {
        &self.config
    }

    /// Counts a new connection. Returns how many are alive.
    pub(crate) fn add_connection(&self) -> usize {
        self.alive.fetch_add(1, Relaxed) + 1
    }

    /// How many connections are alive, exempt ones included.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Relaxed)
    }

    /// Takes a closed connection off the count. Returns how many are left.
    pub(crate) fn remove_connection(&self) -> usize {
        self.alive.fetch_sub(1, Relaxed) - 1
    }

    /// Whether an access rule denies this address.
    fn denies(&self, ip: IpAddr) -> bool {
        !is_allowed(&self.config.load().settings.rules, ip)
    }

    /// Checks the limits of one peer: access rules, number of connections, rate. Counts the connection if `counts`.
    ///
    /// Also returns how long the peer must wait for its token, which is at most `max_wait`. The peer's own limits are checked
    /// before those of the pool, so that a fast peer does not use up the tokens of the pool.
    fn register_peer(
        &self,
        settings: &Settings,
        peer: &Address,
        counts: bool,
        max_wait: Duration,
    ) -> Result<(Option<IpAddr>, Duration), RefusalReason> {
        let Some(ip) = peer.ip() else { return Ok((None, Duration::ZERO)) };
        if !is_allowed(&settings.rules, ip) {
            return Err(RefusalReason::Denied);
        }
        if !counts {
            return Ok((None, Duration::ZERO));
        }
        let rate = settings.peer_rate.as_ref().map(|rate| (rate, max_wait));
        match self.peers.register(ip, settings.max_per_peer, rate, self.now()) {
            Ok(wait) => Ok((Some(ip), wait)),
            Err(PeerRefusal::Connections) => Err(RefusalReason::PerPeer),
            Err(PeerRefusal::Rate) => Err(RefusalReason::Rate),
        }
    }

    /// Takes a token of the pool that is there or becomes due within `max_wait`. Returns how long the peer must wait for it, or
    /// `None` if the rate is exceeded.
    fn reserve_token(&self, settings: &Settings, max_wait: Duration) -> Option<Duration> {
        let Some(rate) = &settings.accept_rate else { return Some(Duration::ZERO) };
        self.bucket.lock().reserve(rate, self.now(), max_wait)
    }

    /// Calls the overload hook. A connection for which the hook panics is refused.
    fn verdict(&self, peer: &Address, listener: &str, held: Duration) -> Verdict {
        let Some(overload) = &self.overload else { return Verdict::Admit };
        let connections = self.alive.load(Relaxed);
        let connection = NewConnection { peer, listener, connections, max_connections: self.max(), held };
        catch_panic(|| overload(&connection)).unwrap_or_else(|panic| {
            self.panics.log(|left_out| error!(%peer, listener, panic, left_out, "the overload hook panicked"));
            Verdict::Refuse
        })
    }

    /// Takes a closed connection off the count of its peer.
    fn release_peer(&self, ip: IpAddr) {
        self.peers.release(ip, self.now());
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
