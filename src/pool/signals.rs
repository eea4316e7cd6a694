//! Draining a pool on SIGTERM or SIGINT; on other systems than Unix, on Ctrl-C.
//!
//! The first signal starts [`Pool::drain`], the second one [`Pool::stop`] without a grace period.

use std::io;
use std::time::Duration;

use super::{Drain, DrainReport, Pool};

impl<A> Pool<A> {
    /// Waits for SIGTERM or SIGINT (Ctrl-C), then drains the pool. A second signal ends the pool at once.
    ///
    /// Also returns when the pool ends by itself; [`stopped`](Pool::stopped) returns the reason.
    ///
    /// From the first call on, these signals no longer end the process, as with
    /// [`tokio::signal`](https://docs.rs/tokio/latest/tokio/signal/).
    ///
    /// ```no_run
    /// # use actix_acceptor::{AcceptorPool, Drain, Socket};
    /// # use std::time::Duration;
    /// #[actix::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:7000").await?;
    ///     let report = pool.drain_on_signal(Drain::grace(Duration::from_secs(30))).await?;
    ///     println!("{} connections ended by themselves, {} were ended", report.finished, report.forced);
    ///     Ok(pool.stopped().await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// The system's error when a signal handler cannot be installed. The pool keeps running.
    pub async fn drain_on_signal(&self, drain: Drain) -> io::Result<DrainReport> {
        let mut signals = Signals::listen()?;
        tokio::select! {
            () = signals.next() => {}
            _ = self.stopped() => return Ok(self.shared.report()),
        }
        tokio::select! {
            report = self.drain(drain) => Ok(report),
            () = signals.next() => Ok(self.stop(Duration::ZERO).await),
        }
    }
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{signal, SignalKind};
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
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
