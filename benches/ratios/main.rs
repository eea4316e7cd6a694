//! What the library costs, as ratios against servers written without it.
//!
//! ```text
//! cargo bench                        every row, five minutes
//! cargo bench -- --quick             fewer rounds, about two minutes
//! cargo bench -- echo memory         only the rows whose name contains one of these
//!
//!   this process: load ──loopback──▶ the same binary again: one server a process
//!   (one core)                       (the other core; its CPU clock and memory are what is read)
//! ```
//!
//! A ratio is taken between two servers that were alive together and worked in turn, so a noisy machine
//! troubles both alike. Absolute figures are this machine's and only say what the ratio is made of.

#[cfg(target_os = "linux")]
mod callgrind;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod ours;
#[cfg(target_os = "linux")]
mod peer;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod rows;
#[cfg(target_os = "linux")]
mod servers;
#[cfg(target_os = "linux")]
mod table;
#[cfg(target_os = "linux")]
mod tls;

/// `cargo bench` passes `--bench`. Whoever runs this in another way, such as `cargo test --benches`, wants to
/// know that it builds, not to wait for it.
#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, name, rest @ ..] = args.as_slice() {
        if role == "server" {
            return servers::run(name, rest.first().and_then(|core| core.parse().ok()));
        }
    }
    let given = |flag: &str| args.iter().any(|arg| arg == flag);
    if given("--test") || !given("--bench") {
        println!("ratios: run with `cargo bench`");
        return Ok(());
    }
    let wanted: Vec<&str> = args.iter().map(String::as_str).filter(|arg| !arg.starts_with('-')).collect();
    rows::run(&wanted, given("--quick"))
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("ratios: only on Linux, whose CPU clocks and memory maps it reads");
}
