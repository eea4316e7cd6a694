//! Why a peer was refused, as a label.

use std::fmt;

use super::counts::{sealed, Label};

/// Why a peer was refused after it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum RefusalReason {
    /// The pool, or the listener, was at its connection limit.
    Limit,
    /// The peer was at its connection limit.
    PerPeer,
    /// The accept rate of the pool, or the rate of this peer, was exceeded.
    Rate,
    /// An access rule denies the peer, or a PROXY header is required and the sender is not trusted.
    Denied,
    /// The overload hook refused it.
    Overload,
    /// The process was out of descriptors, and the reserve descriptor was used to refuse the peer.
    Descriptors,
    /// The peer was held, or in the kernel's queue, when its listener closed.
    Draining,
}

const ALL: [RefusalReason; 7] = [
    RefusalReason::Limit,
    RefusalReason::PerPeer,
    RefusalReason::Rate,
    RefusalReason::Denied,
    RefusalReason::Overload,
    RefusalReason::Descriptors,
    RefusalReason::Draining,
];

impl RefusalReason {
    /// Every reason, in the order of declaration.
    pub const ALL: &'static [RefusalReason] = &ALL;

    /// The reason in snake case, as logs and metrics show it.
    ///
    /// ```
    /// assert_eq!(actix_acceptor::telemetry::RefusalReason::PerPeer.name(), "per_peer");
    /// assert_eq!(actix_acceptor::telemetry::RefusalReason::Rate.to_string(), "rate");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            RefusalReason::Limit => "limit",
            RefusalReason::PerPeer => "per_peer",
            RefusalReason::Rate => "rate",
            RefusalReason::Denied => "denied",
            RefusalReason::Overload => "overload",
            RefusalReason::Descriptors => "descriptors",
            RefusalReason::Draining => "draining",
        }
    }
}

impl Label for RefusalReason {
    const ALL: &'static [Self] = &ALL;

    fn name(self) -> &'static str {
        RefusalReason::name(self)
    }
}

impl fmt::Display for RefusalReason {
    /// Writes the [`name`](RefusalReason::name).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl sealed::Label for RefusalReason {
    type Array = [u64; ALL.len()];

    fn index(self) -> usize {
        self as usize
    }
}
