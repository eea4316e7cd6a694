//! [`SupervisedPool`], the handle of a supervised pool.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::SupervisedError;
use crate::error::PoolError;
use crate::pool::{Drain, DrainReport, Pool};

/// A handle to a supervised pool: cheap to clone, usable from any thread. Dropping it stops nothing.
///
/// Each restart creates a new pool. Handles of a pool that has ended report [`Ended`](crate::info::Status::Ended), and their
/// calls fail: get the current handle with [`pool`](SupervisedPool::pool) each time, or by its name with
/// [`AcceptorPool::find`](crate::AcceptorPool::find). A new pool does not inherit names, topics, counters, or settings changed
/// at run time.
///
/// Calls that end the server go to this handle, because a pool that fails is replaced: [`drain`](SupervisedPool::drain),
/// [`stop`](SupervisedPool::stop), and [`drain_on_signal`](SupervisedPool::drain_on_signal).
pub struct SupervisedPool<A> {
    shared: Arc<Shared<A>>,
}

/// Shared by the supervisor and its handles.
pub(super) struct Shared<A> {
    pool: watch::Sender<Option<Pool<A>>>,
    /// The drain that was requested first.
    stop: watch::Sender<Option<Drain>>,
    ended: watch::Sender<Option<Result<(), SupervisedError>>>,
    restarts: AtomicU64,
}

impl<A> Shared<A> {
    pub(super) fn new(pool: Pool<A>) -> Self {
        Shared {
            pool: watch::Sender::new(Some(pool)),
            stop: watch::Sender::new(None),
            ended: watch::Sender::new(None),
            restarts: AtomicU64::new(0),
        }
    }

    pub(super) fn set_pool(&self, pool: Option<Pool<A>>) {
        self.pool.send_replace(pool);
    }

    /// Sets how the supervision ended. The first call wins.
    pub(super) fn set_ended(&self, outcome: Result<(), SupervisedError>) {
        // First: after `stopped` there is no pool.
        self.set_pool(None);
        self.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(outcome);
            is_first
        });
    }

    pub(super) fn count_restart(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    /// Resolves when a stop is requested.
    pub(super) fn stop_requested(&self) -> impl Future<Output = ()> + 'static + use<A> {
        let mut stop = self.stop.subscribe();
        async move { drop(stop.wait_for(Option::is_some).await) }
    }

    /// Waits until the pool has ended. Drains it if a stop is requested, or was requested before it was started.
    pub(super) async fn run_until_ended(&self, pool: &Pool<A>) -> Result<(), PoolError> {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            biased;
            ended = pool.stopped() => ended,
            requested = stop.wait_for(Option::is_some) => {
                if let Some(drain) = requested.ok().and_then(|drain| *drain) {
                    pool.drain(drain).await;
                }
                Ok(())
            }
        }
    }
}

impl<A> SupervisedPool<A> {
    pub(super) fn new(shared: Arc<Shared<A>>) -> Self {
        SupervisedPool { shared }
    }

    /// The current pool. `None` while it is being restarted, and once the supervision has ended.
    pub fn pool(&self) -> Option<Pool<A>> {
        self.shared.pool.borrow().clone()
    }

    /// Returns a receiver of the current pool. Wait for a restart with [`changed`](tokio::sync::watch::Receiver::changed) or
    /// [`wait_for`](tokio::sync::watch::Receiver::wait_for)`(Option::is_some)`. It is closed once all handles are dropped and the
    /// supervision has ended.
    pub fn subscribe(&self) -> watch::Receiver<Option<Pool<A>>> {
        self.shared.pool.subscribe()
    }

    /// The number of attempts to restart the pool so far.
    pub fn restarts(&self) -> u64 {
        self.shared.restarts.load(Relaxed)
    }

    /// Stops the pool, as [`Pool::stop`] does, and its supervision. Cancels a restart in progress.
    pub async fn stop(&self, grace: impl Into<Option<Duration>>) -> DrainReport {
        self.drain(Drain::grace(grace)).await
    }

    /// Drains the pool, as [`Pool::drain`] does, and ends its supervision. Cancels a restart in progress; the report is then
    /// empty. A second call during a drain can make the deadline earlier. If the future is dropped, the drain continues.
    pub async fn drain(&self, drain: Drain) -> DrainReport {
        self.shared.stop.send_if_modified(|stop| {
            let is_first = stop.is_none();
            stop.get_or_insert(drain);
            is_first
        });
        match self.pool() {
            // Directly, since a connection of the pool may await this.
            Some(pool) => pool.drain(drain).await,
            None => {
                let _ = self.stopped().await;
                DrainReport::default()
            }
        }
    }

    /// Waits until the supervision has ended.
    ///
    /// # Errors
    /// [`SupervisedError`], unless the pool was stopped or drained, through this handle or a handle of the pool.
    pub async fn stopped(&self) -> Result<(), SupervisedError> {
        let mut ended = self.shared.ended.subscribe();
        let outcome = match ended.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        outcome.unwrap_or(Err(SupervisedError::Orphaned))
    }
}

#[cfg(all(unix, feature = "sd-notify"))]
impl<A> SupervisedPool<A> {
    /// Whether a stop was requested through this handle.
    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.stop.borrow().is_some()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.shared.ended.borrow().is_some()
    }

    /// Resolves when the pool was replaced, a stop was requested, or the supervision has ended, since this call.
    pub(crate) fn changes(&self) -> impl Future<Output = ()> + use<A> {
        let Shared { pool, stop, ended, .. } = &*self.shared;
        let (mut pool, mut stop, mut ended) = (pool.subscribe(), stop.subscribe(), ended.subscribe());
        async move {
            tokio::select! {
                _ = pool.changed() => {}
                _ = stop.changed() => {}
                _ = ended.changed() => {}
            }
        }
    }
}

impl<A> Clone for SupervisedPool<A> {
    fn clone(&self) -> Self {
        SupervisedPool { shared: self.shared.clone() }
    }
}

impl<A> fmt::Debug for SupervisedPool<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupervisedPool").field("pool", &self.pool()).field("restarts", &self.restarts()).finish()
    }
}
