//! [`LimitScope`]: the connection limit of the pool, or of a listener.

use std::fmt;

/// Which connection limit is reached: see [`PoolEvent::LimitReached`](crate::telemetry::PoolEvent::LimitReached).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitScope {
    /// The limit of the pool: [`Builder::max_connections`](crate::Builder::max_connections).
    Pool,
    /// The limit of the listener: [`Listener::max_connections`](crate::Listener::max_connections).
    Listener,
}

impl LimitScope {
    /// The name in snake case, as logs show it.
    pub const fn name(self) -> &'static str {
        match self {
            LimitScope::Pool => "pool",
            LimitScope::Listener => "listener",
        }
    }
}

impl fmt::Display for LimitScope {
    /// Writes the [`name`](LimitScope::name).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
