//! [`PoolSample`], the numbers of a pool that observers may receive once a second.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// The numbers of a pool at one moment, as [`Observer::sample`](crate::telemetry::Observer::sample) receives them.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct PoolSample<'a> {
    /// Whether the pool accepts connections and is not draining, as [`Pool::is_ready`](crate::Pool::is_ready).
    pub is_ready: bool,
    /// The connection limit in force. 0 once the pool has ended.
    pub max_connections: usize,
    /// Peers that are held.
    pub held: usize,
    /// Acceptors that wait for a permit at a connection limit.
    pub waiting_acceptors: usize,
    /// Handshakes in progress.
    pub handshakes: usize,
    /// The limit of handshakes in progress. 0 once the pool has ended.
    pub max_handshakes: usize,
    /// Closures of [`Conn::blocking`](crate::Conn::blocking) that run. 0 once the pool has ended.
    pub blocking_running: usize,
    /// Closures of [`Conn::blocking`](crate::Conn::blocking) in the queue. 0 once the pool has ended.
    pub blocking_queued: usize,
    /// The number of replies that were left out so far because an outbox had no room for them.
    pub dropped: u64,
    pub(crate) listeners: &'a dyn Fn() -> Vec<ListenerSample>,
}

impl PoolSample<'_> {
    /// The numbers of each listener of the pool, and of former listeners that still have live connections.
    ///
    /// This call counts them: it visits every live connection.
    pub fn listeners(&self) -> Vec<ListenerSample> {
        (self.listeners)()
    }
}

impl fmt::Debug for PoolSample<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolSample").field("is_ready", &self.is_ready).finish_non_exhaustive()
    }
}

/// The numbers of one listener: see [`PoolSample::listeners`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ListenerSample {
    /// Its name.
    pub name: Arc<str>,
    /// Bytes received by its live connections.
    pub bytes_in: u64,
    /// Bytes sent by its live connections.
    pub bytes_out: u64,
    /// Packets delivered to its live connections.
    pub packets: u64,
    /// Bytes that are queued for its live connections and not yet handed to the kernel.
    pub unsent: u64,
    /// Whether it has stopped accepting at a connection limit: see
    /// [`ListenerInfo::is_at_limit`](crate::info::ListenerInfo::is_at_limit).
    pub is_at_limit: bool,
    /// When the first of its certificates expires, if that is known.
    pub certificate_expires: Option<SystemTime>,
}
