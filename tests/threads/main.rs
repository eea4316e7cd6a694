//! Tests that count the threads and descriptors of their process. A binary of its own, one test at a time.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::sync::{Mutex, MutexGuard, PoisonError};

mod leaks;
mod watchdog;

/// Held by the test that counts.
static COUNTING: Mutex<()> = Mutex::new(());

fn exclusive() -> MutexGuard<'static, ()> {
    COUNTING.lock().unwrap_or_else(PoisonError::into_inner)
}
