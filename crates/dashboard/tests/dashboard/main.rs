//! The dashboard: its JSON, actions with their effect at TCP clients, security, updates.

#![allow(clippy::unwrap_used)]

mod acting;
mod client;
mod ended;
mod reading;
mod settings;
