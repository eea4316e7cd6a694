//! [`OpenSpan`], the span of a pool, listener, acceptor or connection.

use std::fmt;
use std::mem::replace;

use tracing::{Span, Value};

use super::ConnectionId;
use crate::net::Address;
use crate::panic::catch_panic;

/// What a span is for: passed to [`Observer::span`](super::Observer::span).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum SpanOf<'a> {
    /// The pool, from its start until it has ended. It has no parent.
    Pool,
    /// A listener, while it is open. Its parent is the span of the pool.
    Listener {
        /// The name of the listener.
        listener: &'a str,
        /// The address it listens on.
        address: &'a Address,
    },
    /// An acceptor, while it runs. Its parent is the span of the pool.
    Acceptor {
        /// The index of the acceptor.
        acceptor: usize,
    },
    /// A connection. Its parent is the span of its listener; of an adopted connection, that of the pool.
    Connection {
        /// The id of the connection.
        id: ConnectionId,
        /// The address of the socket's peer. No PROXY header has been read yet.
        peer: &'a Address,
        /// The name of the listener.
        listener: &'a str,
    },
}

/// An enabled span. It closes when it is dropped. Its subscriber is user code, so it is called under the panic guard.
pub(crate) struct OpenSpan(Span);

impl OpenSpan {
    /// `None` if the span is disabled.
    pub(super) fn new(span: Span) -> Option<Self> {
        (!span.is_disabled()).then_some(OpenSpan(span))
    }

    /// Makes it the current span of the thread until the guard is dropped.
    pub(crate) fn enter(&self) -> EnteredSpan<'_> {
        let _ = catch_panic(|| self.0.with_subscriber(|(id, subscriber)| subscriber.enter(id)));
        EnteredSpan(self)
    }

    /// Records a field. Ignored if the span does not declare it.
    pub(crate) fn record(&self, field: &str, value: impl Value) {
        let _ = catch_panic(|| _ = self.0.record(field, value));
    }

    /// Another handle of the span, which keeps it open.
    pub(crate) fn handle(&self) -> Span {
        catch_panic(|| self.0.clone()).unwrap_or_else(|_| Span::none())
    }

    pub(super) fn as_parent(&self) -> &Span {
        &self.0
    }
}

impl Drop for OpenSpan {
    fn drop(&mut self) {
        let span = replace(&mut self.0, Span::none());
        let _ = catch_panic(|| drop(span));
    }
}

impl fmt::Debug for OpenSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenSpan(..)")
    }
}

/// A span that is the current one of the thread until this is dropped.
pub(crate) struct EnteredSpan<'a>(&'a OpenSpan);

impl Drop for EnteredSpan<'_> {
    fn drop(&mut self) {
        let _ = catch_panic(|| self.0 .0.with_subscriber(|(id, subscriber)| subscriber.exit(id)));
    }
}
