//! Listeners and their transports.

mod accepted;
mod env;
mod inherited;
mod memory;
mod options;
#[cfg(target_os = "linux")]
mod own_sockets;
mod tcp;
mod unix;
