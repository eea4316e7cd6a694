//! The end of a pool, phase by phase: what each peer gets, what is counted, and when.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "drain/deadline.rs"]
mod deadline;
#[path = "drain/guests.rs"]
mod guests;
#[path = "drain/phases.rs"]
mod phases;
#[path = "drain/queue.rs"]
mod queue;
#[path = "drain/report.rs"]
mod report;
#[cfg(unix)]
#[path = "drain/signals.rs"]
mod signals;
mod support;
