//! Blocking work on another thread. If the thread cannot be started, the result is an error.
//!
//! tokio would panic, and keep the closure for the next thread.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::panic::catch_panic;

/// The output of a closure on a thread for blocking work.
#[derive(Debug)]
pub(crate) struct Blocking<R>(oneshot::Receiver<R>);

impl<R: Send + 'static> Blocking<R> {
    /// Runs `work` on one of the current runtime's threads for blocking work.
    ///
    /// # Errors
    /// No thread can be started. `work` is dropped.
    pub(crate) fn spawn(work: impl FnOnce() -> R + Send + 'static) -> io::Result<Self> {
        Self::spawn_on(&Handle::current(), work, |work| work()).map_err(|(error, _)| error)
    }

    /// Calls `work` with `value` on one of this runtime's threads for blocking work.
    ///
    /// # Errors
    /// No thread can be started, or the runtime has stopped. `value` is returned; tokio may keep `work`.
    pub(crate) fn spawn_on<T: Send + 'static>(
        runtime: &Handle,
        value: T,
        work: impl FnOnce(T) -> R + Send + 'static,
    ) -> Result<Self, (io::Error, T)> {
        let value = Arc::new(Mutex::new(Some(value)));
        let on_thread = value.clone();
        let (output, receiver) = oneshot::channel();
        let started = catch_panic(|| {
            runtime.spawn_blocking(move || {
                let value = on_thread.lock().take();
                if let Some(value) = value {
                    let _ = output.send(work(value));
                }
            })
        });
        let error = match started {
            // The runtime has dropped the closure.
            Ok(_) if Arc::strong_count(&value) == 1 => stopped(),
            Ok(_) => return Ok(Blocking(receiver)),
            Err(panic) => no_thread(&panic),
        };
        let value = value.lock().take();
        // Without a value, the closure has completed, or a thread that was started meanwhile runs it.
        value.map_or(Ok(Blocking(receiver)), |value| Err((error, value)))
    }
}

/// The error for a panic of tokio with this message.
pub(crate) fn no_thread(panic: &str) -> io::Error {
    io::Error::other(format!("cannot start a thread for blocking work: {panic}"))
}

fn stopped() -> io::Error {
    io::Error::other("the arbiter has stopped")
}

impl<R> Future for Blocking<R> {
    type Output = io::Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| stopped())
    }
}
