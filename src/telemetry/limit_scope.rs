//! Whose connection limit is reached.

use std::fmt;

/// Whose connection limit is reached: see [`PoolEvent::LimitReached`](crate::telemetry::PoolEvent::LimitReached).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitScope {
    /// That of the pool, over all listeners.
    Pool,
    /// That of one listener: [`Listener::max_connections`](crate::Listener::max_connections).
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
