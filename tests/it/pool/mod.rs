//! Pools: start, change, suspend, drain, stop.

mod adopt;
mod change;
mod drain;
mod ended;
mod life;
#[cfg(target_os = "linux")]
mod many;
mod own_end;
mod own_thread;
mod reports;
mod shutdown;
mod start;
mod stop;
mod supervised;
mod suspend;
