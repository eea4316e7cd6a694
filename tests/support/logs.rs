//! What the library logs through `tracing`, recorded for the whole process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, Once};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::spans::SpanLayer;

/// One event of the library's.
#[derive(Clone, Debug)]
pub struct Line {
    pub at: Instant,
    pub level: Level,
    /// Every field as text, the message included.
    pub fields: HashMap<&'static str, String>,
}

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());
static LISTENING: Once = Once::new();

/// Starts recording; all threads and tests of the process are recorded, so filter by names.
pub fn listen() {
    LISTENING.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(LogLayer).with(SpanLayer);
        tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    });
}

/// The lines so far that match.
pub fn lines(wanted: impl Fn(&Line) -> bool) -> Vec<Line> {
    recorded().iter().filter(|line| wanted(line)).cloned().collect()
}

impl Line {
    pub fn is(&self, field: &str, text: &str) -> bool {
        self.fields.get(field).is_some_and(|value| value == text)
    }

    pub fn message(&self) -> &str {
        &self.fields["message"]
    }
}

fn recorded() -> MutexGuard<'static, Vec<Line>> {
    LINES.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct LogLayer;

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("actix_acceptor") {
            let mut fields = Fields::default();
            event.record(&mut fields);
            recorded().push(Line { at: Instant::now(), level: *event.metadata().level(), fields: fields.0 });
        }
    }
}

/// The fields of an event or a span, as text.
#[derive(Default)]
pub struct Fields(pub HashMap<&'static str, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
