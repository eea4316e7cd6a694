//! The limit of blocking jobs for handlers that own a socket: those with callbacks have that of `Conn::blocking`.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits how many jobs run at the same time. The others wait in one queue.
#[derive(Debug)]
pub struct BlockingLimit {
    places: Arc<Semaphore>,
    limit: Mutex<usize>,
}

impl BlockingLimit {
    /// Larger limits are none.
    const MAX: usize = 1 << 28;

    pub fn new(limit: usize) -> Self {
        let limit = limit.min(Self::MAX);
        BlockingLimit { places: Arc::new(Semaphore::new(limit)), limit: Mutex::new(limit) }
    }

    /// Changes the limit. Jobs that run are not stopped, and they count.
    pub fn set(&self, limit: usize) {
        let limit = limit.min(Self::MAX);
        let former = std::mem::replace(&mut *self.limit.lock().unwrap_or_else(PoisonError::into_inner), limit);
        self.places.add_permits(limit.saturating_sub(former));
        // Those that are free go now, the others when their jobs are done.
        let fewer = former.saturating_sub(limit);
        let left = fewer - self.places.forget_permits(fewer);
        if left > 0 {
            let places = self.places.clone();
            actix::spawn(async move {
                if let Ok(taken) = places.acquire_many(left as u32).await {
                    taken.forget();
                }
            });
        }
    }

    /// Waits for a place. The job gives it back.
    pub async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }
}
