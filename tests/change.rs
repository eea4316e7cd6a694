//! What is changed while a pool runs: settings, acceptors, behaviour, listeners.

#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "change/at_once.rs"]
mod at_once;
#[path = "change/behaviour.rs"]
mod behaviour;
#[path = "change/later.rs"]
mod later;
#[path = "change/listeners.rs"]
mod listeners;
#[path = "change/refused.rs"]
mod refused;
#[path = "change/staff.rs"]
mod staff;
mod support;
