//! The primitives of data structures that threads share and that a model checker tests: `tests/models` replaces this file with
//! one that names the model checker's.

pub(crate) use std::hash::RandomState;
pub(crate) use std::sync::atomic::{fence, AtomicBool, AtomicU32, AtomicU64, AtomicU8, AtomicUsize};

pub(crate) use once_cell::race::OnceBox;
pub(crate) use parking_lot::{Mutex, RwLock};

/// Runs the body of a unit test that uses these primitives. In `tests/models` it is a model.
#[cfg(test)]
pub(crate) fn check(body: impl Fn() + Send + Sync + 'static) {
    body();
}
