//! `tracing` spans, built on what observers are told.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{debug_span, field, info_span, Span};

use super::{ConnectionId, Observer, PoolEvent};

/// An [`Observer`] that keeps a `tracing` span open for each listener, acceptor and connection, as long as it lives.
///
/// Spans of connections have `id`, `peer` and `listener`, and when they close `reason`, `duration_ms`, `bytes_in`,
/// `bytes_out` and `packets`; they are events of the level debug, those of listeners and acceptors of the level info. They
/// are not entered while callbacks run.
///
/// ```
/// # use actix_acceptor::{telemetry::Spans, AcceptorPool, Socket};
/// let builder = AcceptorPool::with_fn(|_: Socket| async {}).observer(Spans::new());
/// ```
#[derive(Debug, Default)]
pub struct Spans(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    listeners: HashMap<String, Span>,
    acceptors: HashMap<usize, Span>,
    connections: HashMap<ConnectionId, Span>,
}

impl Spans {
    /// For one pool.
    pub fn new() -> Self {
        Self::default()
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Spans {
    fn observe(&self, pool: &str, event: &PoolEvent<'_>) {
        // What is removed is dropped, and its span closed, after the lock is let go of.
        match *event {
            PoolEvent::ListenerStarted { listener, address } => {
                let span = info_span!("listener", pool, listener, %address);
                self.open().listeners.insert(listener.to_owned(), span);
            }
            PoolEvent::ListenerStopped { listener, .. } => {
                let gone = self.open().listeners.remove(listener);
                drop(gone);
            }
            PoolEvent::AcceptorStarted { acceptor } => {
                let span = info_span!("acceptor", pool, acceptor, exit = field::Empty);
                self.open().acceptors.insert(acceptor, span);
            }
            PoolEvent::AcceptorStopped { acceptor, exit } => {
                let gone = self.open().acceptors.remove(&acceptor);
                if let Some(span) = gone {
                    span.record("exit", field::display(exit));
                }
            }
            PoolEvent::ConnectionStarted { id, peer, listener } => {
                let span = debug_span!(
                    "connection", pool, %id, %peer, listener, reason = field::Empty, duration_ms = field::Empty,
                    bytes_in = field::Empty, bytes_out = field::Empty, packets = field::Empty
                );
                // One that nobody wants to see would only be carried along.
                if !span.is_disabled() {
                    self.open().connections.insert(id, span);
                }
            }
            PoolEvent::ConnectionStopped { id, reason, duration, bytes_in, bytes_out, packets, .. } => {
                let gone = self.open().connections.remove(&id);
                if let Some(span) = gone {
                    span.record("reason", reason.name());
                    span.record("duration_ms", duration.as_millis() as u64);
                    span.record("bytes_in", bytes_in);
                    span.record("bytes_out", bytes_out);
                    span.record("packets", packets);
                }
            }
            PoolEvent::Refused { id: Some(id), reason, .. } => {
                let gone = self.open().connections.remove(&id);
                if let Some(span) = gone {
                    span.record("reason", reason.name());
                }
            }
            _ => {}
        }
    }
}
