//! [`Spans`], which supplies the spans of a pool.

use tracing::field::Empty;
use tracing::{Level, Span};

use super::{Observer, PoolEvent, SpanOf};

/// An [`Observer`] that supplies the `tracing` spans of a pool: `pool` > `listener` > `connection`, and `pool` > `acceptor`.
///
/// The span of a connection is entered while code of the connection runs, so that what it logs carries the id and the peer:
///
/// - the factories of its protocol and codec, and the function that starts an actor;
/// - the callbacks of [`Protocol`](crate::Protocol) and [`with_events`](crate::AcceptorPool::with_events), including those of
///   waits, timers and message handlers;
/// - the futures and streams given to [`Conn`](crate::Conn), and closures of [`Conn::blocking`](crate::Conn::blocking);
/// - the async fn of [`with_fn`](crate::AcceptorPool::with_fn).
///
/// [`Conn::span`](crate::Conn::span) and [`Socket::span`](crate::Socket::span) return it for your own tasks and actors. The
/// other spans are not entered.
///
/// | span | fields |
/// |---|---|
/// | `pool` | `pool`: its name |
/// | `listener` | `pool`, `listener`: its name, `address` |
/// | `acceptor` | `pool`, `acceptor`: its index; when it has ended `exit` |
/// | `connection` | `pool`, `id`, `peer` (recorded again if a PROXY header names another one), `listener`; `label` once it has one; when it has ended `reason`, `duration_ms`, `bytes_in`, `bytes_out`, `packets` |
///
/// A span closes after its end (for example `ConnectionStopped`) was reported to all observers, and once the program has dropped
/// all of its handles. A listener that is renamed or resumed gets a new span.
///
/// If no subscriber enables the spans, none is kept or entered.
///
/// ```
/// use actix_acceptor::{telemetry::Spans, AcceptorPool, Conn, Framing, Next, Protocol};
/// use bytes::Bytes;
/// use tracing::{info, Instrument};
///
/// struct Echo;
///
/// impl Protocol for Echo {
///     type Codec = Framing;
///     type Reply = Bytes;
///     type User = ();
///
///     fn packet(&mut self, packet: Bytes, conn: &mut Conn<Self>) -> Next<Self> {
///         // With tracing-subscriber's `fmt`: pool{..}:listener{..}:connection{id=1 peer=127.0.0.1:40000 ..}: echo
///         info!("echo");
///         actix_rt::spawn(async { info!("in a task") }.instrument(conn.span()));
///         Next::Send(packet)
///     }
/// }
///
/// let builder = AcceptorPool::with_protocol(|_| Echo).observer(Spans::new());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Spans {
    level: Level,
}

/// A span whose level is known only at run time. A call site of `tracing` has a constant level.
macro_rules! span {
    ($level:expr, $parent:expr, $name:literal, $($fields:tt)*) => {
        match $level {
            Level::ERROR => tracing::error_span!(parent: $parent.id(), $name, $($fields)*),
            Level::WARN => tracing::warn_span!(parent: $parent.id(), $name, $($fields)*),
            Level::INFO => tracing::info_span!(parent: $parent.id(), $name, $($fields)*),
            Level::DEBUG => tracing::debug_span!(parent: $parent.id(), $name, $($fields)*),
            Level::TRACE => tracing::trace_span!(parent: $parent.id(), $name, $($fields)*),
        }
    };
}

impl Spans {
    /// Creates an observer whose spans have the level info.
    pub fn new() -> Self {
        Spans { level: Level::INFO }
    }

    /// Sets the level of the spans.
    ///
    /// Default: [`Level::INFO`].
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }
}

impl Default for Spans {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Spans {
    fn observe(&self, _: &str, _: &PoolEvent<'_>) {}

    fn span(&self, pool: &str, of: &SpanOf<'_>, parent: &Span) -> Span {
        match *of {
            SpanOf::Pool => span!(self.level, parent, "pool", pool),
            SpanOf::Listener { listener, address } => span!(self.level, parent, "listener", pool, listener, %address),
            SpanOf::Acceptor { acceptor } => span!(self.level, parent, "acceptor", pool, acceptor, exit = Empty),
            SpanOf::Connection { id, peer, listener } => span!(
                self.level, parent, "connection", pool, %id, %peer, listener, label = Empty, reason = Empty,
                duration_ms = Empty, bytes_in = Empty, bytes_out = Empty, packets = Empty
            ),
        }
    }
}
