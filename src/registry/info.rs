//! A connection's numbers, as a list shows them.

use std::sync::Arc;
use std::time::Duration;

use super::{ConnectionState, Registry};
use crate::net::Address;
use crate::telemetry::ConnectionId;

/// What can be told of a live connection without asking it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Its number.
    pub id: ConnectionId,
    /// The peer's address.
    pub peer: Address,
    /// The name of the listener it came by.
    pub listener: Arc<str>,
    /// How long it has been alive; exact to 0.1 s.
    pub age: Duration,
    /// How long the peer has been silent; exact to 0.1 s.
    pub idle: Duration,
    /// Bytes received, prefixes and delimiters included.
    pub bytes_in: u64,
    /// Bytes sent, prefixes and delimiters included.
    pub bytes_out: u64,
    /// Packets delivered to callbacks; 0 where the program cuts its packets by itself.
    pub packets: u64,
}

impl Registry {
    pub(crate) fn info(&self, entry: &ConnectionState) -> ConnectionInfo {
        let now = self.clock().exact();
        let since = |stamp: u64| Duration::from_millis(now.saturating_sub(stamp));
        ConnectionInfo {
            id: entry.id(),
            peer: entry.peer().clone(),
            listener: entry.port().name().clone(),
            age: entry.age(),
            idle: since(entry.last_read()),
            bytes_in: entry.bytes_in(),
            bytes_out: entry.bytes_out(),
            packets: entry.packets(),
        }
    }
}
