//! What the library costs, as ratios against servers written without it.
//!
//! ```text
//! cargo run --release -p bench                        every row, about fifteen minutes
//! cargo run --release -p bench -- --quick             fewer rounds, about five minutes
//! cargo run --release -p bench -- echo memory         only the rows whose name contains one of these words
//!
//!   this process: load ──loopback──▶ the same binary as a server, one process for each server
//!   (one core)                       (the other core; its CPU clock and memory are measured)
//! ```
//!
//! A ratio compares two servers that run at the same time and work in turn, so noise of the machine affects both.
//! Absolute figures depend on the machine; they only show how a ratio comes about.

#[cfg(target_os = "linux")]
mod broadcast;
#[cfg(target_os = "linux")]
mod brokers;
#[cfg(target_os = "linux")]
mod callgrind;
#[cfg(target_os = "linux")]
mod cluster;
#[cfg(target_os = "linux")]
mod dashboard;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod members;
#[cfg(target_os = "linux")]
mod operator;
#[cfg(target_os = "linux")]
mod ours;
#[cfg(target_os = "linux")]
mod peer;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod rows;
#[cfg(target_os = "linux")]
mod runner;
#[cfg(target_os = "linux")]
mod servers;
#[cfg(target_os = "linux")]
mod shared;
#[cfg(target_os = "linux")]
mod storm;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod tls;
#[cfg(target_os = "linux")]
mod topics;

/// Runs the rows, or, in a process that the benchmark has started, one server or a part of the load.
#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, name, rest @ ..] = args.as_slice()
        && role == "server"
    {
        return servers::run(name, rest.first().and_then(|core| core.parse().ok()));
    }
    if let [role, port, server, count] = args.as_slice()
        && role == members::ROLE
    {
        return members::run(port, server, count);
    }
    let (options, wanted): (Vec<&str>, Vec<&str>) =
        args.iter().map(String::as_str).partition(|arg| arg.starts_with('-'));
    match options.as_slice() {
        [] => runner::run(&wanted, false),
        ["--quick"] => runner::run(&wanted, true),
        others => {
            let usage =
                format!("unknown option among {others:?}; usage: bench [--quick] [part of the name of a row]...");
            Err(std::io::Error::other(usage))
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("bench: runs on Linux only, because it reads CPU clocks and memory maps from /proc");
}
