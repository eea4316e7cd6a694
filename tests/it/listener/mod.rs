//! Listeners and their transports.

mod accepted;
mod env;
mod inherited;
mod memory;
#[cfg(target_os = "linux")]
mod multipath;
mod options;
#[cfg(target_os = "linux")]
mod own_sockets;
mod tcp;
mod unix;
