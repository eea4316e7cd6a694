//! Black-box tests of the playground: a process, its sockets, its output.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod change;
mod chat;
mod client;
mod console;
mod drain;
mod endings;
mod limits;
mod link;
mod messaging;
mod process;
mod proxy;
mod starting;
mod support;
mod suspend;
mod tls;
#[cfg(unix)]
mod unix;
mod verbs;

/// The echo handlers, one for each kind of handler of the library.
const HANDLERS: [&str; 4] = ["echo", "loop", "async", "actor"];
