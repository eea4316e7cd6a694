//! The example `playground` after its contract, from outside: a process, its sockets, its output.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod change;
mod chat;
mod client;
mod console;
mod drain;
mod endings;
mod limits;
#[allow(dead_code, reason = "what is async is for others")]
#[path = "../support/patience.rs"]
mod patience;
mod process;
mod starting;
mod suspend;
#[cfg(unix)]
mod unix;
mod verbs;

/// The four doors, by the handlers that echo through them.
const DOORS: [&str; 4] = ["echo", "loop", "async", "actor"];
