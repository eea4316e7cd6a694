//! The overload hook: its argument and its result.

use std::time::Duration;

use crate::net::Address;

/// A new connection that has passed all other checks: the argument of the [`overload`](crate::Builder::overload) hook.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NewConnection<'a> {
    /// The address of the socket's peer. No PROXY header has been read yet.
    pub peer: &'a Address,
    /// The name of the listener that accepted it.
    pub listener: &'a str,
    /// The number of live connections of the pool, without this one.
    pub connections: usize,
    /// The connection limit of the pool.
    pub max_connections: usize,
    /// How long the peer has been held since it was accepted. Zero if it was not held.
    pub held: Duration,
}

/// The result of the [`overload`](crate::Builder::overload) hook. A `bool` is converted: `true` (overloaded) to
/// [`Refuse`](Verdict::Refuse), `false` to [`Admit`](Verdict::Admit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The peer is admitted.
    Admit,
    /// The peer is refused, as [`Overload`](crate::telemetry::RefusalReason::Overload).
    Refuse,
    /// The peer is held for this time, at least 1 ms, without a permit. Then the hook is called again, and
    /// [`NewConnection::held`] is the time so far: the hook must limit it.
    ///
    /// At most 1,024 peers of a pool are held, fewer if descriptors are scarce. Further peers are refused, and so are adopted
    /// streams and peers in the accept queue of a listener that closes.
    Hold(Duration),
}

impl From<bool> for Verdict {
    fn from(is_overloaded: bool) -> Self {
        match is_overloaded {
            true => Verdict::Refuse,
            false => Verdict::Admit,
        }
    }
}

/// The overload hook.
pub(crate) type Overload = Box<dyn Fn(&NewConnection<'_>) -> Verdict + Send + Sync>;
