//! Timeouts on a paused clock.

mod age;
mod idle;
mod packet;
