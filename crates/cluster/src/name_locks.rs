//! One operation at a time for each name.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// The names that have operations under way.
#[derive(Debug, Default)]
pub(crate) struct NameLocks(Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>);

/// Holds a name until it is dropped.
pub(crate) struct NameLock<'a> {
    locks: &'a NameLocks,
    name: Arc<str>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl NameLocks {
    pub(crate) async fn lock(&self, name: &Arc<str>) -> NameLock<'_> {
        let lock = self.0.lock().entry(name.clone()).or_default().clone();
        // Removes the lock again also if this future is dropped while it waits.
        let mut held = NameLock { locks: self, name: name.clone(), guard: None };
        held.guard = Some(lock.lock_owned().await);
        held
    }

    /// The lock of a name that has no operation under way.
    pub(crate) fn try_lock(&self, name: &Arc<str>) -> Option<NameLock<'_>> {
        let mut locks = self.0.lock();
        if locks.contains_key(name) {
            return None;
        }
        let guard = locks.entry(name.clone()).or_default().clone().try_lock_owned().ok();
        Some(NameLock { locks: self, name: name.clone(), guard })
    }
}

impl Drop for NameLock<'_> {
    fn drop(&mut self) {
        let mut locks = self.locks.0.lock();
        self.guard = None;
        // New users are added under the lock of the table only.
        if locks.get(&self.name).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_name_is_held_by_one_and_forgotten_after_the_last() {
        let locks = NameLocks::default();
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        let first = locks.lock(&ann).await;
        let _other = locks.lock(&bob).await;
        let mut second = Box::pin(locks.lock(&ann));
        assert!(locks.try_lock(&ann).is_none());
        assert!((&mut second).now_or_never().is_none());
        // One that gives up while it waits.
        assert!(locks.lock(&ann).now_or_never().is_none());
        drop(first);
        drop(second.await);
        drop(locks.try_lock(&ann).expect("it is free"));
        assert_eq!(locks.0.lock().keys().cloned().collect::<Vec<_>>(), [bob]);
    }
}
