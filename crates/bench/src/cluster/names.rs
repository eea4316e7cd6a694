//! Many calls, a number of them at once.

use std::fmt::Display;
use std::time::Instant;

use futures::stream::{self, StreamExt, TryStreamExt};

/// Waits for all calls. Returns the nanoseconds that they took, or the first error.
pub(crate) async fn timed<F, E>(calls: Vec<F>, at_once: usize) -> String
where
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    let began = Instant::now();
    let done = stream::iter(calls).buffer_unordered(at_once).try_for_each(|()| async { Ok(()) }).await;
    match done {
        Ok(()) => began.elapsed().as_nanos().to_string(),
        Err(error) => format!("failed: {error}"),
    }
}
