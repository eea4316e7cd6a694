//! The events of a pool.

use std::io;
use std::time::Duration;

use super::{AcceptErrorKind, CloseReason, ConnectionId, HandshakeFailure, LimitScope, RefusalReason};
use crate::config::{Changed, SuspendMode};
use crate::error::{Exit, PoolError};
use crate::net::Address;

/// An event of a pool.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum PoolEvent<'a> {
    /// The pool has started: its listeners are open, and all acceptors accept.
    PoolStarted,
    /// The pool was suspended, or a suspended pool changed to another mode.
    PoolSuspended {
        /// What happens to new peers.
        mode: SuspendMode,
    },
    /// The pool was resumed and accepts again.
    PoolResumed,
    /// Settings were changed: [`Pool::change`](crate::Pool::change), [`apply`](crate::Pool::apply) or
    /// [`reload`](crate::Pool::reload).
    SettingsChanged {
        /// What has changed.
        changed: &'a Changed,
    },
    /// A drain has begun. A later call that shortens it is not reported.
    PoolDraining {
        /// How long the pool still accepts.
        delay: Duration,
        /// How long connections have to end by themselves, from the end of the delay. `None` for no limit.
        grace: Option<Duration>,
    },
    /// The pool has ended. Connections on a blocked arbiter may end later.
    PoolEnded {
        /// What [`Pool::stopped`](crate::Pool::stopped) returns.
        outcome: &'a Result<(), PoolError>,
        /// Connections that were ended at the deadline.
        forced: usize,
        /// Peers refused because the listening sockets closed.
        unserved: usize,
        /// The duration from the start of the drain.
        took: Duration,
    },
    /// A listener was opened: at the start, by [`set_listeners`](crate::Pool::set_listeners), or when a suspended pool was resumed.
    ListenerStarted {
        /// The name of the listener.
        listener: &'a str,
        /// The address it listens on.
        address: &'a Address,
    },
    /// [`set_listeners`](crate::Pool::set_listeners) gave an open listener another name, limit, rate, service, value,
    /// handshake or option.
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
        /// What the error concerns.
        kind: AcceptErrorKind,
    },
    /// A peer was accepted and is held: at the connection limit ([`AtLimit::Hold`](crate::limits::AtLimit::Hold)), above a rate,
    /// or by the overload hook.
    PeerHeld {
        /// The address of the peer.
        peer: &'a Address,
        /// The name of the listener.
        listener: &'a str,
        /// Why it is held: the reason for which it would otherwise be refused.
        reason: RefusalReason,
    },
    /// A peer is no longer held. `ConnectionStarted` or `Refused` follows, unless its arbiter was stopped.
    PeerReleased {
        /// The address of the peer.
        peer: &'a Address,
        /// The name of the listener.
        listener: &'a str,
        /// The time for which it was held.
        held: Duration,
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
    /// The listener stopped accepting at a connection limit, with [`AtLimit::Wait`](crate::limits::AtLimit::Wait): further peers
    /// wait in the kernel's queue. With the other values of `AtLimit` this event does not occur: see
    /// [there](crate::limits::AtLimit#signs) for their signs.
    LimitReached {
        /// The name of the listener.
        listener: &'a str,
        /// Whether the limit is that of the pool or of the listener.
        scope: LimitScope,
        /// The limit.
        limit: usize,
    },
    /// No acceptor of the listener has waited at a connection limit for a second, or the listener stopped accepting for another
    /// reason.
    LimitCleared {
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
    /// Replies of others were left out because the [outbox](crate::Builder::outbox) of a connection had no room for them. Reported
    /// when the outbox is empty again, and at the end of the connection.
    RepliesDropped {
        /// The id of the connection.
        id: ConnectionId,
        /// The address of the peer.
        peer: &'a Address,
        /// The name of the listener.
        listener: &'a str,
        /// The number of replies since the last report.
        replies: u64,
    },
    /// The label of a connection was set or removed with [`Conn::set_label`](crate::Conn::set_label).
    ConnectionLabelled {
        /// The id of the connection.
        id: ConnectionId,
        /// The label. Empty if it was removed.
        label: &'a str,
    },
    /// A connection has become a member of a topic, with [`Conn::join`](crate::Conn::join).
    ///
    /// Members of one topic may be on several threads. To know whether a topic has members, ask it
    /// ([`Topic::len`](crate::Topic::len)): the events of different threads may be in another order than the changes.
    TopicJoined {
        /// The id of the connection.
        id: ConnectionId,
        /// The name of the topic.
        topic: &'a str,
    },
    /// A connection has left a topic, or has begun to close.
    TopicLeft {
        /// The id of the connection.
        id: ConnectionId,
        /// The name of the topic.
        topic: &'a str,
    },
    /// A connection has registered a name, with [`Conn::register`](crate::Conn::register).
    NameRegistered {
        /// The id of the connection.
        id: ConnectionId,
        /// The name.
        name: &'a str,
    },
    /// A connection has released a name, has begun to close, or another connection has taken the name over.
    NameReleased {
        /// The id of the connection.
        id: ConnectionId,
        /// The name.
        name: &'a str,
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
        /// The error that ended it, or other details, as in the log line.
        detail: Option<&'a str>,
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
