//! [`ConnectionState`], the part of a connection that other threads use: its numbers, its signals, and its waker.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicU8, Ordering::*};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Wake, Waker};

use bitflags::bitflags;

use super::mailbox::Mailbox;
use super::messaging::Messaging;
use super::signals::{AtomicSignals, Signals};
use crate::limits::{ListenerLimits, PeerPermit, Permit};
use crate::net::Address;
use crate::telemetry::{ConnectionId, RefusalReason};
use crate::time::Clock;

bitflags! {
    /// The permits and counts that a connection holds.
    #[derive(Clone, Copy)]
    struct Held: u8 {
        const PERMIT = 1;
        /// The count for the socket's peer.
        const SOCKET_PEER = 1 << 1;
        /// The count for the peer that a PROXY header names.
        const CLAIMED_PEER = 1 << 2;
        const PEERS = Self::SOCKET_PEER.bits() | Self::CLAIMED_PEER.bits();
        /// The connection is exempt: it has neither a permit nor a count, and gets none. Never cleared.
        const EXEMPT = 1 << 3;
    }
}

/// No deadline.
pub(super) const NEVER: u64 = u64::MAX;

/// The shared state of one live connection.
///
/// Only the connection itself writes its numbers, with plain loads and stores; other threads read them.
pub(crate) struct ConnectionState {
    id: ConnectionId,
    socket_peer: Address,
    /// The peer named by a trusted PROXY header.
    claimed_peer: OnceLock<Box<Address>>,
    listener: Arc<ListenerLimits>,
    held: AtomicU8,
    opened: u64,
    created: u64,
    last_read: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    packets: AtomicU64,
    deadline: AtomicU64,
    shortest_timeout: AtomicU32,
    signals: AtomicSignals,
    waker: OnceLock<Waker>,
    pub(super) mailbox: Mailbox,
    pub(super) messaging: Messaging,
}

impl ConnectionState {
    /// `clock` is that of the registry, `shortest_timeout` the shortest timeout in milliseconds (0 for none).
    pub(super) fn new(
        id: ConnectionId,
        peer: Address,
        permit: Permit,
        peer_permit: PeerPermit,
        shortest_timeout: u32,
        clock: &Clock,
    ) -> Self {
        let now = clock.now();
        let mut held = Held::empty();
        held.set(Held::SOCKET_PEER, peer_permit.keep());
        let listener = permit.keep();
        held.insert(Held::PERMIT);
        ConnectionState {
            id,
            socket_peer: peer,
            claimed_peer: OnceLock::new(),
            listener,
            held: AtomicU8::new(held.bits()),
            opened: now,
            created: clock.elapsed(),
            last_read: AtomicU64::new(now),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            deadline: AtomicU64::new(NEVER),
            shortest_timeout: AtomicU32::new(shortest_timeout),
            signals: AtomicSignals::default(),
            waker: OnceLock::new(),
            mailbox: Mailbox::default(),
            messaging: Messaging::default(),
        }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// The peer: the one named by a trusted PROXY header, else the socket's.
    pub(crate) fn peer(&self) -> &Address {
        self.claimed_peer.get().map_or(&self.socket_peer, |claimed| claimed)
    }

    pub(crate) fn socket_peer(&self) -> &Address {
        &self.socket_peer
    }

    /// Sets the peer that a trusted PROXY header names, or `None` if the handshake ended without naming one. From now
    /// on, limits and rules apply to that peer.
    pub(crate) fn claim_peer(&self, claimed: Option<Address>) -> Result<(), RefusalReason> {
        if claimed.is_none() && self.held().intersects(Held::PEERS) {
            return Ok(());
        }
        self.give_back(Held::PEERS);
        if let Some(claimed) = claimed {
            // Set before admission, so that a refusal names this peer. A second claim is ignored.
            let _ = self.claimed_peer.set(Box::new(claimed));
        }
        let counts = !self.held().contains(Held::EXEMPT);
        if self.listener.admit_claimed(self.peer(), counts)?.keep() {
            let peer = if self.claimed_peer.get().is_some() { Held::CLAIMED_PEER } else { Held::SOCKET_PEER };
            let before = Held::from_bits_retain(self.held.fetch_or(peer.bits(), AcqRel));
            if before.contains(Held::EXEMPT) {
                // Exempted meanwhile, by another thread.
                self.give_back(peer);
            }
        }
        Ok(())
    }

    /// The limits of the listener that accepted it.
    pub(crate) fn listener(&self) -> &Arc<ListenerLimits> {
        &self.listener
    }

    pub(crate) fn listener_name(&self) -> &Arc<str> {
        self.listener.name()
    }

    /// Exempts the connection from the limits on the number of connections, that per peer included. Calling it again has no
    /// effect.
    pub(crate) fn exempt(&self) {
        self.held.fetch_or(Held::EXEMPT.bits(), AcqRel);
        self.give_back(Held::PERMIT | Held::PEERS);
    }

    pub(super) fn give_back_all(&self) {
        self.give_back(Held::PERMIT | Held::PEERS);
    }

    fn held(&self) -> Held {
        Held::from_bits_retain(self.held.load(Acquire))
    }

    fn give_back(&self, what: Held) {
        let held = Held::from_bits_retain(self.held.fetch_and(!what.bits(), AcqRel)) & what;
        if held.contains(Held::PERMIT) {
            self.listener.release();
        }
        for (count, peer) in [(Held::SOCKET_PEER, &self.socket_peer), (Held::CLAIMED_PEER, self.peer())] {
            if let (true, Some(ip)) = (held.contains(count), peer.ip()) {
                self.listener.release_peer(ip);
            }
        }
    }

    /// When it was accepted, in milliseconds of the registry's clock.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// When it was accepted, in microseconds since the registry's clock was created.
    pub(super) fn created(&self) -> u64 {
        self.created
    }

    /// When the peer last sent something, in milliseconds of the registry's clock.
    #[inline]
    pub(crate) fn last_read(&self) -> u64 {
        self.last_read.load(Relaxed)
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Relaxed)
    }

    #[inline]
    pub(crate) fn count_read(&self, bytes: usize, now: u64) {
        self.last_read.store(now, Relaxed);
        self.bytes_in.store(self.bytes_in.load(Relaxed) + bytes as u64, Relaxed);
    }

    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Relaxed)
    }

    #[inline]
    pub(crate) fn set_bytes_out(&self, bytes: u64) {
        self.bytes_out.store(bytes, Relaxed);
    }

    /// Runs one write of at most `max` bytes and counts what was written.
    ///
    /// All of `max` is counted before the write, so that the count includes bytes that the peer has already received.
    /// The bytes that were not written are subtracted afterwards.
    pub(crate) fn count_write(
        &self,
        max: u64,
        write: impl FnOnce() -> Poll<std::io::Result<usize>>,
    ) -> Poll<std::io::Result<usize>> {
        let before = self.bytes_out();
        self.set_bytes_out(before + max);
        let outcome = write();
        let written = if let Poll::Ready(Ok(bytes)) = &outcome { *bytes as u64 } else { 0 };
        self.set_bytes_out(before + written);
        outcome
    }

    pub(crate) fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }

    #[inline]
    pub(crate) fn count_packets(&self, packets: u64) {
        self.packets.store(self.packets.load(Relaxed) + packets, Relaxed);
    }

    /// The time at which the tick signals [`Signals::DEADLINE`].
    pub(super) fn deadline(&self) -> u64 {
        self.deadline.load(Relaxed)
    }

    /// Sets the time at which the tick signals [`Signals::DEADLINE`]; `None` for never.
    pub(crate) fn set_deadline(&self, deadline: Option<u64>) {
        self.deadline.store(deadline.unwrap_or(NEVER), Relaxed);
    }

    pub(super) fn shortest_timeout(&self) -> u32 {
        self.shortest_timeout.load(Relaxed)
    }

    pub(super) fn set_shortest_timeout(&self, timeout: u32) {
        self.shortest_timeout.store(timeout, Relaxed);
    }

    /// Adds signals and wakes the connection; false if all of them were set before.
    pub(crate) fn signal(&self, signals: Signals) -> bool {
        let is_new = self.signals.set(signals);
        if is_new {
            self.wake();
        }
        is_new
    }

    /// Adds signals without waking the connection; false if all of them were set before.
    pub(super) fn add_signals(&self, signals: Signals) -> bool {
        self.signals.set(signals)
    }

    /// Adds signals without waking the connection: see [`Registry::wake_signalled`](super::Registry).
    pub(super) fn set_signals(&self, signals: Signals) {
        self.signals.set(signals);
    }

    /// Wakes the connection. Has no effect before its first turn.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    /// The signals that are set.
    #[inline]
    pub(crate) fn signals(&self) -> Signals {
        self.signals.get()
    }

    /// Clears signals, so that they can be set again.
    pub(crate) fn clear(&self, signals: Signals) {
        self.signals.clear(signals);
    }

    /// Sets the waker that a signal wakes. Must be called once. Signals set earlier do not wake it, so check them afterwards.
    pub(crate) fn set_waker(&self, waker: Waker) {
        let _ = self.waker.set(waker);
    }
}

/// The mailbox wakes the connection through its state, so that the turn knows that there is mail.
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
        f.debug_struct("ConnectionState").field("id", &self.id).field("peer", self.peer()).finish_non_exhaustive()
    }
}
