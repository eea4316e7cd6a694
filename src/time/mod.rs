//! The clock of an arbiter, and the deadlines of a connection.

mod clock;
mod deadlines;

pub(crate) use clock::{limit_millis, millis, resolution, tick_duration, tolerance, Clock};
pub(crate) use deadlines::{Deadlines, Expired, Timeouts};
