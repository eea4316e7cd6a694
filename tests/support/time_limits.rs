//! Time limits of tests, and waiting for conditions.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{sleep, timeout, Instant};

/// The limit for everything that must happen, also on a busy machine.
pub const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Panics where it was called if the future is not done in time.
#[track_caller]
pub fn within<F: Future>(limit: Duration, future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        match timeout(limit, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: not within {limit:?}"),
        }
    }
}

/// [`within`] the limit of all tests, [`TIME_LIMIT`].
#[track_caller]
pub fn in_time<F: Future>(future: F) -> impl Future<Output = F::Output> {
    within(TIME_LIMIT, future)
}

/// Checks again and again until the condition holds: for what has no notification.
#[track_caller]
pub fn eventually(mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < TIME_LIMIT, "{caller}: never came true");
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Waits for more than this time: where time itself is tested.
pub async fn pass(time: Duration) {
    let begun = Instant::now();
    eventually(|| begun.elapsed() > time).await;
}

/// [`eventually`] for a thread of its own: it is blocked meanwhile.
#[track_caller]
pub fn eventually_blocking(mut is_so: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !is_so() {
        assert!(started.elapsed() < TIME_LIMIT, "never came true");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
