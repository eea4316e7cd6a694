//! Tests that count the threads and descriptors of their process. A binary of its own, one test at a time.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use tokio::sync::{Mutex, MutexGuard};

mod leaks;
mod operators;
mod pool_threads;
mod watchdog;

/// Held by the test that counts.
static COUNTING: Mutex<()> = Mutex::const_new(());

async fn exclusive() -> MutexGuard<'static, ()> {
    COUNTING.lock().await
}
