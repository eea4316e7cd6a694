//! The integration tests that share one process; those that need a process to themselves are beside this folder.

#![allow(clippy::unwrap_used)]

mod accept;
mod config;
mod connection;
mod framing;
mod handlers;
mod handshake;
mod limits;
mod listener;
mod messaging;
mod pool;
mod pool_config;
mod structure;
#[cfg(feature = "testing")]
mod testing;
mod time;
mod user_code;
