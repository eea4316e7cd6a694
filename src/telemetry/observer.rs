//! What happens, told one thing at a time to whoever wants to know.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use super::{CloseReason, ConnectionId, LogThrottle, RefusalReason};
use crate::error::Exit;
use crate::net::Address;
use crate::panic::catch_panic;

/// Is told what happens in a pool; given to [`Builder::observer`](crate::Builder::observer).
///
/// It is called where the thing happens, on an acceptor's or the pool's arbiter, one call after the other on each: it must
/// not block. A panic in it is logged and costs nobody anything. It sees addresses and numbers, never what is sent.
///
/// ```
/// use actix_acceptor::telemetry::{Observer, PoolEvent};
///
/// /// Counts the peers that were turned away.
/// struct Refusals(std::sync::atomic::AtomicU64);
///
/// impl Observer for Refusals {
///     fn observe(&self, _pool: &str, happening: &PoolEvent<'_>) {
///         if let PoolEvent::Refused { .. } = happening {
///             self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Something has happened in the pool of this name.
    fn observe(&self, pool: &str, event: &PoolEvent<'_>);
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, pool: &str, event: &PoolEvent<'_>) {
        (**self).observe(pool, event);
    }
}

/// Something that has happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum PoolEvent<'a> {
    /// A listener is open. Again when a suspended one is open again.
    ListenerStarted {
        /// Its name.
        listener: &'a str,
        /// Where.
        address: &'a Address,
    },
    /// A listener is closed.
    ListenerStopped {
        /// Its name.
        listener: &'a str,
        /// Where it was.
        address: &'a Address,
    },
    /// An acceptor takes peers.
    AcceptorStarted {
        /// Its place.
        acceptor: usize,
    },
    /// An acceptor is gone.
    AcceptorStopped {
        /// Its place.
        acceptor: usize,
        /// How it ended.
        exit: &'a Exit,
    },
    /// `accept` failed.
    AcceptError {
        /// At which listener.
        listener: &'a str,
        /// The place of the acceptor.
        acceptor: usize,
        /// What the system said.
        error: &'a io::Error,
    },
    /// A peer was accepted and turned away.
    Refused {
        /// The number of its connection, where that had begun: it was refused for what its PROXY header claims.
        id: Option<ConnectionId>,
        /// The peer.
        peer: &'a Address,
        /// The listener it came by.
        listener: &'a str,
        /// Why.
        reason: RefusalReason,
    },
    /// A peer was accepted and let in.
    ConnectionStarted {
        /// The connection's number.
        id: ConnectionId,
        /// The peer.
        peer: &'a Address,
        /// The listener it came by.
        listener: &'a str,
    },
    /// A connection takes packets from here on: its `ack` is about to be called.
    ConnectionReady {
        /// The connection's number.
        id: ConnectionId,
        /// The peer.
        peer: &'a Address,
        /// The listener it came by.
        listener: &'a str,
    },
    /// A connection is over, and its socket closed.
    ConnectionStopped {
        /// The connection's number.
        id: ConnectionId,
        /// The peer.
        peer: &'a Address,
        /// The listener it came by.
        listener: &'a str,
        /// How it ended.
        reason: CloseReason,
        /// How long it lived; exact to 0.1 s.
        duration: Duration,
        /// Bytes received.
        bytes_in: u64,
        /// Bytes sent.
        bytes_out: u64,
        /// Packets delivered to callbacks; 0 where the program cuts its packets by itself.
        packets: u64,
    },
    /// An arbiter is blocked for longer than the watchdog's limit.
    Blocked {
        /// The place of its acceptor, where that is certain.
        acceptor: Option<usize>,
        /// The connection whose callback it is, where that is known.
        id: Option<ConnectionId>,
        /// For how long so far.
        so_far: Duration,
    },
    /// An alarm was raised or cleared.
    Alarm {
        /// Its name.
        name: &'a str,
        /// Raised, else cleared.
        raised: bool,
        /// How many connections there were.
        connections: usize,
    },
}

/// Those who want to know, and the name of the pool they are told of.
pub(crate) struct Observers {
    pool: Arc<str>,
    all: Vec<Box<dyn Observer>>,
    panics: LogThrottle,
}

impl Observers {
    pub(crate) fn new(pool: Arc<str>, all: Vec<Box<dyn Observer>>) -> Self {
        Observers { pool, all, panics: LogThrottle::new() }
    }

    /// Tells everybody. What there is to tell is put together only where somebody wants to know.
    #[inline]
    pub(crate) fn emit<'a>(&self, event: impl FnOnce() -> PoolEvent<'a>) {
        if !self.all.is_empty() {
            self.emit_to_all(&event());
        }
    }

    #[cold]
    fn emit_to_all(&self, event: &PoolEvent<'_>) {
        for observer in &self.all {
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
