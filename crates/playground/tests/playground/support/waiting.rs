//! How long a test waits.

use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

/// Everything that a test waits for happens within this time, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Panics at the caller's line if the future is not ready within [`PATIENCE`].
#[track_caller]
pub fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: not within {PATIENCE:?}"),
        }
    }
}

/// Blocks until the condition holds. Panics after [`PATIENCE`].
#[track_caller]
pub fn eventually(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "never came true");
        std::thread::sleep(Duration::from_millis(2));
    }
}
