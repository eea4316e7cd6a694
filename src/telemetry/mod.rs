//! Events, counts, alarms, spans and metrics of a pool.
//!
//! An [`Observer`] receives every [`PoolEvent`]; [`Spans`] and, with feature `metrics`, `Metrics` are observers. An
//! [`Alarm`] watches the number of connections. [`Counts`] holds a number per [`CloseReason`],
//! [`RefusalReason`] or [`HandshakeFailure`].

mod alarm;
mod counts;
mod event;
mod handshake_failure;
mod id;
mod live_list;
mod log_throttle;
#[cfg(feature = "metrics")]
mod metrics;
mod observer;
mod open_span;
mod reason;
mod refusal;
mod spans;

pub(crate) use alarm::Alarms;
pub use alarm::{Alarm, AlarmEvent, AlarmKey};
pub use counts::{Counts, Label};
pub use event::PoolEvent;
pub use handshake_failure::HandshakeFailure;
pub use id::ConnectionId;
pub(crate) use live_list::LiveList;
pub(crate) use log_throttle::{CloseLogThrottle, LogThrottle};
#[cfg(feature = "metrics")]
pub use metrics::Metrics;
pub(crate) use observer::Observers;
pub use observer::{Observer, ObserverKey};
pub use open_span::SpanOf;
pub(crate) use open_span::{EnteredSpan, OpenSpan};
pub use reason::CloseReason;
pub use refusal::RefusalReason;
pub use spans::Spans;
