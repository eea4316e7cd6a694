//! The ways a connection ends: what is on the wire before, what is counted after, and what a panic costs.

#![allow(unreachable_pub, clippy::unwrap_used)]

#[path = "endings/counts.rs"]
mod counts;
#[path = "endings/dropped.rs"]
mod dropped;
#[path = "endings/last_bytes.rs"]
mod last_bytes;
#[path = "endings/panics.rs"]
mod panics;
#[path = "endings/replies.rs"]
mod replies;
mod support;
#[path = "next/touchy.rs"]
mod touchy;
#[path = "endings/unwound.rs"]
mod unwound;
