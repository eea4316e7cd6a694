//! Nodes that are processes of their own, and what happens to their names and members when they are killed, stalled and started again.

#![allow(clippy::unwrap_used)]

mod chaos;
mod checks;
mod client;
mod crash;
mod messages;
#[path = "../cluster/nats_server.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod nats_server;
mod node;
mod process;
mod stall;
