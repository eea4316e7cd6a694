//! [`ConnectionState`], the part of a connection that other threads use: its numbers and its signals.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::*};
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use super::messaging::Messaging;
use super::record::ConnectionRecord;
use super::signals::{AtomicSignals, Signals};
use crate::limits::{PeerPermit, Permit};
use crate::net::Address;
use crate::telemetry::ConnectionId;
use crate::time::Clock;

/// No deadline.
pub(super) const NEVER: u64 = u64::MAX;

/// The shared state of one live connection: what its turns and the tick use. The rest is in its [`ConnectionRecord`].
///
/// Only the connection itself writes its numbers, with plain loads and stores; other threads read them.
pub(crate) struct ConnectionState {
    id: ConnectionId,
    created: u64,
    last_read: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    packets: AtomicU64,
    deadline: AtomicU64,
    shortest_timeout: AtomicU32,
    signals: AtomicSignals,
    pub(super) messaging: Messaging,
    pub(super) record: Box<ConnectionRecord>,
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
        ConnectionState {
            id,
            created: clock.elapsed(),
            last_read: AtomicU64::new(clock.now()),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            deadline: AtomicU64::new(NEVER),
            shortest_timeout: AtomicU32::new(shortest_timeout),
            signals: AtomicSignals::default(),
            messaging: Messaging::default(),
            record: Box::new(ConnectionRecord::new(peer, permit, peer_permit)),
        }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// When it was accepted, in microseconds since the registry's clock was created.
    pub(super) fn created(&self) -> u64 {
        self.created
    }

    /// When the peer last sent something, in milliseconds of the registry's clock; until then, when it was accepted.
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
        if let Some(waker) = self.record.waker.get() {
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
        let _ = self.record.waker.set(waker);
        // A write, which comes before or after that of a signal: either the signal is seen from now on, or it finds the waker. A
        // read would not do.
        self.signals.set(Signals::empty());
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

#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::*;

    /// What an allocation of glibc holds that fits between two allocations aligned to 128 bytes. Every connection has two of
    /// those, made by tokio, so the space in front of them costs nothing.
    const GAP: usize = 104;

    #[test]
    fn state_and_record_fit_into_the_gaps_of_the_allocator() {
        // The counts of the `Arc` come first.
        assert!(size_of::<[usize; 2]>() + size_of::<ConnectionState>() <= GAP);
        assert!(size_of::<ConnectionRecord>() <= GAP);
    }
}
