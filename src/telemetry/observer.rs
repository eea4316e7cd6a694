//! Pool events and their observers.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{error, Span};

use super::open_span::{OpenSpan, SpanOf};
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

    /// Supplies the `tracing` span of a part of the pool, as [`Spans`](super::Spans) does. `parent` is the span that contains
    /// it, disabled if there is none.
    ///
    /// Called once for each part, before the event that it has started. If several observers return a span that is enabled,
    /// that of the first one is used. The span of a connection is entered while the connection's code runs; in a span that has
    /// these fields, the library records `label`, `peer`, `reason`, `duration_ms`, `bytes_in`, `bytes_out`, `packets` and, of
    /// an acceptor, `exit`.
    ///
    /// Default: no span.
    ///
    /// ```
    /// use actix_acceptor::telemetry::{Observer, PoolEvent, SpanOf};
    /// use tracing::{info_span, Span};
    ///
    /// /// Connections have a span with a trace id; nothing else has one.
    /// struct TraceIds;
    ///
    /// impl Observer for TraceIds {
    ///     fn observe(&self, _: &str, _: &PoolEvent<'_>) {}
    ///
    ///     fn span(&self, pool: &str, of: &SpanOf<'_>, _: &Span) -> Span {
    ///         match of {
    ///             SpanOf::Connection { id, peer, .. } => info_span!("peer", trace = format!("{pool}-{id}"), %peer),
    ///             _ => Span::none(),
    ///         }
    ///     }
    /// }
    /// ```
    fn span(&self, pool: &str, of: &SpanOf<'_>, parent: &Span) -> Span {
        let _ = (pool, of, parent);
        Span::none()
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn observe(&self, pool: &str, event: &PoolEvent<'_>) {
        (**self).observe(pool, event);
    }

    fn span(&self, pool: &str, of: &SpanOf<'_>, parent: &Span) -> Span {
        (**self).span(pool, of, parent)
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

type BoxedObserver = Guarded<Box<dyn Observer>>;

/// The observers of a pool, the name of the pool, and its span.
pub(crate) struct Observers {
    pool: Arc<str>,
    all: Vec<BoxedObserver>,
    panics: LogThrottle,
    span: Mutex<Option<Arc<OpenSpan>>>,
}

impl Observers {
    pub(crate) fn new(pool: Arc<str>, all: Vec<Box<dyn Observer>>) -> Self {
        let all = all.into_iter().map(Guarded::new).collect();
        Observers { pool, all, panics: LogThrottle::new(), span: Mutex::default() }
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
        for observer in &self.all {
            self.call(|| observer.observe(&self.pool, event));
        }
    }

    /// The span of the pool. Opened unless it is open.
    pub(crate) fn pool_span(&self) -> Option<Arc<OpenSpan>> {
        let span = self.span.lock().clone();
        span.or_else(|| {
            let opened = self.open_span(&SpanOf::Pool, None)?;
            let span = self.span.lock().get_or_insert_with(|| opened.clone()).clone();
            Some(span)
        })
    }

    /// Closes the span of the pool, which has ended.
    pub(crate) fn close_pool_span(&self) {
        let span = self.span.lock().take();
        drop(span);
    }

    /// The span that an observer supplies, if one does.
    pub(crate) fn open_span(&self, of: &SpanOf<'_>, parent: Option<&OpenSpan>) -> Option<Arc<OpenSpan>> {
        if self.all.is_empty() {
            return None;
        }
        let none = Span::none();
        let parent = parent.map_or(&none, OpenSpan::as_parent);
        let supplied = |observer: &BoxedObserver| self.call(|| OpenSpan::new(observer.span(&self.pool, of, parent)));
        self.all.iter().find_map(|observer| supplied(observer).flatten()).map(Arc::new)
    }

    fn call<R>(&self, call: impl FnOnce() -> R) -> Option<R> {
        let called = catch_panic(call);
        let log = |panic| {
            self.panics.log(|left_out| error!(pool = &*self.pool, panic, left_out, "an observer panicked"));
        };
        called.map_err(log).ok()
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observers").field("pool", &self.pool).finish_non_exhaustive()
    }
}
