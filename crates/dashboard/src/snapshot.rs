//! Lists that are read at most once a second, and shared by all viewers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::session::now_ms;

/// How long a list is shared.
const MAX_AGE: Duration = Duration::from_secs(1);

/// A list, read on demand.
pub(crate) struct Snapshot<T>(Mutex<Option<(Instant, Arc<Taken<T>>)>>);

pub(crate) struct Taken<T> {
    pub(crate) list: Vec<T>,
    pub(crate) taken_ms: u64,
}

impl<T> Snapshot<T> {
    pub(crate) fn new() -> Self {
        Snapshot(Mutex::new(None))
    }

    /// The list, at most a second old. Other viewers wait while it is read.
    pub(crate) fn get(&self, read: impl FnOnce() -> Vec<T>) -> Arc<Taken<T>> {
        let mut cached = self.0.lock();
        match &*cached {
            Some((at, taken)) if at.elapsed() < MAX_AGE => taken.clone(),
            _ => {
                let taken = Arc::new(Taken { list: read(), taken_ms: now_ms() });
                *cached = Some((Instant::now(), taken.clone()));
                taken
            }
        }
    }

    /// Drops a list that is out of date, so that it takes up no memory while no viewer asks for it.
    pub(crate) fn drop_old(&self) {
        let mut cached = self.0.lock();
        if cached.as_ref().is_some_and(|(at, _)| at.elapsed() > MAX_AGE) {
            *cached = None;
        }
    }
}
