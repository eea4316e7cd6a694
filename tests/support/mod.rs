//! What the integration tests share: patience, peers, an echo, a recorder of endings, a transport by script.

// Every test file takes what it needs and leaves the rest.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used)]

mod folder;
pub mod logs;
mod peer;
#[cfg(feature = "rustls")]
pub mod pki;
mod probe;
mod protocols;
mod scripted;
mod witness;

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use actix::System;
use tokio::time::{sleep, timeout, Instant};

pub use folder::Folder;
pub use peer::{connect, BlockingPeer, Peer};
pub use probe::{otherwise, Call, Diary, Probe};
pub use protocols::{Closings, Echo, Recorded, Recorder};
pub use scripted::{Director, Scripted};
pub use witness::{End, Seen, Who, Witness};

/// What must happen at all happens within this time, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

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

/// [`within`] the time everything has.
#[track_caller]
pub fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    within(PATIENCE, future)
}

/// Looks again and again until it is so: for what nobody tells. The one place in the tests that sleeps to wait.
#[track_caller]
pub fn eventually(mut is_so: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < PATIENCE, "{caller}: never came true");
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Runs a test on a clock that stands still while there is work and jumps to the next timer when there is none. Only for
/// pools on the current arbiter over [`Scripted::in_memory`]: with real sockets the clock would jump past the limits.
pub fn paused<F: Future<Output = ()> + 'static>(test: F) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    System::with_tokio_rt(runtime).block_on(test);
}
