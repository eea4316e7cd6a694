//! Pool events and their observers.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use super::{CloseReason, ConnectionId, HandshakeFailure, LogThrottle, RefusalReason};
use crate::error::Exit;
use crate::net::Address;
use crate::panic::{catch_panic, Guarded};

/// Receives the events of a pool. Registered with [`Builder::observer`](crate::Builder::observer).
///
/// It is called on the arbiter of the acceptor or of the pool in which the event occurs. Calls on one arbiter are
/// sequential; calls on different arbiters may be concurrent. It must not block. A panic in it is logged and has no other
/// effect. Events contain addresses and numbers, never transferred data.
///
/// ```
/// use actix_acceptor::telemetry::{Observer, PoolEvent};
///
/// /// Prints the peers that are refused.
/// struct Refusals;
///
/// impl Observer for Refusals {
///     fn observe(&self, pool: &str, event: &PoolEvent<'_>) {
///         if let PoolEvent::Refused { peer, listener, reason, .. } = event {
///             eprintln!("{pool}: {peer} refused at {listener}: {reason}");
///         }
///     }
/// }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Receives an event of the pool named `pool`.
    fn observe(&self, pool: &str, event: &PoolEvent<'_>);
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, pool: &str, event: &PoolEvent<'_>) {
        (**self).observe(pool, event);
    }
}

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

/// The observers of a pool, and the name of the pool.
pub(crate) struct Observers {
    pool: Arc<str>,
    all: Guarded<Vec<Box<dyn Observer>>>,
    panics: LogThrottle,
}

impl Observers {
    pub(crate) fn new(pool: Arc<str>, all: Vec<Box<dyn Observer>>) -> Self {
        Observers { pool, all: Guarded::new(all), panics: LogThrottle::new() }
    }

    /// Passes an event to every observer. The event is built only if there is one.
    #[inline]
    pub(crate) fn emit<'a>(&self, event: impl FnOnce() -> PoolEvent<'a>) {
        if !self.all.is_empty() {
            self.emit_to_all(&event());
        }
    }

    #[cold]
    fn emit_to_all(&self, event: &PoolEvent<'_>) {
        for observer in self.all.iter() {
            if let Err(panic) = catch_panic(|| observer.observe(&self.pool, event)) {
                self.panics.log(|left_out| error!(pool = &*self.pool, panic, left_out, "an observer panicked"));
            }
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers").field("pool", &self.pool).finish_non_exhaustive()
    }
}
