//! Pools: start, change, suspend, drain, stop.

mod change;
mod drain;
mod life;
#[cfg(target_os = "linux")]
mod many;
mod start;
mod stop;
mod suspend;
