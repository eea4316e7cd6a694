//! Tests that start processes. A binary of its own: between fork and exec a child holds the sockets of its parent.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod clients;
mod config_example;
#[cfg(target_os = "linux")]
mod crypto_provider;
#[cfg(target_os = "linux")]
mod descriptors;
mod example;
#[cfg(target_os = "linux")]
mod few_descriptors;
#[cfg(target_os = "linux")]
mod few_threads;
mod first_minutes;
mod hand_over;
mod messaging_examples;
mod metrics_example;
#[cfg(target_os = "linux")]
mod own_process;
mod shutdown;
mod signals;
mod systemd;
mod systemd_notify;
mod unix_peers;
mod websocket_example;
mod with_actix_web_example;
