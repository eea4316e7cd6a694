//! [`Incarnation`], the number of a lease.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::direct::Life;

/// Identifies one lease of a node. It is different after each start of the node, and after each loss of the lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Incarnation {
    /// The process. Its subjects contain this number, so that no other process gets requests that are meant for it.
    pub(crate) life: Life,
    /// Which of its leases, counted from 1.
    pub(crate) lease: u64,
}

impl Incarnation {
    /// That of no lease.
    pub(crate) const NONE: Self = Incarnation { life: 0, lease: 0 };

    /// The value of the lease.
    pub(crate) fn encode(self) -> [u8; 16] {
        (u128::from(self.life) << 64 | u128::from(self.lease)).to_be_bytes()
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let number = u128::from_be_bytes(value.try_into().ok()?);
        Some(Incarnation { life: (number >> 64) as u64, lease: number as u64 })
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.life, self.lease)
    }
}
