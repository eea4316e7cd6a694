//! [`ConnectionInfo`], the numbers of a live connection.

use std::sync::Arc;
use std::time::Duration;

use super::{ConnectionState, Registry};
use crate::net::Address;
use crate::telemetry::ConnectionId;

/// The numbers of a live connection, read without a message to its actor.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ConnectionInfo {
    /// The connection's id.
    pub id: ConnectionId,
    /// The peer's address: the one named by a trusted PROXY header, else the socket's.
    pub peer: Address,
    /// The name of the listener that accepted it.
    pub listener: Arc<str>,
    /// The time since it was accepted.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds"))]
    pub age: Duration,
    /// The time since the peer last sent something, with a resolution of 0.1 s.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds"))]
    pub idle: Duration,
    /// The number of bytes received, including prefixes and delimiters.
    pub bytes_in: u64,
    /// The number of bytes sent, including prefixes and delimiters.
    pub bytes_out: u64,
    /// The number of packets delivered to callbacks. 0 for handlers that read the socket themselves.
    pub packets: u64,
    /// The label that [`Conn::set_label`](crate::Conn::set_label) or [`Socket::set_label`](crate::Socket::set_label) has set.
    pub label: Option<Arc<str>>,
    /// What the connection is doing.
    pub state: ConnectionPhase,
    /// The number of bytes that are queued and not yet with the kernel: answers, files, and what others have sent to the
    /// [`Outbox`](crate::Outbox). With handlers that own a [`Socket`](crate::Socket): what others have sent and its owner has
    /// not taken.
    pub unsent: u64,
    /// The number of replies of others that were left out because the outbox had no room for them.
    pub dropped: u64,
    /// The index of the acceptor on whose arbiter it runs.
    pub acceptor: usize,
    /// What its TLS handshake has negotiated. `None` without TLS, and before the handshake.
    pub tls: Option<Arc<TlsSummary>>,
}

/// What a TLS handshake has negotiated, for reports. [`Conn::tls`](crate::Conn::tls) and [`Socket::tls`](crate::Socket::tls)
/// return more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TlsSummary {
    /// The version as it is usually written, for example `TLSv1.3`. Empty if it is not known.
    pub version: String,
    /// The negotiated application protocol (ALPN).
    pub alpn: Option<String>,
}

/// The phase of a live connection, as reports show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum ConnectionPhase {
    /// Accepted; not ready yet. A PROXY header or a TLS handshake may be outstanding.
    Handshaking,
    /// Ready.
    Open,
    /// Ready, and waiting for a future or a blocking closure that a callback returned.
    Waiting,
    /// Closing: what is queued is being sent. Also after [`Conn::shutdown_write`](crate::Conn::shutdown_write). For a
    /// [`Socket`](crate::Socket): it was shut down or dropped, or its owner was asked to close it.
    Closing,
}

impl Registry {
    /// The numbers of a connection.
    pub(crate) fn info(&self, state: &ConnectionState) -> ConnectionInfo {
        self.flush_deferred();
        info(state, self.slot, self.clock().exact(), self.clock().elapsed())
    }

    /// The age of a connection. Unlike the time of the clock, it includes time in which the arbiter was blocked.
    pub(super) fn age(&self, state: &ConnectionState) -> Duration {
        age(state, self.clock().elapsed())
    }

    /// Appends the numbers of all live connections, in the order of their ids.
    pub(crate) fn append_infos(&self, infos: &mut Vec<ConnectionInfo>) {
        self.flush_deferred();
        let (clock, elapsed) = (self.clock().exact(), self.clock().elapsed());
        self.for_each(|state| infos.push(info(state, self.slot, clock, elapsed)));
    }
}

fn age(state: &ConnectionState, elapsed: u64) -> Duration {
    Duration::from_micros(elapsed.saturating_sub(state.created()))
}

/// `clock` is the time of the registry's clock, `elapsed` the microseconds that have passed on it.
fn info(state: &ConnectionState, acceptor: usize, clock: u64, elapsed: u64) -> ConnectionInfo {
    let idle = Duration::from_millis(clock.saturating_sub(state.last_read()));
    let age = age(state, elapsed);
    ConnectionInfo {
        id: state.id(),
        peer: state.peer().clone(),
        listener: state.listener_name().clone(),
        age,
        // The time of the last tick, which counts as that of the last read, may be before the accept.
        idle: idle.min(age),
        bytes_in: state.bytes_in(),
        bytes_out: state.bytes_out(),
        packets: state.packets(),
        label: state.label(),
        state: state.phase(),
        unsent: state.unsent(),
        dropped: state.dropped(),
        acceptor,
        tls: state.tls(),
    }
}
