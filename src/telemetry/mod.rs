//! What happened: in numbers, as log lines, and told one thing at a time.
//!
//! | file | what it is about |
//! |---|---|
//! | `reason`, `refusal` | one count per way a connection can end, and per reason to turn a peer away |
//! | `observer` | what happens, told to whoever wants to know |
//! | `spans`, `metrics` | observers that come with the crate |
//! | `alarm` | high and low marks on the number of connections |
//! | `complaints` | log lines that may come often |
//!
//! The counts themselves live in the [table](crate::registry), under the same lock as the entries they count, so that a
//! snapshot always adds up.

mod alarm;
mod complaints;
mod counts;
mod id;
#[cfg(feature = "metrics")]
mod metrics;
mod observer;
mod reason;
mod refusal;
mod spans;

pub use alarm::{Alarm, AlarmEvent};
pub(crate) use complaints::{Complaints, Endings};
pub use counts::{Counts, Label};
pub use id::ConnectionId;
#[cfg(feature = "metrics")]
pub use metrics::Metrics;
pub(crate) use observer::Observers;
pub use observer::{Observer, PoolEvent};
pub use reason::CloseReason;
pub use refusal::RefusalReason;
pub use spans::Spans;
