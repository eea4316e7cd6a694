//! A pool that is restarted after it has ended with an error.
//!
//! ```text
//! start ─▶ pool runs ─▶ ended by a stop ─▶ end
//!            ▲   └────▶ ended by an error ─▶ pause, doubled each time ─▶ start ─┐
//!            └──────────────────────────────── started ◀───────────────────────┤
//!                                       pause ◀── failed, for example port taken┘
//! ```
//!
//! A pool replaces its acceptors itself; supervision handles the errors that end the pool: see [`PoolError`].

mod backoff;
mod handle;

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{sleep, Instant};
use tracing::{error, info, warn};

use crate::builder::Builder;
use crate::error::{with_sources, InvalidSetting, PoolError, StartError};
use crate::handlers::Service;
use crate::panic::{catch_panic, panic_text};
use crate::pool::{AcceptorPool, Pool, Restarts};

use backoff::Backoff;
use handle::Shared;
pub use handle::SupervisedPool;

/// Why a supervised pool has ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisedError {
    /// The pool ended, or could not be started, more often than [`max_restarts`](SupervisedBuilder::max_restarts) allows.
    #[error("more than {limit} restarts of the pool within {within:?}")]
    TooManyRestarts {
        /// The number of restarts allowed.
        limit: usize,
        /// The period to which the limit applies.
        within: Duration,
        /// The last [`PoolError`] or [`StartError`].
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The arbiter on which the pool was supervised has stopped.
    #[error("the arbiter of the supervised pool stopped")]
    Orphaned,
}

/// Configures and starts a supervised pool, which is restarted after it has ended with an error. Returned by
/// [`AcceptorPool::supervised`].
#[must_use = "a supervised pool does nothing until `start` is called"]
pub struct SupervisedBuilder<S> {
    make: Box<dyn FnMut() -> Builder<S>>,
    backoff: Backoff,
    max_restarts: Option<(usize, Duration)>,
}

impl AcceptorPool {
    /// Supervises a pool, as OTP supervises a transient child, or systemd a service with `Restart=on-failure`: after the pool has
    /// ended with a [`PoolError`], a new one is started after a pause, with a builder that `make` returns. A pool that is stopped
    /// or drained is not restarted.
    ///
    /// `make` is called on the caller's arbiter, for the first pool as well. A panic in it counts as a failed start. Each builder
    /// needs its [listeners](Builder::listener). For [`Listener::from_socket`](crate::Listener::from_socket), keep the socket, and
    /// pass a duplicate each time.
    ///
    /// ```
    /// # actix_rt::System::new().block_on(async {
    /// use actix_acceptor::{AcceptorPool, Listener, Socket};
    /// use std::time::Duration;
    ///
    /// let make = || AcceptorPool::with_fn(|_: Socket| async {}).listener(Listener::tcp("127.0.0.1:0"));
    /// let supervised = AcceptorPool::supervised(make).max_restarts(10, Duration::from_secs(60)).start().await?;
    /// assert!(supervised.pool().expect("started").is_ready());
    ///
    /// supervised.stop(Duration::from_secs(5)).await;
    /// assert!(supervised.pool().is_none());
    /// assert!(supervised.stopped().await.is_ok());
    /// # Ok::<_, Box<dyn std::error::Error>>(()) }).expect("it works");
    /// ```
    pub fn supervised<S: Service>(make: impl FnMut() -> Builder<S> + 'static) -> SupervisedBuilder<S> {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        SupervisedBuilder { make: Box::new(make), backoff, max_restarts: None }
    }
}

impl<S: Service> SupervisedBuilder<S> {
    /// Sets the pauses before a restart: `first`, then twice as long after each failure, up to `longest`. Each is shortened at
    /// random by up to a half, so that programs that failed together do not restart together. If a pool has run for `longest`,
    /// the pauses begin with `first` again. `first` must be greater than zero and at most `longest`.
    ///
    /// Default: 100 milliseconds, 30 seconds.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = Backoff::new(first, longest);
        self
    }

    /// Limits the number of restarts within any period of length `within`, including failed attempts. If one more is needed, the
    /// supervision ends with [`SupervisedError::TooManyRestarts`]. The period must be greater than zero.
    ///
    /// Default: no limit.
    pub fn max_restarts(mut self, limit: usize, within: Duration) -> Self {
        self.max_restarts = Some((limit, within));
        self
    }

    /// Starts the first pool, and supervises it on the current arbiter.
    ///
    /// # Errors
    /// Those of [`Builder::start`]; a first start that fails is not repeated. [`StartError::InvalidSetting`] also for an invalid
    /// `backoff` or `max_restarts`.
    pub async fn start(mut self) -> Result<SupervisedPool<S::Actor>, StartError> {
        self.check()?;
        let pool = start(&mut self.make).await?;
        let shared = Arc::new(Shared::new(pool.clone()));
        let restarts = self.max_restarts.map(|(limit, within)| Restarts::new(limit, within));
        let supervisor = Supervisor { make: self.make, backoff: self.backoff, restarts, shared: shared.clone() };
        actix_rt::spawn(supervisor.run(pool));
        Ok(SupervisedPool::new(shared))
    }

    fn check(&self) -> Result<(), StartError> {
        let Backoff { first, longest, .. } = self.backoff;
        let backoff = (first.is_zero() || longest < first).then(|| {
            let why = format!(
                "the first pause must be greater than zero and at most the longest (got {first:?}, {longest:?})"
            );
            InvalidSetting::new("backoff", why)
        });
        let is_zero = self.max_restarts.is_some_and(|(_, within)| within.is_zero());
        let window =
            is_zero.then(|| InvalidSetting::new("max_restarts", "the period must be greater than zero (got 0s)"));
        let invalid = backoff.into_iter().chain(window).map(StartError::from).collect();
        StartError::all(invalid).map_or(Ok(()), Err)
    }
}

impl<S> fmt::Debug for SupervisedBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SupervisedBuilder { backoff, max_restarts, .. } = self;
        f.debug_struct("SupervisedBuilder")
            .field("backoff", backoff)
            .field("max_restarts", max_restarts)
            .finish_non_exhaustive()
    }
}

/// Makes a builder and starts its pool. User code runs in both; a panic becomes an error.
async fn start<S: Service>(make: &mut Box<dyn FnMut() -> Builder<S>>) -> Result<Pool<S::Actor>, StartError> {
    let panicked = |panic: String| {
        let source = io::Error::other(format!("it panicked: {panic}"));
        StartError::SystemError { what: "the builder of a supervised pool".to_owned(), source }
    };
    let builder = catch_panic(make).map_err(panicked)?;
    let started = AssertUnwindSafe(builder.start()).catch_unwind().await;
    started.unwrap_or_else(|panic| Err(panicked(panic_text(panic))))
}

/// The task that starts pools.
struct Supervisor<S: Service> {
    make: Box<dyn FnMut() -> Builder<S>>,
    backoff: Backoff,
    restarts: Option<Restarts>,
    shared: Arc<Shared<S::Actor>>,
}

impl<S: Service> Supervisor<S> {
    async fn run(mut self, first: Pool<S::Actor>) {
        let outcome = self.supervise(first).await;
        if let Err(error) = &outcome {
            error!(error = with_sources(error), "a supervised pool is not restarted");
        }
        self.shared.set_ended(outcome);
    }

    async fn supervise(&mut self, mut pool: Pool<S::Actor>) -> Result<(), SupervisedError> {
        loop {
            let started = Instant::now();
            let ended = self.shared.run_until_ended(&pool).await;
            self.shared.set_pool(None);
            let Err(error) = ended else { return Ok(()) };
            if started.elapsed() >= self.backoff.longest {
                self.backoff.reset();
            }
            let name = pool.name().to_owned();
            drop(pool);
            match self.restart(&name, error).await? {
                Some(new) => pool = new,
                None => return Ok(()),
            }
            info!(pool = pool.name(), "pool restarted");
            self.shared.set_pool(Some(pool.clone()));
        }
    }

    /// Starts the next pool. Returns `None` if a stop was requested.
    async fn restart(&mut self, pool: &str, ended: PoolError) -> Result<Option<Pool<S::Actor>>, SupervisedError> {
        let mut cause: Arc<dyn Error + Send + Sync> = Arc::new(ended);
        loop {
            if let Some(restarts) = &mut self.restarts
                && !restarts.try_acquire(Instant::now())
            {
                let (limit, within) = restarts.budget();
                return Err(SupervisedError::TooManyRestarts { limit, within, source: cause });
            }
            let pause = self.backoff.next();
            warn!(
                pool,
                error = with_sources(&cause),
                ?pause,
                "pool ended or failed to start; restarting after a pause"
            );
            self.shared.count_restart();
            let stopping = self.shared.stop_requested();
            let started = async {
                sleep(pause).await;
                start(&mut self.make).await
            };
            tokio::select! {
                biased;
                () = stopping => return Ok(None),
                started = started => match started {
                    Ok(pool) => return Ok(Some(pool)),
                    Err(error) => cause = Arc::new(error),
                },
            }
        }
    }
}

impl<S: Service> Drop for Supervisor<S> {
    // Sets the outcome if the arbiter has stopped; has no effect if there is one.
    fn drop(&mut self) {
        self.shared.set_ended(Err(SupervisedError::Orphaned));
        let make = std::mem::replace(&mut self.make, Box::new(|| unreachable!("the supervision has ended")));
        if let Err(panic) = catch_panic(|| drop(make)) {
            error!(panic, "panic while the builder function of a supervised pool was dropped");
        }
    }
}
