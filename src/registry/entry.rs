//! One live connection as the table knows it: numbers, orders, and a way to wake it.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8, Ordering::*};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::Registry;
use crate::limits::{ListenerLimits, PeerPermit, Permit};
use crate::net::Address;
use crate::telemetry::{CloseReason, ConnectionId, PoolEvent, RefusalReason};

/// What a connection has been told, a bit each.
pub(crate) struct Signals;

impl Signals {
    /// End at once.
    pub(crate) const KILL: u8 = 1;
    /// The pool shuts down.
    pub(crate) const DRAIN: u8 = 2;
    /// A deadline may have come.
    pub(crate) const DUE: u8 = 4;
    /// There may be mail.
    pub(crate) const MAIL: u8 = 8;
    /// End, but send what is queued first.
    pub(crate) const STOP: u8 = 16;
    /// Either of these came from the deadline of a drain.
    pub(crate) const FORCED: u8 = 32;

    /// Either way to end.
    pub(crate) const END: u8 = Self::KILL | Self::STOP;
}

/// What a connection holds of the limits, a bit each.
struct Held;

impl Held {
    const PERMIT: u8 = 1;
    const PEER: u8 = 2;
}

/// The sender that messages to all go by: always the same, for a fresh one has room in a full mailbox.
enum Speaker {
    Unmade,
    Made(Box<dyn Any + Send + Sync>),
    /// The connection is over. (The mailbox knows the entry as its waker, so that a sender in here would keep both.)
    Gone,
}

/// A peer on its way into the table, with what it holds of the limits.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: Address,
    pub(crate) port: Arc<ListenerLimits>,
    pub(crate) permit: Permit,
    pub(crate) peer_permit: PeerPermit,
    /// The table's tick follows it, from the first stamp on; milliseconds, 0 for none.
    pub(crate) shortest_limit: u32,
}

/// Marks an ending that is a refusal.
const REFUSED: u8 = 128;

/// No deadline.
const NEVER: u64 = u64::MAX;

/// One live connection.
///
/// The connection alone writes its numbers, so plain loads and stores do; others only read them.
pub(crate) struct ConnectionState {
    id: ConnectionId,
    key: usize,
    peer: Address,
    /// Who the peer claims to be, and is believed to be.
    claimed: OnceLock<Box<Address>>,
    port: Arc<ListenerLimits>,
    holds: AtomicU8,
    opened: u64,
    born: Instant,
    heard: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    packets: AtomicU64,
    due: AtomicU64,
    shortest_limit: AtomicU32,
    orders: AtomicU8,
    ending: AtomicU8,
    waker: OnceLock<Waker>,
    address: OnceLock<Box<dyn Any + Send + Sync>>,
    speaker: Mutex<Speaker>,
}

impl ConnectionState {
    pub(super) fn new(id: ConnectionId, key: usize, arrival: Arrival, now: u64) -> Self {
        let Arrival { peer, port, permit, peer_permit, shortest_limit } = arrival;
        let permit = permit.keep().map_or(0, |_| Held::PERMIT);
        let peer_permit = if peer_permit.keep() { Held::PEER } else { 0 };
        ConnectionState {
            id,
            key,
            peer,
            claimed: OnceLock::new(),
            port,
            holds: AtomicU8::new(permit | peer_permit),
            opened: now,
            born: Instant::now(),
            heard: AtomicU64::new(now),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            due: AtomicU64::new(NEVER),
            shortest_limit: AtomicU32::new(shortest_limit),
            orders: AtomicU8::new(0),
            ending: AtomicU8::new(CloseReason::Killed as u8),
            waker: OnceLock::new(),
            address: OnceLock::new(),
            speaker: Mutex::new(Speaker::Unmade),
        }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// Who is at the other end: whom the peer claims to be, where it is believed, else whom the socket says.
    pub(crate) fn peer(&self) -> &Address {
        self.claimed.get().map_or(&self.peer, |claimed| claimed)
    }

    pub(crate) fn socket_peer(&self) -> &Address {
        &self.peer
    }

    /// This is whom the peer claims to be, where it is believed; `None` when the handshake is done and it claims nothing. From
    /// here on limits look at that one.
    pub(crate) fn claim(&self, claimed: Option<Address>) -> Result<(), RefusalReason> {
        if claimed.is_none() && self.holds.load(Acquire) & Held::PEER != 0 {
            return Ok(());
        }
        self.give_back(Held::PEER);
        if let Some(claimed) = claimed {
            // First of all, so that a refusal names the right one. A second claim is not heard.
            let _ = self.claimed.set(Box::new(claimed));
        }
        if self.port.admit_claimed(self.peer())?.keep() {
            self.holds.fetch_or(Held::PEER, AcqRel);
        }
        Ok(())
    }

    /// The listener it came by.
    pub(crate) fn port(&self) -> &Arc<ListenerLimits> {
        &self.port
    }

    /// Takes the connection off the limit; twice is once.
    pub(crate) fn exempt(&self) {
        self.give_back(Held::PERMIT);
    }

    fn give_back(&self, what: u8) {
        let held = self.holds.fetch_and(!what, AcqRel) & what;
        if held & Held::PERMIT != 0 {
            self.port.give_back();
        }
        if let (true, Some(ip)) = (held & Held::PEER != 0, self.peer().ip()) {
            self.port.leave(ip);
        }
    }

    /// When it was accepted, by its table's clock.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// How long it has lived, the time in which its arbiter was blocked included.
    pub(super) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// When the peer last sent something.
    #[inline]
    pub(crate) fn last_read(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Relaxed)
    }

    #[inline]
    pub(crate) fn received(&self, bytes: usize, now: u64) {
        self.heard.store(now, Relaxed);
        self.bytes_in.store(self.bytes_in.load(Relaxed) + bytes as u64, Relaxed);
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Relaxed)
    }

    #[inline]
    pub(crate) fn set_bytes_out(&self, bytes: u64) {
        self.bytes_out.store(bytes, Relaxed);
    }

    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }

    #[inline]
    pub(crate) fn delivered(&self, packets: u64) {
        self.packets.store(self.packets.load(Relaxed) + packets, Relaxed);
    }

    pub(crate) fn due(&self) -> u64 {
        self.due.load(Relaxed)
    }

    /// When the tick is to wake it next; `None`: not for its own sake.
    pub(crate) fn set_due(&self, due: Option<u64>) {
        self.due.store(due.unwrap_or(NEVER), Relaxed);
    }

    pub(super) fn put_off(&self) {
        self.set_due(None);
    }

    pub(crate) fn shortest_limit(&self) -> u32 {
        self.shortest_limit.load(Relaxed)
    }

    fn set_shortest_limit(&self, limit: u32) {
        self.shortest_limit.store(limit, Relaxed);
    }

    /// Gives an order, or several at once, and wakes the connection; false if it had them before.
    pub(crate) fn signal(&self, order: u8) -> bool {
        let before = self.orders.fetch_or(order, AcqRel);
        let is_news = before & order != order;
        if is_news && let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
        is_news
    }

    /// What has been ordered so far, leaving it there.
    #[inline]
    pub(crate) fn signals(&self) -> u8 {
        self.orders.load(Acquire)
    }

    /// Takes note of an order: it can be given again.
    pub(crate) fn clear(&self, order: u8) {
        self.orders.fetch_and(!order, AcqRel);
    }

    /// Who is woken by an order, once and for all. Signals from before are seen by the caller's next look at them.
    pub(crate) fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }

    /// Where the actor behind this connection can be reached, as a weak address.
    pub(crate) fn address(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.address.get().map(|address| &**address)
    }

    /// Speaks by the one sender that is kept for it; `None` if the connection is over.
    pub(crate) fn with_sender<A, R>(&self, make: impl FnOnce() -> Option<A>, speak: impl FnOnce(&A) -> R) -> Option<R>
    where
        A: Any + Send + Sync,
    {
        let mut speaker = self.speaker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Speaker::Unmade = &*speaker {
            *speaker = Speaker::Made(Box::new(make()?));
        }
        match &*speaker {
            Speaker::Made(sender) => sender.downcast_ref().map(speak),
            _ => None,
        }
    }

    pub(super) fn hush(&self) {
        let made = std::mem::replace(&mut *self.speaker.lock().unwrap_or_else(PoisonError::into_inner), Speaker::Gone);
        drop(made);
    }

    pub(crate) fn set_address(&self, address: impl Any + Send + Sync) {
        let _ = self.address.set(Box::new(address));
    }
}

/// A mailbox is woken through the entry, so that the connection knows that it was mail.
impl Wake for ConnectionState {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signal(Signals::MAIL);
    }
}

impl fmt::Debug for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionState").field("id", &self.id).field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// A connection's place in the table. Dropping it gives the place back and counts how the connection ended.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    registry: Arc<Registry>,
    entry: Arc<ConnectionState>,
}

impl ConnectionGuard {
    pub(super) fn new(registry: Arc<Registry>, entry: Arc<ConnectionState>) -> Self {
        ConnectionGuard { registry, entry }
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    #[inline]
    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        &self.entry
    }

    /// The time of the last tick.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.registry.clock().now()
    }

    /// The connection's shortest limit is another one now.
    pub(crate) fn request_tick(&self, shortest_limit: u32) {
        self.entry.set_shortest_limit(shortest_limit);
        self.registry.request_tick(shortest_limit);
    }

    /// The connection ends because whom the peer claims to be is kept out: it counts as refused, not as closed.
    pub(crate) fn refuse(&self, refusal: RefusalReason) {
        self.entry.ending.store(REFUSED | refusal as u8, Relaxed);
    }

    /// The connection is ready: packets come from here on.
    pub(crate) fn ready(&self) {
        self.registry.shared().observers.emit(|| {
            let (id, peer, listener) = (self.entry.id(), self.entry.peer(), &**self.entry.port().name());
            PoolEvent::ConnectionReady { id, peer, listener }
        });
    }

    /// How the connection ends, should it end now. Without a word it counts as killed.
    pub(crate) fn note(&self, reason: CloseReason) {
        self.entry.ending.store(reason as u8, Relaxed);
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.entry.hush();
        let ending = self.entry.ending.load(Relaxed);
        match RefusalReason::from_u8(ending & !REFUSED).filter(|_| ending & REFUSED != 0) {
            Some(refusal) => self.registry.close_refused(&self.entry, refusal),
            None => self.registry.close(&self.entry, CloseReason::from_u8(ending)),
        }
        let (shared, limits) = (self.registry.shared(), self.entry.port.limits());
        shared.changed(limits.closed(), limits);
        // So late, so that whoever is let in now finds this one gone; and who waits for its end finds its place free.
        self.entry.give_back(Held::PERMIT | Held::PEER);
        shared.settle();
    }
}
