//! What a live connection reports without being asked.

use std::sync::Arc;
use std::time::Duration;

use super::{ConnectionState, Registry};
use crate::net::Address;
use crate::telemetry::ConnectionId;

/// A live connection in numbers, read without asking its actor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The connection's id.
    pub id: ConnectionId,
    /// The peer's address: the one named by a trusted PROXY header, else the socket's.
    pub peer: Address,
    /// The name of the listener that accepted it.
    pub listener: Arc<str>,
    /// Time since it was accepted; accurate to 0.1 s.
    pub age: Duration,
    /// Time since the peer last sent something; accurate to 0.1 s.
    pub idle: Duration,
    /// Bytes received, prefixes and delimiters included.
    pub bytes_in: u64,
    /// Bytes sent, prefixes and delimiters included.
    pub bytes_out: u64,
    /// Packets delivered to callbacks; 0 for handlers that read the socket themselves.
    pub packets: u64,
}

impl Registry {
    pub(crate) fn info(&self, state: &ConnectionState) -> ConnectionInfo {
        let idle = self.clock().exact().saturating_sub(state.last_read());
        ConnectionInfo {
            id: state.id(),
            peer: state.peer().clone(),
            listener: state.listener_name().clone(),
            age: state.age(),
            idle: Duration::from_millis(idle),
            bytes_in: state.bytes_in(),
            bytes_out: state.bytes_out(),
            packets: state.packets(),
        }
    }
}
