//! The clock of an arbiter, the deadlines of a connection, and which operations of a socket are outstanding.

mod clock;
mod deadlines;
mod outstanding;
#[cfg(feature = "serde")]
mod seconds;

pub(crate) use clock::{
    is_clock_paused, is_paused, limit_millis, millis, resolution, tick_duration, tolerance, Clock, MIN_TICK,
};
pub(crate) use deadlines::{Deadlines, Expired, Timeouts};
pub(crate) use outstanding::Outstanding;
#[cfg(feature = "serde")]
pub(crate) use seconds::{optional_seconds, seconds};
