//! Nodes that reach each other through NATS, and through the memory of one process.

#![allow(clippy::unwrap_used)]

mod broadcast;
mod credentials;
mod documents;
mod faults;
mod leaving;
mod malformed;
#[cfg(feature = "metrics")]
mod metrics;
mod names;
mod nats_server;
mod node_names;
mod nodes;
mod permissions;
mod presence;
mod refused;
mod requests;
mod security;
mod settings;
mod topics;
mod watch;
