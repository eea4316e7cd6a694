//! Pools: start, change, suspend, drain, stop.

mod change;
mod drain;
mod life;
mod start;
mod stop;
mod suspend;
