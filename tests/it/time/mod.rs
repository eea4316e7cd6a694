//! Timeouts on a paused clock.

mod age;
mod clock;
mod idle;
mod packet;
