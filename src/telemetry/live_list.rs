//! [`LiveList`], the observers or alarms of a running pool.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::*};
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

/// The last key. Keys are unique in the process, so that a key of another pool removes nothing.
static LAST_KEY: AtomicU64 = AtomicU64::new(0);

/// The items, each with its key.
type Items<T> = Vec<(u64, Arc<T>)>;

/// A list that changes while it is read. Reading takes no lock.
pub(crate) struct LiveList<T> {
    /// Whether there are items: most lists stay empty.
    has_items: AtomicBool,
    items: ArcSwap<Items<T>>,
    /// Held while the list is replaced.
    changing: Mutex<()>,
}

impl<T> LiveList<T> {
    pub(crate) fn new(items: impl IntoIterator<Item = T>) -> Self {
        let items: Vec<_> = items.into_iter().map(|item| (next_key(), Arc::new(item))).collect();
        let (has_items, changing) = (AtomicBool::new(!items.is_empty()), Mutex::new(()));
        LiveList { has_items, items: ArcSwap::from_pointee(items), changing }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_items.load(Acquire)
    }

    /// The items at this moment, each with its key.
    pub(crate) fn load(&self) -> Guard<Arc<Items<T>>> {
        self.items.load()
    }

    /// Adds an item at the end. Returns its key.
    pub(crate) fn add(&self, item: T) -> u64 {
        let (key, item) = (next_key(), Arc::new(item));
        self.replace(|items| items.push((key, item)));
        key
    }

    /// Returns false if there is no item with this key.
    pub(crate) fn remove(&self, key: u64) -> bool {
        let mut is_removed = false;
        self.replace(|items| {
            let before = items.len();
            items.retain(|(other, _)| *other != key);
            is_removed = items.len() < before;
        });
        is_removed
    }

    fn replace(&self, change: impl FnOnce(&mut Items<T>)) {
        let changing = self.changing.lock();
        let mut items = self.items.load().to_vec();
        change(&mut items);
        let has_items = !items.is_empty();
        let before = self.items.swap(Arc::new(items));
        self.has_items.store(has_items, Release);
        drop(changing);
        // Outside the lock: the drop of a removed item is user code.
        drop(before);
    }
}

fn next_key() -> u64 {
    LAST_KEY.fetch_add(1, Relaxed) + 1
}
