//! Timeouts on a paused clock.

mod idle;
mod packet;
