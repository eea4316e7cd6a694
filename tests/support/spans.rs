//! The spans of the library, recorded for the whole process by [`logs::listen`](crate::logs::listen).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Context as LayerContext, Layer};

use crate::logs::Fields;

/// A span of the library's.
#[derive(Clone, Debug)]
pub struct Span {
    pub id: u64,
    pub name: &'static str,
    pub level: Level,
    pub fields: HashMap<&'static str, String>,
    pub entered: bool,
    pub closed: bool,
}

static SPANS: Mutex<Vec<Span>> = Mutex::new(Vec::new());

pub fn spans() -> MutexGuard<'static, Vec<Span>> {
    SPANS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The spans of a pool, in the order in which they were opened.
pub fn of(pool: &str, name: &str) -> Vec<Span> {
    spans().iter().filter(|span| span.name == name && span.field("pool") == pool).cloned().collect()
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

impl<S: Subscriber> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: LayerContext<'_, S>) {
        let metadata = attributes.metadata();
        if metadata.target().starts_with("actix_acceptor") {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            let (id, name, level) = (id.into_u64(), metadata.name(), *metadata.level());
            spans().push(Span { id, name, level, fields: fields.0, entered: false, closed: false });
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
