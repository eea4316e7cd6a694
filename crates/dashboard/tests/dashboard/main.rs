//! The dashboard: its JSON, actions with their effect at TCP clients, security, updates.

#![allow(clippy::unwrap_used)]

mod acting;
mod attempts;
mod audit;
mod client;
mod draining;
mod ended;
mod example;
mod history;
mod hostile;
mod metrics;
mod paths;
mod reading;
mod rows;
mod security;
mod settings;
mod signing_in;
mod streaming;
