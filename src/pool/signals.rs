//! SIGTERM and SIGINT as the end of a pool; elsewhere than on Unix, Ctrl-C.

use std::io;
use std::time::Duration;

use super::{Drain, DrainReport, PoolHandle};

impl PoolHandle {
    /// Waits for SIGTERM or SIGINT (Ctrl-C), then drains the pool; a second signal ends it at once. Also returns when the
    /// pool ends by itself; why is told by [`stopped`](PoolHandle::stopped).
    ///
    /// The signals' usual effect, to end the process, is off from the first call on, as with
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
    /// What the system says when a signal cannot be listened for; the pool goes on then.
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
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{signal, SignalKind};
        Ok(Signals(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
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
