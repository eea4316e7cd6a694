//! The spans of the library, recorded for the whole process by [`logs::listen`](crate::logs::listen).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context as LayerContext, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::logs::Fields;

/// A span of the library's.
#[derive(Clone, Debug)]
pub struct Span {
    pub id: u64,
    pub name: &'static str,
    pub level: Level,
    pub fields: HashMap<&'static str, String>,
    /// The names and numbers of the spans that contain it, the outermost first.
    pub parents: Vec<(&'static str, u64)>,
    pub entered: bool,
    pub closed: bool,
}

/// A log line, and the spans it was logged in, the outermost first.
#[derive(Clone, Debug)]
pub struct Said {
    pub target: String,
    pub message: String,
    pub spans: Vec<Span>,
}

static SPANS: Mutex<Vec<Span>> = Mutex::new(Vec::new());
static SAID: Mutex<Vec<Said>> = Mutex::new(Vec::new());

pub fn spans() -> MutexGuard<'static, Vec<Span>> {
    SPANS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The spans of a pool, in the order in which they were opened.
pub fn of(pool: &str, name: &str) -> Vec<Span> {
    spans().iter().filter(|span| span.name == name && span.field("pool") == pool).cloned().collect()
}

/// What was logged in spans of a pool. Log lines of tests have the target `user`.
pub fn said_in(pool: &str) -> Vec<Said> {
    let said = SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    said.iter().filter(|line| line.spans.iter().any(|span| span.field("pool") == pool)).cloned().collect()
}

impl Said {
    /// The names of its spans, the outermost first.
    pub fn names(&self) -> Vec<&'static str> {
        self.spans.iter().map(|span| span.name).collect()
    }

    /// A field of the innermost span.
    pub fn field(&self, name: &str) -> &str {
        self.spans.last().map_or("", |span| span.field(name))
    }
}

impl Span {
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value)
    }
}

pub(crate) struct SpanLayer;

impl SpanLayer {
    /// The newest span of this number: numbers are used again.
    fn change(id: &Id, change: impl FnOnce(&mut Span)) {
        if let Some(span) = spans().iter_mut().rev().find(|span| span.id == id.into_u64() && !span.closed) {
            change(span);
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLayer {
    fn on_event(&self, event: &Event<'_>, context: LayerContext<'_, S>) {
        let (Some(scope), target) = (context.event_scope(event), event.metadata().target()) else { return };
        if target == "user" || target.starts_with("actix_acceptor") {
            let newest = |id: u64| spans().iter().rev().find(|span| span.id == id).cloned();
            let spans = scope.from_root().filter_map(|span| newest(span.id().into_u64())).collect();
            let mut fields = Fields::default();
            event.record(&mut fields);
            let message = fields.0.remove("message").unwrap_or_default();
            let said = Said { target: target.to_owned(), message, spans };
            SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(said);
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        let metadata = attributes.metadata();
        if metadata.target().starts_with("actix_acceptor") {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            let (id, name, level) = (id.into_u64(), metadata.name(), *metadata.level());
            let parents = context.span_scope(&Id::from_u64(id)).into_iter().flat_map(|scope| scope.from_root());
            let mut parents: Vec<_> = parents.map(|span| (span.name(), span.id().into_u64())).collect();
            parents.pop();
            spans().push(Span { id, name, level, fields: fields.0, parents, entered: false, closed: false });
        }
    }

    fn on_record(&self, id: &Id, record: &Record<'_>, _: LayerContext<'_, S>) {
        let mut fields = Fields::default();
        record.record(&mut fields);
        SpanLayer::change(id, |span| span.fields.extend(fields.0));
    }

    fn on_enter(&self, id: &Id, _: LayerContext<'_, S>) {
        SpanLayer::change(id, |span| span.entered = true);
    }

    fn on_close(&self, id: Id, _: LayerContext<'_, S>) {
        SpanLayer::change(&id, |span| span.closed = true);
    }
}
