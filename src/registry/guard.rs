//! [`ConnectionGuard`], the owner of a connection's bookkeeping, the same for every handler.
//!
//! ```text
//! ConnectionGuard ── owns ──▶ registry entry, permit, per-peer count, deadlines, close reason
//!        └── Drop, finish: log line ─▶ counts ─▶ observers ─▶ alarms ─▶ permits given back ─▶ waiters woken
//! ```

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::error;
use tracing::field::display;

use super::end::{without_controls, End};
use super::{ActivityGuard, CloseRequest, ConnectionState, Registry};
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
}

/// What only a connection with a span, or one that ends, has.
#[derive(Default)]
struct Rare {
    /// The span of the connection. Set before the first turn, or never.
    span: Option<Arc<OpenSpan>>,
    end: OnceCell<End>,
    /// The bookkeeping is done.
    is_finished: Cell<bool>,
    after_end: Cell<Option<AfterEnd>>,
}

/// Called once the bookkeeping of a connection is done.
type AfterEnd = Box<dyn FnOnce()>;

impl std::fmt::Debug for Rare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rare").field("end", &self.end).finish_non_exhaustive()
    }
}

impl ConnectionGuard {
    pub(super) fn new(registry: Arc<Registry>, state: Arc<ConnectionState>, timeouts: Timeouts) -> Self {
        let deadlines = Deadlines::new(timeouts, state.last_read());
        ConnectionGuard { registry, state, deadlines, rare: OnceCell::new() }
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
            let _ = self.rare.set(Box::new(Rare { span, ..Rare::default() }));
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

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    fn end(&self) -> &OnceCell<End> {
        &self.rare().end
    }

    /// Sets what is called, under the panic guard, when the guard is dropped and the bookkeeping is done.
    pub(crate) fn set_after_end(&self, then: Box<dyn FnOnce()>) {
        self.rare().after_end.set(Some(then));
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
        self.state.leave_groups(&self.registry);
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
                let detail = without_controls(detail.unwrap_or_default());
                End::HandshakeFailed { kind: HandshakeFailure::Rejected, detail }
            }
            reason => End::Closed { reason, detail },
        });
    }

    /// Sets the close reason [`CloseReason::Handshake`], with the kind of the failure and the text of the error. The first call
    /// wins, as with [`set_close_reason`](Self::set_close_reason).
    pub(crate) fn set_handshake_failure(&self, kind: HandshakeFailure, detail: String) {
        let _ = self.end().set(End::HandshakeFailed { kind, detail: without_controls(detail) });
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

    /// Ends the connection for the pool while the guard continues to exist. Later calls have no effect.
    pub(crate) fn finish(&self) {
        if self.give_back() {
            self.registry.shared().settle();
        }
    }

    /// Logs, counts and reports the end of the connection, and gives back its permit and counts. Returns false if that was done
    /// before.
    fn give_back(&self) -> bool {
        if self.rare().is_finished.replace(true) {
            return false;
        }
        self.state.leave_groups(&self.registry);
        self.state.discard_outbox();
        self.state.close_mailbox();
        self.report_dropped();
        let entered = self.enter_span();
        let end = self.end().get_or_init(|| {
            let reason = if std::thread::panicking() { CloseReason::Panic } else { CloseReason::Killed };
            End::Closed { reason, detail: None }
        });
        // The subscriber is user code: what the connection holds is given back even if it panics.
        let _ = catch_panic(|| self.log_end(end));
        let duration = self.age();
        match end {
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
        if let Some(span) = self.span() {
            self.record_end(span, end, duration);
        }
        let (shared, limits) = (self.registry.shared(), self.state.listener().limits());
        shared.check_alarms(limits.remove_connection(), limits);
        // Released last: a connection admitted now must already see the updated counters.
        self.state.give_back_all();
        true
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let settles = self.give_back();
        // Closes the span before the pool can end.
        let after_end = self.rare.take().and_then(|rare| rare.after_end.take());
        if settles {
            self.registry.shared().settle();
        }
        if let Some(then) = after_end {
            let _activity = self.begin_activity();
            if let Err(panic) = catch_panic(then) {
                let state = &self.state;
                error!(id = %state.id(), peer = %state.peer(), panic, "the closure of a detached connection panicked");
            }
        }
    }
}
