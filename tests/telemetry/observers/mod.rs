//! What observers are told: everything once, in order, with the right numbers; and what it costs others.

mod acceptors;
mod closed_ports;
mod connections;
mod doors;
mod durations;
mod listeners;
mod looks;
mod orphans;
mod packets;
mod panics;
mod refusals;
