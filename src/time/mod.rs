//! The clock of an arbiter, and the deadlines of one connection.

mod clock;
mod deadlines;

pub(crate) use clock::{millis, pause, resolution, tolerance, Clock};
pub(crate) use deadlines::{Deadlines, Expired, Timeouts};
