//! Draining a pool on SIGTERM or SIGINT; on other systems than Unix, on Ctrl-C.
//!
//! The first signal starts [`Pool::drain`], the second one [`Pool::stop`] without a grace period. Once no call waits for
//! signals, they have their default action again. Supervised pools use the same function.

use std::io;
use std::time::Duration;

use super::{Drain, DrainReport, Pool};

impl<A> Pool<A> {
    /// Waits for SIGTERM or SIGINT (Ctrl-C), then drains the pool. A second signal ends the pool at once.
    ///
    /// Also returns when the pool ends by itself; [`stopped`](Pool::stopped) returns the reason. A supervised pool is then
    /// restarted, and the new pool does not wait for signals: call
    /// [`SupervisedPool::drain_on_signal`](crate::SupervisedPool::drain_on_signal) instead.
    ///
    /// While this call is active, the signals do not end the process. Once it has returned or was dropped, and no call for
    /// another pool is active, they do so again: a signal that arrives while the program cleans up after the drain terminates
    /// the process at once. This also holds if the program has installed another handler for these signals, for example with
    /// [`tokio::signal`](https://docs.rs/tokio/latest/tokio/signal/). A program that handles them itself should call
    /// [`drain`](Pool::drain) instead. On systems other than Unix, Ctrl-C has no effect after the return.
    ///
    /// ```no_run
    /// # use actix_acceptor::{AcceptorPool, Drain, Socket};
    /// # use std::time::Duration;
    /// #[actix::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:7878").await?;
    ///     let report = pool.drain_on_signal(Drain::grace(Duration::from_secs(30))).await?;
    ///     println!("{} connections ended by themselves, {} were ended", report.finished, report.forced);
    ///     Ok(pool.stopped().await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// The system's error when a signal handler cannot be installed. The pool keeps running.
    pub async fn drain_on_signal(&self, drain: Drain) -> io::Result<DrainReport> {
        let ended = async {
            let _ = self.stopped().await;
            self.shared.report()
        };
        drain_on_signal(ended, self.drain(drain), self.stop(Duration::ZERO)).await
    }
}

/// Waits for `ended`. The first signal begins `drain` instead, the second one `stop`.
pub(crate) async fn drain_on_signal(
    ended: impl Future<Output = DrainReport>,
    drain: impl Future<Output = DrainReport>,
    stop: impl Future<Output = DrainReport>,
) -> io::Result<DrainReport> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        () = signals.next() => {}
        report = ended => return Ok(report),
    }
    tokio::select! {
        report = drain => Ok(report),
        () = signals.next() => Ok(stop.await),
    }
}

#[cfg(unix)]
use unix::Signals;

#[cfg(unix)]
mod unix {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::Arc;

    use parking_lot::Mutex;
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag::register_conditional_default;
    use tokio::signal::unix::{signal, Signal, SignalKind};

    /// SIGTERM and SIGINT. While one of these exists, the signals have no default action.
    pub(super) struct Signals {
        terminate: Signal,
        interrupt: Signal,
        _suppressed: SuppressedDefault,
    }

    impl Signals {
        pub(super) fn listen() -> io::Result<Self> {
            Ok(Signals {
                _suppressed: SuppressedDefault::new()?,
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }

        pub(super) async fn next(&mut self) {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        }
    }

    /// How many [`SuppressedDefault`]s exist, and whether the signals have their default action. `None` before the first. A
    /// handler of tokio, once installed, replaces the default action until the process ends.
    static DEFAULT: Mutex<Option<(usize, Arc<AtomicBool>)>> = Mutex::new(None);

    /// Suppresses the default action of the signals until the last one is dropped.
    struct SuppressedDefault;

    impl SuppressedDefault {
        fn new() -> io::Result<Self> {
            let mut default = DEFAULT.lock();
            if default.is_none() {
                let enabled = Arc::new(AtomicBool::new(false));
                for signal in [SIGTERM, SIGINT] {
                    register_conditional_default(signal, enabled.clone())?;
                }
                *default = Some((0, enabled));
            }
            if let Some((count, enabled)) = &mut *default {
                *count += 1;
                enabled.store(false, SeqCst);
            }
            Ok(SuppressedDefault)
        }
    }

    impl Drop for SuppressedDefault {
        fn drop(&mut self) {
            if let Some((count, enabled)) = &mut *DEFAULT.lock() {
                *count -= 1;
                enabled.store(*count == 0, SeqCst);
            }
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
