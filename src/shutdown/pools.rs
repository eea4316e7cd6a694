//! One pool and its shutdown: on a signal, or when a future completes.

use std::future::ready;
use std::io;
use std::time::Duration;

use super::signals::Signals;
use super::{run, Steps};
use crate::pool::{Drain, DrainReport, Pool};
use crate::supervised::SupervisedPool;

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
    /// [`drain_when`](Pool::drain_when) instead. To drain several pools, or to stop a web server as well, see
    /// [`Shutdown`](crate::Shutdown). On systems other than Unix, Ctrl-C has no effect after the return.
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
        let ended = async { drop(self.stopped().await) };
        let at_once = self.stop(Duration::ZERO);
        let steps = Steps { ended, drain: self.drain(drain), at_once, then: ready(()) };
        Ok(run(Signals::listen()?, steps).await.0)
    }

    /// Waits for a future, then drains the pool. The future can wait for a signal that the program handles itself, a message, or a
    /// request of an operator. Also returns when the pool ends by itself or by another call.
    ///
    /// Call [`stop`](Pool::stop) from elsewhere to cut the drain short.
    ///
    /// ```
    /// # use actix_acceptor::{AcceptorPool, Drain, Socket};
    /// # use std::time::Duration;
    /// # actix_rt::System::new().block_on(async {
    /// # let pool = AcceptorPool::with_fn(|_: Socket| async {}).bind("127.0.0.1:0").await?;
    /// let (shut_down, requested) = tokio::sync::oneshot::channel::<()>();
    /// shut_down.send(()).expect("the receiver exists");
    /// let report = pool.drain_when(requested, Drain::grace(Duration::from_secs(30))).await;
    /// assert_eq!(report.asked, 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub async fn drain_when(&self, when: impl Future, drain: Drain) -> DrainReport {
        tokio::select! {
            _ = when => {}
            _ = self.stopped() => {}
        }
        self.drain(drain).await
    }
}

impl<A> SupervisedPool<A> {
    /// Waits for SIGTERM or SIGINT (Ctrl-C), then [drains](SupervisedPool::drain) the pool that runs then and ends its
    /// supervision. A second signal ends the pool at once. Restarts do not end this call; a signal that arrives while no pool
    /// runs cancels the restart, and the report is empty.
    ///
    /// Also returns, with an empty report, when the supervision ends by itself or by another call;
    /// [`stopped`](SupervisedPool::stopped) returns the reason. Use this method instead of [`Pool::drain_on_signal`], which
    /// returns as soon as its pool ends. The default action of the signals is suppressed as it is there.
    ///
    /// ```no_run
    /// # use actix_acceptor::{AcceptorPool, Drain, Listener, Socket};
    /// # use std::time::Duration;
    /// #[actix::main]
    /// async fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let make = || AcceptorPool::with_fn(|_: Socket| async {}).listener(Listener::tcp("127.0.0.1:7878"));
    ///     let supervised = AcceptorPool::supervised(make).start().await?;
    ///     supervised.drain_on_signal(Drain::grace(Duration::from_secs(30))).await?;
    ///     Ok(supervised.stopped().await?)
    /// }
    /// ```
    ///
    /// # Errors
    /// The system's error when a signal handler cannot be installed. The pool keeps running.
    pub async fn drain_on_signal(&self, drain: Drain) -> io::Result<DrainReport> {
        let ended = async { drop(self.stopped().await) };
        let at_once = self.stop(Duration::ZERO);
        let steps = Steps { ended, drain: self.drain(drain), at_once, then: ready(()) };
        Ok(run(Signals::listen()?, steps).await.0)
    }

    /// Waits for a future, then [drains](SupervisedPool::drain) the pool that runs then and ends its supervision. Also returns when
    /// the supervision ends by itself or by another call.
    pub async fn drain_when(&self, when: impl Future, drain: Drain) -> DrainReport {
        tokio::select! {
            _ = when => {}
            _ = self.stopped() => {}
        }
        self.drain(drain).await
    }
}
