//! The example `playground` after its contract, from outside: a process, its sockets, its output.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod change;
mod chat;
mod client;
mod console;
mod drain;
mod endings;
mod limits;
mod link;
mod process;
mod proxy;
mod starting;
mod support;
mod suspend;
mod tls;
#[cfg(unix)]
mod unix;
mod verbs;

/// The four doors, by the handlers that echo through them.
const DOORS: [&str; 4] = ["echo", "loop", "async", "actor"];
