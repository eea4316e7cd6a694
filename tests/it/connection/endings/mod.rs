//! The ways a connection ends: what is on the wire before, what is counted after, and what a panic costs.

mod counts;
mod dropped;
mod info;
mod last_bytes;
mod panics;
mod replies;
mod unwinding;
