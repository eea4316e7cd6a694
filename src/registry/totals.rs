//! [`Totals`], the counts of a registry, and the counts that exist once per pool.

use std::ops::{Add, AddAssign, Sub};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use super::{ConnectionState, Contents, Registry, RegistryShared};
use crate::telemetry::{CloseReason, ConnectionId, Counts, HandshakeFailure, RefusalReason};

/// The counts of a registry so far. They satisfy accepted = refused + live + closed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) live: u64,
    pub(crate) refused: Counts<RefusalReason>,
    pub(crate) closed: Counts<CloseReason>,
    pub(crate) handshake_failures: Counts<HandshakeFailure>,
    pub(crate) traffic: Traffic,
    /// Bytes that are queued for live connections.
    pub(crate) unsent: u64,
}

/// What connections have received and sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) packets: u64,
}

/// A walk that adds up the traffic of the live connections.
#[derive(Debug, Default)]
pub(super) struct Sum {
    /// The last connection whose traffic is in the sum, or is about to be added.
    last: Option<ConnectionId>,
    /// The traffic of connections up to `last` that have ended since the start of the walk: it is counted twice.
    ended: Traffic,
}

impl Registry {
    /// The counts, consistent with each other. Connections are accepted and end meanwhile: the lock is held as by
    /// [`for_each`](Self::for_each).
    pub(crate) fn totals(&self) -> Totals {
        // Queues the replies that a topic has deferred: they count as unsent.
        self.flush_deferred();
        let _only = self.summing.lock();
        self.contents.lock().sum = Some(Sum::default());
        let (mut live, mut unsent) = (Traffic::default(), 0);
        let add = |state: &Arc<ConnectionState>| {
            live += Traffic::of(state);
            unsent += state.unsent();
        };
        self.for_each_chunk(|contents, last| contents.sum.iter_mut().for_each(|sum| sum.last = Some(last)), add);
        let mut contents = self.contents.lock();
        let ended = contents.sum.take().unwrap_or_default().ended;
        let traffic = contents.totals.traffic + live - ended;
        Totals { live: contents.connections.len() as u64, traffic, unsent, ..contents.totals }
    }

    /// The connections closed so far, by reason.
    pub(crate) fn closed(&self) -> Counts<CloseReason> {
        self.contents.lock().totals.closed
    }
}

impl Contents {
    /// Adds the traffic of a connection that has just been removed.
    pub(super) fn count_ended(&mut self, state: &ConnectionState) {
        let traffic = Traffic::of(state);
        self.totals.traffic += traffic;
        if let Some(sum) = self.sum.as_mut().filter(|sum| Some(state.id()) <= sum.last) {
            sum.ended += traffic;
        }
    }
}

impl Traffic {
    fn of(state: &ConnectionState) -> Self {
        Traffic { bytes_in: state.bytes_in(), bytes_out: state.bytes_out(), packets: state.packets() }
    }
}
impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Traffic {
            bytes_in: self.bytes_in + other.bytes_in,
            bytes_out: self.bytes_out + other.bytes_out,
            packets: self.packets + other.packets,
        }
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        // A count of bytes sent may be greater during a write than after it.
        Traffic {
            bytes_in: self.bytes_in.saturating_sub(other.bytes_in),
            bytes_out: self.bytes_out.saturating_sub(other.bytes_out),
            packets: self.packets.saturating_sub(other.packets),
        }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl RegistryShared {
    pub(crate) fn blocked(&self) -> u64 {
        self.blocked.load(Relaxed)
    }

    /// How many times `accept` failed.
    pub(crate) fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Relaxed)
    }

    pub(crate) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_blocked(&self) {
        self.blocked.fetch_add(1, Relaxed);
    }
}
