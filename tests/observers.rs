//! What observers are told: everything once, in order, with the right numbers; and what it costs others.

#![allow(unreachable_pub, clippy::unwrap_used)]

#[path = "observers/acceptors.rs"]
mod acceptors;
#[path = "observers/closed_ports.rs"]
mod closed_ports;
#[path = "observers/connections.rs"]
mod connections;
#[path = "observers/doors.rs"]
mod doors;
#[path = "observers/durations.rs"]
mod durations;
#[path = "observers/listeners.rs"]
mod listeners;
#[path = "observers/looks.rs"]
mod looks;
#[path = "observers/orphans.rs"]
mod orphans;
#[path = "observers/packets.rs"]
mod packets;
#[path = "observers/panics.rs"]
mod panics;
#[path = "observers/refusals.rs"]
mod refusals;
mod support;
