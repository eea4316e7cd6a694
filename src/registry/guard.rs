//! [`ConnectionGuard`], the owner of a connection's bookkeeping, the same for every handler.
//!
//! ```text
//! ConnectionGuard ── owns ──▶ registry entry, permit, per-peer count, deadlines, close reason
//!        └── Drop: log line ─▶ counts ─▶ observers ─▶ alarms ─▶ permits given back ─▶ waiters woken
//! ```

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::field::display;
use tracing::{debug, error, info, warn};

use super::{ActivityGuard, CloseRequest, ConnectionState, Groups, Registry};
use crate::panic::catch_panic;
use crate::telemetry::{CloseReason, EnteredSpan, HandshakeFailure, OpenSpan, PoolEvent, RefusalReason, SpanOf};
use crate::time::{Deadlines, Timeouts};

/// Owns the bookkeeping of one connection. Dropping it logs, counts and reports the end of the connection once, and gives
/// back its permit and counts.
///
/// Both the connection actor and [`Socket`](crate::Socket) own one. A connection stays on one thread, so the guard is shared
/// by reference there.
#[derive(Debug)]
pub(crate) struct ConnectionGuard {
    registry: Arc<Registry>,
    state: Arc<ConnectionState>,
    pub(crate) deadlines: Deadlines,
    rare: OnceCell<Box<Rare>>,
    /// The topics and names that it leaves when it ends.
    pub(crate) groups: Groups,
}

/// What only a connection with a span, or one that ends, has.
#[derive(Debug, Default)]
struct Rare {
    /// The span of the connection. Set before the first turn, or never.
    span: Option<Arc<OpenSpan>>,
    end: OnceCell<End>,
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// The connection counts as closed.
    Closed { reason: CloseReason, detail: Option<String> },
    /// The connection counts as closed, for the reason [`CloseReason::Handshake`].
    HandshakeFailed { kind: HandshakeFailure, detail: String },
    /// The connection was refused because of the peer that its PROXY header names. It counts as refused, not as closed.
    Refused(RefusalReason),
}

impl ConnectionGuard {
    pub(super) fn new(registry: Arc<Registry>, state: Arc<ConnectionState>, timeouts: Timeouts) -> Self {
        let deadlines = Deadlines::new(timeouts, state.last_read());
        ConnectionGuard { registry, state, deadlines, rare: OnceCell::new(), groups: Groups::default() }
    }

    /// Opens the span of the connection, if an observer supplies one.
    pub(super) fn open_span(&self) {
        let (id, peer, listener) = (self.state.id(), self.state.peer(), &**self.state.listener_name());
        let observers = &self.registry.shared().observers;
        // An adopted connection has no listener.
        let parent = self.state.listener().span().or_else(|| observers.pool_span());
        let of = SpanOf::Connection { id, peer, listener };
        let span = observers.open_span(&of, parent.as_deref());
        if span.is_some() {
            let _ = self.rare.set(Box::new(Rare { span, end: OnceCell::new() }));
        }
    }

    /// False if the connection has no span. A cheap test for the hot path.
    #[inline]
    pub(crate) fn may_have_span(&self) -> bool {
        self.rare.get().is_some()
    }

    pub(crate) fn span(&self) -> Option<&Arc<OpenSpan>> {
        self.rare.get()?.span.as_ref()
    }

    /// Enters the span of the connection, if it has one.
    #[inline]
    pub(crate) fn enter_span(&self) -> Option<EnteredSpan<'_>> {
        self.span().map(|span| span.enter())
    }

    fn end(&self) -> &OnceCell<End> {
        &self.rare.get_or_init(Box::default).end
    }

    /// Sets the label, or removes it if it is empty, and notifies the observers.
    pub(crate) fn set_label(&self, label: &str) {
        self.state.set_label((!label.is_empty()).then(|| label.into()));
        if let Some(span) = self.span() {
            span.record("label", label);
        }
        self.registry.shared().observers.emit(|| PoolEvent::ConnectionLabelled { id: self.state.id(), label });
    }

    /// Accepts nothing more for the connection, and leaves its groups.
    pub(crate) fn begin_closing(&self) {
        self.registry.flush_deferred();
        self.state.begin_closing();
        self.groups.leave_all(&self.registry, self.state.id());
    }

    /// Queues the last bytes of a connection that is about to close. Has no effect if it is closing already.
    pub(crate) fn send_last(&self, bytes: &Bytes) {
        self.registry.flush_deferred();
        self.state.send_last(bytes);
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    #[inline]
    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }

    /// The age of the connection. Unlike the registry's clock, it includes time in which the arbiter was blocked.
    pub(crate) fn age(&self) -> Duration {
        self.registry.age(&self.state)
    }

    /// The time of the last tick, in milliseconds of the registry's clock.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.registry.clock().now()
    }

    /// Adjusts the tick after the connection's timeouts have changed.
    pub(crate) fn timeouts_changed(&self) {
        let shortest = self.deadlines.shortest();
        self.state.set_shortest_timeout(shortest);
        self.registry.request_tick(shortest);
    }

    /// Takes the request of an operator to close the connection, and adjusts the tick to its time.
    pub(crate) fn take_close_request(&self) -> Option<CloseRequest> {
        let request = self.registry.take_close_request(&self.state)?;
        let left = request.by.saturating_sub(self.now()).clamp(1, u64::from(u32::MAX)) as u32;
        let shortest = match self.state.shortest_timeout() {
            0 => left,
            shortest => shortest.min(left),
        };
        self.state.set_shortest_timeout(shortest);
        self.registry.request_tick(shortest);
        Some(request)
    }

    /// Makes the tick signal the next deadline.
    pub(crate) fn arm_deadline(&self) {
        self.registry.set_deadline(&self.state, self.deadlines.next(self.state.last_read()));
    }

    /// Reports that the connection is ready. Called before `ack`.
    pub(crate) fn set_ready(&self) {
        if let Some(span) = self.span().filter(|_| self.state.peer() != self.state.socket_peer()) {
            span.record("peer", display(self.state.peer()));
        }
        self.registry.shared().observers.emit(|| {
            let (id, peer, listener) = (self.state.id(), self.state.peer(), &**self.state.listener_name());
            PoolEvent::ConnectionReady { id, peer, listener }
        });
    }

    /// Sets the close reason, with details for the log. The first call wins. Without a call, the connection counts as killed.
    pub(crate) fn set_close_reason(&self, reason: CloseReason, detail: Option<String>) {
        let _ = self.end().set(match reason {
            // Set by the owner of a socket, for a handshake that the owner runs itself.
            CloseReason::Handshake => {
                End::HandshakeFailed { kind: HandshakeFailure::Rejected, detail: detail.unwrap_or_default() }
            }
            reason => End::Closed { reason, detail },
        });
    }

    /// Sets the close reason [`CloseReason::Handshake`], with the kind of the failure and the text of the error. The first call
    /// wins, as with [`set_close_reason`](Self::set_close_reason).
    pub(crate) fn set_handshake_failure(&self, kind: HandshakeFailure, detail: String) {
        let _ = self.end().set(End::HandshakeFailed { kind, detail });
    }

    /// Ends the connection as refused. The first call wins, as with [`set_close_reason`](Self::set_close_reason).
    pub(crate) fn refuse(&self, reason: RefusalReason) {
        let _ = self.end().set(End::Refused(reason));
    }

    /// Marks this connection as the one whose callbacks run, and enters its span, until the guard is dropped.
    pub(crate) fn begin_activity(&self) -> ActivityGuard<'_> {
        ActivityGuard::new(self.registry.activity(), self.state.id(), self.enter_span())
    }

    /// As [`begin_activity`](Self::begin_activity), until [`unmark_activity`](Self::unmark_activity) is called.
    #[inline]
    pub(crate) fn mark_activity(&self) {
        self.registry.activity().begin(self.state.id());
    }

    #[inline]
    pub(crate) fn unmark_activity(&self) {
        self.registry.activity().end();
    }

    /// Marks the end of one callback and the start of the next.
    #[inline]
    pub(crate) fn next_callback(&self) {
        self.registry.activity().next_callback();
    }

    /// How many callbacks were marked on this arbiter so far.
    #[inline]
    pub(crate) fn callbacks(&self) -> u64 {
        self.registry.activity().callbacks()
    }

    fn log_closed(&self, reason: CloseReason, detail: &Option<String>) {
        let state = &self.state;
        let (id, peer, listener) = (state.id(), state.peer(), &**state.listener_name());
        let (bytes_in, bytes_out, name) = (state.bytes_in(), state.bytes_out(), reason.name());
        let label = state.label();
        let (detail, label) = (detail.as_deref(), label.as_deref());
        macro_rules! log {
            ($level:ident) => {
                $level!(%id, %peer, listener, label, bytes_in, bytes_out, reason = name, detail, "connection closed")
            };
        }
        // Ends that a peer can cause in large numbers are throttled. Those below the info level are not.
        macro_rules! throttled {
            ($level:ident) => {
                if let Some(left_out) = self.registry.shared().close_log.allow(reason) {
                    $level!(
                        %id, %peer, listener, label, bytes_in, bytes_out, reason = name, detail, left_out, "connection closed"
                    )
                }
            };
        }
        use CloseReason::*;
        match reason {
            Panic => throttled!(error),
            Error => throttled!(warn),
            // Failed handshakes have lines of their own.
            Local | Peer | Shutdown | Killed | Replaced | Handshake => log!(debug),
            Idle | PacketTimeout | SendTimeout | TooLong | PacketRate | MaxAge | Truncated | SlowConsumer => {
                throttled!(info)
            }
        }
    }

    /// Logs a failed handshake at the level info, with a limit per kind. Peers that leave, such as port scanners, are logged at
    /// the level debug.
    fn log_handshake_failure(&self, kind: HandshakeFailure, detail: &str) {
        let state = &self.state;
        let (id, peer, listener, kind_name) = (state.id(), state.peer(), &**state.listener_name(), kind.name());
        let reason = CloseReason::Handshake.name();
        let left_out = match kind {
            HandshakeFailure::PeerLeft => None,
            kind => self.registry.shared().close_log.allow_handshake(kind),
        };
        match left_out {
            Some(left_out) => {
                info!(%id, %peer, listener, reason, kind = kind_name, detail, left_out, "handshake failed")
            }
            None => debug!(%id, %peer, listener, reason, kind = kind_name, detail, "handshake failed"),
        }
    }

    fn log_end(&self, end: &End) {
        match end {
            End::Closed { reason, detail } => self.log_closed(*reason, detail),
            End::HandshakeFailed { kind, detail } => self.log_handshake_failure(*kind, detail),
            End::Refused(reason) => self.log_refused(*reason),
        }
    }

    fn record_end(&self, span: &OpenSpan, end: &End, duration: Duration) {
        let reason = match end {
            End::Refused(reason) => return span.record("reason", reason.name()),
            End::Closed { reason, .. } => *reason,
            End::HandshakeFailed { .. } => CloseReason::Handshake,
        };
        span.record("reason", reason.name());
        span.record("duration_ms", duration.as_millis() as u64);
        span.record("bytes_in", self.state.bytes_in());
        span.record("bytes_out", self.state.bytes_out());
        span.record("packets", self.state.packets());
    }

    fn log_refused(&self, reason: RefusalReason) {
        // Failed handshakes have limits of their own, so this one is free for refusals.
        if let Some(left_out) = self.registry.shared().close_log.allow(CloseReason::Handshake) {
            let state = &self.state;
            let (id, peer, listener, reason) = (state.id(), state.peer(), &**state.listener_name(), reason.name());
            info!(%id, %peer, listener, reason, left_out, "connection refused");
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.groups.leave_all(&self.registry, self.state.id());
        self.state.discard_outbox();
        self.state.close_mailbox();
        let Rare { span, end } = self.rare.take().map(|rare| *rare).unwrap_or_default();
        let entered = span.as_ref().map(|span| span.enter());
        let reason = if std::thread::panicking() { CloseReason::Panic } else { CloseReason::Killed };
        let mut end = end.into_inner().unwrap_or(End::Closed { reason, detail: None });
        if let End::HandshakeFailed { detail, .. } = &mut end {
            *detail = without_controls(std::mem::take(detail));
        }
        // The subscriber is user code: what the connection holds is given back even if it panics.
        let _ = catch_panic(|| self.log_end(&end));
        let duration = self.age();
        match &end {
            End::Refused(reason) => self.registry.remove_refused(&self.state, *reason),
            End::Closed { reason, detail } => self.registry.remove(&self.state, *reason, None, detail.as_deref()),
            End::HandshakeFailed { kind, detail } => {
                self.registry.shared().observers.emit(|| {
                    let (id, peer, listener) = (self.state.id(), self.state.peer(), &**self.state.listener_name());
                    PoolEvent::HandshakeFailed { id, peer, listener, kind: *kind, error: detail }
                });
                self.registry.remove(&self.state, CloseReason::Handshake, Some(*kind), Some(detail));
            }
        }
        drop(entered);
        if let Some(span) = span {
            self.record_end(&span, &end, duration);
        }
        let (shared, limits) = (self.registry.shared(), self.state.listener().limits());
        shared.check_alarms(limits.remove_connection(), limits);
        // Released last: a connection admitted now must already see the updated counters.
        self.state.give_back_all();
        shared.settle();
    }
}

/// The text with control characters escaped: the peer may have chosen a part of it.
fn without_controls(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    escaped
}
