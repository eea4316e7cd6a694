//! The paused clock.

use std::time::Duration;

use tokio::time::{advance, sleep, Instant};

use crate::time::is_clock_paused;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Pauses the clock of this thread, if it is running.
///
/// tokio's timers fire at whole milliseconds of the runtime's age. A clock that is paused within a millisecond stays there, so that
/// each `sleep` would be up to a millisecond late. Therefore the clock is moved to the next whole one.
pub(super) async fn pause() {
    if !is_clock_paused() {
        tokio::time::pause();
    }
    if is_exact(MILLISECOND).await {
        return;
    }
    // The longest sleep that ends with this millisecond leads to the next one.
    let (mut ends_with_it, mut ends_later) = (Duration::ZERO, MILLISECOND);
    while ends_later - ends_with_it > Duration::from_nanos(1) {
        let middle = (ends_with_it + ends_later) / 2;
        *(if is_exact(middle).await { &mut ends_with_it } else { &mut ends_later }) = middle;
    }
    advance(ends_with_it).await;
}

/// Whether a sleep of at most a millisecond takes one.
async fn is_exact(time: Duration) -> bool {
    let began = Instant::now();
    sleep(time).await;
    began.elapsed() <= MILLISECOND
}
