//! The examples as processes. A binary of its own: between fork and exec a child holds the sockets of its parent.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod chat;
mod guests;
#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "../cluster/nats_server.rs"]
mod nats_server;
