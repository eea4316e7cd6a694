//! What is changed while a pool runs: settings, acceptors, behaviour, listeners.

mod acceptors;
mod at_once;
mod behaviour;
mod later;
mod listeners;
mod open_listeners;
mod refused;
