//! Timeouts on a paused clock.

mod age;
mod clock;
mod hour;
mod idle;
mod packet;
mod states;
