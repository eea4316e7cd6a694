//! The events of a pool.

use std::io;
use std::time::Duration;

use super::{CloseReason, ConnectionId, HandshakeFailure, RefusalReason};
use crate::error::Exit;
use crate::net::Address;

/// An event of a pool.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum PoolEvent<'a> {
    /// A listener was opened, at the start or when a suspended pool was resumed.
    ListenerStarted {
        /// The name of the listener.
        listener: &'a str,
        /// The address it listens on.
        address: &'a Address,
    },
    /// An open listener got another name, limit, handshake or option:
    /// [`set_listeners`](crate::Pool::set_listeners).
    ListenerChanged {
        /// The name of the listener.
        listener: &'a str,
        /// Its previous name, which may be the same.
        previous: &'a str,
        /// The address it listens on.
        address: &'a Address,
    },
    /// A listener was closed.
    ListenerStopped {
        /// The name of the listener.
        listener: &'a str,
        /// The address it listened on.
        address: &'a Address,
    },
    /// An acceptor started to accept.
    AcceptorStarted {
        /// The index of the acceptor.
        acceptor: usize,
    },
    /// An acceptor ended.
    AcceptorStopped {
        /// The index of the acceptor.
        acceptor: usize,
        /// How it ended.
        exit: &'a Exit,
    },
    /// `accept` failed.
    AcceptError {
        /// The name of the listener.
        listener: &'a str,
        /// The index of the acceptor.
        acceptor: usize,
        /// The error of the system or the transport.
        error: &'a io::Error,
    },
    /// A peer was accepted and refused.
    Refused {
        /// The id of the connection if it had started: it was refused because of the peer that its PROXY header names.
        id: Option<ConnectionId>,
        /// The address of the peer.
        peer: &'a Address,
        /// The name of the listener.
        listener: &'a str,
        /// Why the peer was refused.
        reason: RefusalReason,
    },
    /// A peer was accepted and admitted.
    ConnectionStarted {
        /// The id of the connection.
        id: ConnectionId,
        /// The address of the peer.
        peer: &'a Address,
        /// The name of the listener.
        listener: &'a str,
    },
    /// A connection is ready: its `ack` is about to be called, and packets follow.
    ConnectionReady {
        /// The id of the connection.
        id: ConnectionId,
        /// The address of the peer.
        peer: &'a Address,
        /// The name of the listener.
        listener: &'a str,
    },
    /// The handshake of a connection failed. [`ConnectionStopped`](PoolEvent::ConnectionStopped) follows.
    HandshakeFailed {
        /// The id of the connection.
        id: ConnectionId,
        /// The address of the peer.
        peer: &'a Address,
        /// The name of the listener.
        listener: &'a str,
        /// Why it failed.
        kind: HandshakeFailure,
        /// The error with its sources, without control characters.
        error: &'a str,
    },
    /// The label of a connection was set or removed with [`Conn::set_label`](crate::Conn::set_label).
    ConnectionLabelled {
        /// The id of the connection.
        id: ConnectionId,
        /// The label. Empty if it was removed.
        label: &'a str,
    },
    /// A connection ended, and its socket is closed.
    ConnectionStopped {
        /// The id of the connection.
        id: ConnectionId,
        /// The address of the peer.
        peer: &'a Address,
        /// The name of the listener.
        listener: &'a str,
        /// Why it ended.
        reason: CloseReason,
        /// The lifetime of the connection, with a resolution of 0.1 s.
        duration: Duration,
        /// Bytes received.
        bytes_in: u64,
        /// Bytes sent.
        bytes_out: u64,
        /// Packets delivered to callbacks. 0 for handlers that read the stream themselves.
        packets: u64,
    },
    /// An arbiter has been blocked for longer than the watchdog's limit.
    Blocked {
        /// The index of the acceptor of that arbiter, if it is certain.
        acceptor: Option<usize>,
        /// The connection whose callback blocks, if it is known.
        id: Option<ConnectionId>,
        /// The time for which the arbiter has been blocked so far.
        so_far: Duration,
    },
    /// An alarm was raised or cleared.
    Alarm {
        /// The name of the alarm.
        name: &'a str,
        /// True if the alarm was raised, false if it was cleared.
        raised: bool,
        /// The number of connections at that moment.
        connections: usize,
    },
}
