//! Why a connection ended, as a label and as a count.

use std::ops::AddAssign;

/// Why a connection ended, as a label: the reason of a [`Closed`](crate::Closed) without what came with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The connection's own code ended it: `Stop`, `Close`, or an async fn that returned.
    Local,
    /// The peer left: FIN, RST, or a write that met a closed socket.
    Peer,
    /// The peer was silent for the idle timeout.
    Idle,
    /// A packet was begun and not finished in time.
    PacketTimeout,
    /// The peer took nothing for the send timeout.
    SendTimeout,
    /// A packet was longer than allowed.
    TooLong,
    /// The connection reached its maximum age.
    MaxAge,
    /// It did not become ready: its PROXY header or its TLS handshake failed, or took too long.
    Handshake,
    /// The peer left a TLS connection without `close_notify`: what it sent may have been cut off.
    Truncated,
    /// An I/O error, an error of the codec, or the error a callback ended with.
    Error,
    /// A callback panicked.
    Panic,
    /// The connection ended after the pool had told it to shut down.
    Shutdown,
    /// Ended from outside: through the pool's handle, at a deadline, or with its arbiter.
    Killed,
}

impl Reason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Reason; 13] = [
        Reason::Local,
        Reason::Peer,
        Reason::Idle,
        Reason::PacketTimeout,
        Reason::SendTimeout,
        Reason::TooLong,
        Reason::MaxAge,
        Reason::Handshake,
        Reason::Truncated,
        Reason::Error,
        Reason::Panic,
        Reason::Shutdown,
        Reason::Killed,
    ];

    /// The reason's name in snake case, as logs and metrics show it.
    ///
    /// ```
    /// assert_eq!(actix_acceptor::Reason::PacketTimeout.name(), "packet_timeout");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Local => "local",
            Reason::Peer => "peer",
            Reason::Idle => "idle",
            Reason::PacketTimeout => "packet_timeout",
            Reason::SendTimeout => "send_timeout",
            Reason::TooLong => "too_long",
            Reason::MaxAge => "max_age",
            Reason::Handshake => "handshake",
            Reason::Truncated => "truncated",
            Reason::Error => "error",
            Reason::Panic => "panic",
            Reason::Shutdown => "shutdown",
            Reason::Killed => "killed",
        }
    }

    /// The reason kept as a number beside a connection; anything unknown reads as [`Reason::Killed`].
    pub(crate) fn from_u8(number: u8) -> Reason {
        Reason::ALL.get(usize::from(number)).copied().unwrap_or(Reason::Killed)
    }
}

/// How many connections ended, per [`Reason`].
///
/// ```
/// # use actix_acceptor::{ClosedCounts, Reason};
/// let counts = ClosedCounts::default();
/// assert_eq!(counts.get(Reason::Idle), 0);
/// assert_eq!(counts.iter().count(), Reason::ALL.len());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClosedCounts([u64; Reason::ALL.len()]);

impl ClosedCounts {
    /// How many ended for this reason.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// How many ended, whatever the reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count, the zero ones included.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().map(|reason| (*reason, self.get(*reason)))
    }

    pub(crate) fn add(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }

    /// What was counted since the counts stood like that.
    pub(crate) fn since(&self, then: &ClosedCounts) -> ClosedCounts {
        ClosedCounts(std::array::from_fn(|at| self.0[at] - then.0[at]))
    }
}

impl AddAssign for ClosedCounts {
    fn add_assign(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}
