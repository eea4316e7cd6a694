//! Events for observers: each once, in order, with the right numbers.

mod acceptors;
mod closed_ports;
mod connections;
mod durations;
mod groups;
mod handlers;
mod info;
mod life;
mod listed;
mod listeners;
mod lost_pools;
mod packets;
mod panics;
mod refusals;
mod replies;
