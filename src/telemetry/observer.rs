//! The observers of a pool.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{error, Span};

use super::open_span::{OpenSpan, SpanOf};
use super::{LiveList, LogThrottle, PoolEvent, PoolSample};
use crate::panic::{catch_panic, Guarded};

/// Receives the events of a pool. Registered with [`Builder::observer`](crate::Builder::observer), or with
/// [`Pool::add_observer`](crate::Pool::add_observer) while the pool runs.
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

    /// Whether [`sample`](Observer::sample) is called.
    ///
    /// Default: `false`. If no observer wants samples, the pool has no timer for them.
    fn wants_samples(&self) -> bool {
        false
    }

    /// Receives the numbers of the pool: when the pool starts, about once a second, and when it has ended. Called on the arbiter
    /// of the pool if [`wants_samples`](Observer::wants_samples) returns true.
    ///
    /// Default: does nothing.
    fn sample(&self, pool: &str, sample: &PoolSample<'_>) {
        let _ = (pool, sample);
    }

    /// Supplies the `tracing` span of a part of the pool, as [`Spans`](super::Spans) does. `parent` is the span that contains
    /// it, disabled if there is none.
    ///
    /// Called when the part starts, before the event that reports the start; [`Pool::add_observer`](crate::Pool::add_observer)
    /// calls it for parts that have no span. If several observers return an enabled span, the first one is used. The span of a
    /// connection is entered while the connection's code runs. The library records these fields if the span declares them:
    /// `label`, `peer`, `reason`, `duration_ms`, `bytes_in`, `bytes_out` and `packets` of a connection, `exit` of an acceptor.
    ///
    /// Default: no span.
    ///
    /// ```
    /// use actix_acceptor::telemetry::{Observer, PoolEvent, SpanOf};
    /// use tracing::{info_span, Span};
    ///
    /// /// Supplies a span with a trace id for each connection, and none for anything else.
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

    fn wants_samples(&self) -> bool {
        (**self).wants_samples()
    }

    fn sample(&self, pool: &str, sample: &PoolSample<'_>) {
        (**self).sample(pool, sample);
    }

    fn span(&self, pool: &str, of: &SpanOf<'_>, parent: &Span) -> Span {
        (**self).span(pool, of, parent)
    }
}

/// Identifies an observer of a running pool: see [`Pool::add_observer`](crate::Pool::add_observer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObserverKey(u64);

type BoxedObserver = Guarded<Box<dyn Observer>>;

/// The observers of a pool, the name of the pool, and its span.
pub(crate) struct Observers {
    pool: Arc<str>,
    all: LiveList<BoxedObserver>,
    panics: LogThrottle,
    span: Mutex<Option<Arc<OpenSpan>>>,
}

impl Observers {
    pub(crate) fn new(pool: Arc<str>, all: Vec<Box<dyn Observer>>) -> Self {
        let all = LiveList::new(all.into_iter().map(Guarded::new));
        Observers { pool, all, panics: LogThrottle::new(), span: Mutex::default() }
    }

    pub(crate) fn add(&self, observer: Box<dyn Observer>) -> ObserverKey {
        ObserverKey(self.all.add(Guarded::new(observer)))
    }

    pub(crate) fn remove(&self, key: ObserverKey) -> bool {
        self.all.remove(key.0)
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
        for (_, observer) in self.all.load().iter() {
            self.call(|| observer.observe(&self.pool, event));
        }
    }

    /// Whether an observer wants samples.
    pub(crate) fn want_samples(&self) -> bool {
        let wants = |observer: &BoxedObserver| self.call(|| observer.wants_samples()).unwrap_or(false);
        self.all.load().iter().any(|(_, observer)| wants(observer))
    }

    /// Passes a sample to every observer that wants it.
    pub(crate) fn sample(&self, sample: &PoolSample<'_>) {
        for (_, observer) in self.all.load().iter() {
            self.call(|| {
                if observer.wants_samples() {
                    observer.sample(&self.pool, sample);
                }
            });
        }
    }

    /// The span of the pool, if it is open.
    pub(crate) fn pool_span(&self) -> Option<Arc<OpenSpan>> {
        self.span.lock().clone()
    }

    /// Opens the span of the pool, unless it is open.
    pub(crate) fn open_pool_span(&self) {
        if self.pool_span().is_none()
            && let Some(opened) = self.open_span(&SpanOf::Pool, None)
        {
            self.span.lock().get_or_insert_with(|| opened.clone());
        }
    }

    /// Closes the span of the pool, which has ended.
    pub(crate) fn close_pool_span(&self) {
        let span = self.span.lock().take();
        drop(span);
    }

    /// The first enabled span that an observer supplies.
    pub(crate) fn open_span(&self, of: &SpanOf<'_>, parent: Option<&OpenSpan>) -> Option<Arc<OpenSpan>> {
        if self.all.is_empty() {
            return None;
        }
        let none = Span::none();
        let parent = parent.map_or(&none, OpenSpan::as_parent);
        let supplied = |observer: &BoxedObserver| self.call(|| OpenSpan::new(observer.span(&self.pool, of, parent)));
        self.all.load().iter().find_map(|(_, observer)| supplied(observer).flatten()).map(Arc::new)
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
