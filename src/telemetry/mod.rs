//! What happened: in numbers, as log lines, and told one thing at a time.
//!
//! | file | what it is about |
//! |---|---|
//! | `reason`, `refusal` | one count per way a connection can end, and per reason to turn a peer away |
//! | `observer` | what happens, told to whoever wants to know |
//! | `spans`, `metrics` | observers that come with the crate |
//! | `alarm` | high and low marks on the number of connections |
//! | `log_throttle` | log lines that may come often |
//!
//! The counts themselves live in the [table](crate::registry), under the same lock as the entries they count, so that a
//! snapshot always adds up.

mod alarm;
mod counts;
mod id;
mod log_throttle;
#[cfg(feature = "metrics")]
mod metrics;
mod observer;
mod reason;
mod refusal;
mod spans;

pub use alarm::{Alarm, AlarmEvent};
pub use counts::{Counts, Label};
pub use id::ConnectionId;
pub(crate) use log_throttle::{CloseLogThrottle, LogThrottle};
#[cfg(feature = "metrics")]
pub use metrics::Metrics;
pub(crate) use observer::Observers;
pub use observer::{Observer, PoolEvent};
pub use reason::CloseReason;
pub use refusal::RefusalReason;
pub use spans::Spans;
