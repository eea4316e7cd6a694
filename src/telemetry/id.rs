//! The id of a connection.

use std::fmt;

/// The id of a connection: a number that is unique within its pool, counted from 1 in the order of acceptance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct ConnectionId(pub(crate) u64);

impl ConnectionId {
    /// The id as a number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Converts a number, for example one that an operator entered, back to an id.
impl From<u64> for ConnectionId {
    fn from(number: u64) -> Self {
        ConnectionId(number)
    }
}
