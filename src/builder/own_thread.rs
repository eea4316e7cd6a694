//! A pool on a thread of its own, for programs without an actix system: [`Builder::start_on_own_thread`].
//!
//! ```text
//! caller: start_on_own_thread ─▶ PoolStart ─(ready)─▶ PoolThread: the handle of the pool, and of its thread
//! thread: actix system ─▶ Builder::start ─▶ until the pool has ended
//! ```

use std::fmt;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix::System;
use tokio::sync::oneshot;

use super::Builder;
use crate::error::{PoolError, StartError};
use crate::handlers::Service;
use crate::pool::{Drain, DrainReport, Pool};
use crate::thread_name::thread_name;

impl<S: Service> Builder<S> {
    /// Starts the pool, with the listeners added with [`listener`](Builder::listener), on a thread of its own that runs an actix
    /// system. For programs without an actix system: with `#[tokio::main]`, another runtime, or plain threads.
    ///
    /// Await the returned value, in any runtime, or call [`wait`](PoolStart::wait), which blocks. Both return the handle of the
    /// pool, whose methods can be called from any thread and runtime. The thread has started when this method returns.
    ///
    /// User code (callbacks, async fns, actors) runs on the arbiters of the pool, as in every pool, and not in the caller's
    /// runtime: to run a future there, pass a `tokio::runtime::Handle` to the handler. The pool has its own actix system, so
    /// [`AcceptorPool::find`](crate::AcceptorPool::find) does not find it on other threads.
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Listener, MainError, Socket};
    /// use std::time::Duration;
    ///
    /// #[tokio::main(flavor = "current_thread")]
    /// async fn main() -> Result<(), MainError> {
    ///     let pool = AcceptorPool::with_fn(|_: Socket| async {})
    ///         .listener(Listener::tcp("127.0.0.1:0"))
    ///         .start_on_own_thread()
    ///         .await?;
    ///     assert!(pool.is_ready());
    ///     pool.stop(Duration::from_secs(5)).await;
    ///     Ok(pool.join()?)
    /// }
    /// ```
    ///
    /// Without a runtime:
    ///
    /// ```
    /// use actix_acceptor::{AcceptorPool, Drain, Listener, Socket};
    /// use std::time::Duration;
    ///
    /// let builder = AcceptorPool::with_fn(|_: Socket| async {}).listener(Listener::tcp("127.0.0.1:0"));
    /// let pool = builder.start_on_own_thread().wait()?;
    /// let report = pool.drain_and_join(Drain::grace(Duration::from_secs(5)))?;
    /// assert_eq!(report.asked, 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_on_own_thread(self) -> PoolStart<S::Actor> {
        let name = match &self.name {
            Some(name) => thread_name(name, "main"),
            None => "pool-main".to_owned(),
        };
        let (starting, started) = oneshot::channel();
        match thread::Builder::new().name(name).spawn(move || run(self, starting)) {
            Ok(thread) => PoolStart { started: Ok((started, thread)) },
            Err(source) => PoolStart { started: Err(Some(system_error("the thread of the pool", source))) },
        }
    }
}

/// The body of the thread.
fn run<S: Service>(
    builder: Builder<S>,
    starting: oneshot::Sender<Result<Pool<S::Actor>, StartError>>,
) -> Result<(), PoolError> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let _ = starting.send(Err(system_error("the runtime of the pool's thread", source)));
            return Ok(());
        }
    };
    System::with_tokio_rt(move || runtime).block_on(async move {
        match builder.start().await {
            Ok(pool) => {
                if starting.send(Ok(pool.clone())).is_err() {
                    pool.stop(Duration::ZERO).await;
                }
                pool.stopped().await
            }
            Err(error) => {
                let _ = starting.send(Err(error));
                Ok(())
            }
        }
    })
}

fn system_error(what: &str, source: io::Error) -> StartError {
    StartError::SystemError { what: what.to_owned(), source }
}

/// A pool that is starting on its own thread. It is a future; in code that is not async, call [`wait`](PoolStart::wait).
///
/// If it is dropped before the pool is ready, the pool stops.
#[must_use = "the pool stops if this is dropped: await it, or call `wait`"]
pub struct PoolStart<A> {
    started: Result<(Started<A>, Thread), Option<StartError>>,
}

type Started<A> = oneshot::Receiver<Result<Pool<A>, StartError>>;
type Thread = JoinHandle<Result<(), PoolError>>;

impl<A> PoolStart<A> {
    /// Blocks the current thread until the pool is ready.
    ///
    /// # Errors
    /// See [`StartError`]. The thread ends by itself.
    ///
    /// # Panics
    /// In an async context. Await the value there instead.
    pub fn wait(self) -> Result<PoolThread<A>, StartError> {
        match self.started {
            Ok((started, thread)) => finish(started.blocking_recv().ok(), thread),
            Err(error) => Err(error.unwrap_or(StartError::ListenerClosed)),
        }
    }
}

/// The thread has reported how the start went; `None` if it panicked. After a failed start the thread is not joined: it ends by
/// itself, but a name that is still being resolved may delay that.
fn finish<A>(started: Option<Result<Pool<A>, StartError>>, thread: Thread) -> Result<PoolThread<A>, StartError> {
    match started {
        Some(Ok(pool)) => Ok(PoolThread { pool, thread }),
        Some(Err(error)) => Err(error),
        None => Err(StartError::ListenerClosed),
    }
}

/// # Errors
/// See [`StartError`]. The thread ends by itself.
///
/// # Panics
/// If it is polled again after it has completed.
impl<A> Future for PoolStart<A> {
    type Output = Result<PoolThread<A>, StartError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let started = match &mut self.started {
            Ok((started, _)) => ready!(Pin::new(started).poll(cx)).ok(),
            Err(error) => return Poll::Ready(Err(error.take().unwrap_or(StartError::ListenerClosed))),
        };
        match std::mem::replace(&mut self.started, Err(None)) {
            Ok((_, thread)) => Poll::Ready(finish(started, thread)),
            Err(_) => unreachable!("checked above"),
        }
    }
}

impl<A> fmt::Debug for PoolStart<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolStart").finish_non_exhaustive()
    }
}

/// A pool that runs on its own thread. It dereferences to the handle, [`Pool`], which can be cloned.
///
/// The thread ends with the pool. Dropping this value stops neither of them, as with [`std::thread::JoinHandle`]. When the process
/// ends, both end, and the connections are cut off.
pub struct PoolThread<A> {
    pool: Pool<A>,
    thread: Thread,
}

impl<A> PoolThread<A> {
    /// Blocks the current thread until the pool and its thread have ended. In async code, await
    /// [`Pool::stopped`] first; the thread then ends without delay.
    ///
    /// # Errors
    /// [`PoolError`] when the pool ended without a call that stops it.
    ///
    /// # Panics
    /// On the thread of the pool, which would wait for itself.
    pub fn join(self) -> Result<(), PoolError> {
        self.thread.join().unwrap_or(Err(PoolError::Orphaned))
    }

    /// Drains the pool, as [`Pool::drain`] does, and blocks the current thread until the pool and its thread have ended. In async
    /// code, await [`Pool::drain`].
    ///
    /// # Errors
    /// [`PoolError`] when the pool had ended before, without a call that stops it.
    ///
    /// # Panics
    /// On the thread of the pool, which would wait for itself.
    pub fn drain_and_join(self, drain: Drain) -> Result<DrainReport, PoolError> {
        self.pool.start_drain(drain);
        let PoolThread { pool, thread } = self;
        thread.join().unwrap_or(Err(PoolError::Orphaned))?;
        Ok(pool.report())
    }
}

impl<A> Deref for PoolThread<A> {
    type Target = Pool<A>;

    fn deref(&self) -> &Pool<A> {
        &self.pool
    }
}

impl<A> fmt::Debug for PoolThread<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolThread").field("pool", &self.pool).finish_non_exhaustive()
    }
}
