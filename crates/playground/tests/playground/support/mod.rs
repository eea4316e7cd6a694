//! What these tests share with each other: time limits, certificates, and other programs.

pub mod pki;
mod programs;
mod waiting;

pub use programs::start_program;
pub use waiting::{eventually, soon, PATIENCE};
