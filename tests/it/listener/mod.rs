//! Listeners and their transports.

mod accepted;
mod inherited;
mod memory;
mod tcp;
mod unix;
