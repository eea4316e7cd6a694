//! Accept errors, restarts of acceptors, blocked acceptors.

mod blocked;
mod errors;
mod restarts;
