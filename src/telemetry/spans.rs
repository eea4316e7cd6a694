//! Pool events as `tracing` spans.

use std::collections::HashMap;

use parking_lot::Mutex;
use tracing::{debug_span, field, info_span, Span};

use super::{ConnectionId, Observer, PoolEvent};

/// An [`Observer`] that keeps a `tracing` span open for each listener, acceptor and connection.
///
/// The span of a connection has the fields `id`, `peer` and `listener`; `label` once it has one; and when it closes `reason`,
/// `duration_ms`, `bytes_in`, `bytes_out` and `packets`. Its level is debug; that of listeners and acceptors is info. Spans are
/// not entered while callbacks run.
///
/// ```
/// # use actix_acceptor::{telemetry::Spans, AcceptorPool, Socket};
/// let builder = AcceptorPool::with_fn(|_: Socket| async {}).observer(Spans::new());
/// ```
#[derive(Debug, Default)]
pub struct Spans(Mutex<OpenSpans>);

#[derive(Debug, Default)]
struct OpenSpans {
    listeners: HashMap<String, Span>,
    acceptors: HashMap<usize, Span>,
    connections: HashMap<ConnectionId, Span>,
}

impl Spans {
    /// Creates an observer for one pool.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Observer for Spans {
    fn observe(&self, pool: &str, event: &PoolEvent<'_>) {
        // A removed span is dropped, and thus closed, after the lock is released.
        match *event {
            PoolEvent::ListenerStarted { listener, address } => {
                let span = info_span!("listener", pool, listener, %address);
                self.0.lock().listeners.insert(listener.to_owned(), span);
            }
            PoolEvent::ListenerChanged { listener, previous, address } if listener != previous => {
                let span = info_span!("listener", pool, listener, %address);
                let mut spans = self.0.lock();
                let removed = spans.listeners.remove(previous);
                spans.listeners.insert(listener.to_owned(), span);
                drop(spans);
                drop(removed);
            }
            PoolEvent::ListenerStopped { listener, .. } => {
                let removed = self.0.lock().listeners.remove(listener);
                drop(removed);
            }
            PoolEvent::AcceptorStarted { acceptor } => {
                let span = info_span!("acceptor", pool, acceptor, exit = field::Empty);
                self.0.lock().acceptors.insert(acceptor, span);
            }
            PoolEvent::AcceptorStopped { acceptor, exit } => {
                let removed = self.0.lock().acceptors.remove(&acceptor);
                if let Some(span) = removed {
                    span.record("exit", field::display(exit));
                }
            }
            PoolEvent::ConnectionStarted { id, peer, listener } => {
                let span = debug_span!(
                    "connection", pool, %id, %peer, listener, label = field::Empty, reason = field::Empty,
                    duration_ms = field::Empty, bytes_in = field::Empty, bytes_out = field::Empty, packets = field::Empty
                );
                // A disabled span would only use memory.
                if !span.is_disabled() {
                    self.0.lock().connections.insert(id, span);
                }
            }
            PoolEvent::ConnectionLabelled { id, label } => {
                let span = self.0.lock().connections.get(&id).cloned();
                if let Some(span) = span {
                    span.record("label", label);
                }
            }
            PoolEvent::ConnectionStopped { id, reason, duration, bytes_in, bytes_out, packets, .. } => {
                let removed = self.0.lock().connections.remove(&id);
                if let Some(span) = removed {
                    span.record("reason", reason.name());
                    span.record("duration_ms", duration.as_millis() as u64);
                    span.record("bytes_in", bytes_in);
                    span.record("bytes_out", bytes_out);
                    span.record("packets", packets);
                }
            }
            PoolEvent::Refused { id: Some(id), reason, .. } => {
                let removed = self.0.lock().connections.remove(&id);
                if let Some(span) = removed {
                    span.record("reason", reason.name());
                }
            }
            _ => {}
        }
    }
}
