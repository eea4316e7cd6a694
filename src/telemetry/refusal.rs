//! Why a peer was turned away, as a label and as a count.

use std::ops::AddAssign;

/// Why a peer was accepted and not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The pool, or the listener, had as many connections as it may.
    Limit,
    /// The peer had as many connections as it may.
    PerIp,
    /// Peers came faster than they may: all of them, or this one.
    Rate,
    /// An access rule keeps it out, or it is nobody whose PROXY header would be believed where one is required.
    Denied,
    /// The overload hook said so.
    Overload,
    /// The process was out of descriptors, and the reserve was used to tell the peer.
    Fd,
    /// It was held, or in the kernel's queue, when its port closed.
    Draining,
}

impl Refusal {
    /// Every reason, in the order of declaration.
    pub const ALL: [Refusal; 7] = [
        Refusal::Limit,
        Refusal::PerIp,
        Refusal::Rate,
        Refusal::Denied,
        Refusal::Overload,
        Refusal::Fd,
        Refusal::Draining,
    ];

    pub(crate) fn from_u8(number: u8) -> Option<Refusal> {
        Refusal::ALL.get(usize::from(number)).copied()
    }

    /// The reason's name in snake case, as logs and metrics show it.
    ///
    /// ```
    /// assert_eq!(actix_acceptor::Refusal::PerIp.name(), "per_ip");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::Limit => "limit",
            Refusal::PerIp => "per_ip",
            Refusal::Rate => "rate",
            Refusal::Denied => "denied",
            Refusal::Overload => "overload",
            Refusal::Fd => "fd",
            Refusal::Draining => "draining",
        }
    }
}

/// How many peers were refused, per [`Refusal`].
///
/// ```
/// # use actix_acceptor::{Refusal, RefusedCounts};
/// let counts = RefusedCounts::default();
/// assert_eq!(counts.get(Refusal::Limit), 0);
/// assert_eq!(counts.iter().count(), Refusal::ALL.len());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedCounts([u64; Refusal::ALL.len()]);

impl RefusedCounts {
    /// How many were refused for this reason.
    pub fn get(&self, refusal: Refusal) -> u64 {
        self.0[refusal as usize]
    }

    /// How many were refused, whatever the reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count, the zero ones included.
    pub fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.iter().map(|refusal| (*refusal, self.get(*refusal)))
    }

    pub(crate) fn add(&mut self, refusal: Refusal) {
        self.0[refusal as usize] += 1;
    }
}

impl AddAssign for RefusedCounts {
    fn add_assign(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}
