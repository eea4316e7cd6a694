//! Listeners and their transports.

mod accepted;
mod env;
mod inherited;
mod memory;
mod options;
mod tcp;
mod unix;
