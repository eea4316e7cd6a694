//! The names of live pools, for [`AcceptorPool::find`](super::AcceptorPool::find). Each actix system has its own.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use actix::prelude::*;
use parking_lot::Mutex;

use super::PoolState;

/// The pools by the id of the actix system and their name.
type Names = HashMap<(usize, Arc<str>), Weak<PoolState>>;

static NAMES: Mutex<Option<Names>> = Mutex::new(None);

fn with_names<R>(f: impl FnOnce(&mut Names) -> R) -> R {
    f(NAMES.lock().get_or_insert_default())
}

/// Registers a pool. Returns `false` if another live pool has the name.
pub(super) fn register(system: usize, pool: &Arc<PoolState>) -> bool {
    let key = (system, pool.shared_name().clone());
    with_names(|names| {
        let is_free = names.get(&key).is_none_or(|other| other.strong_count() == 0);
        if is_free {
            names.insert(key, Arc::downgrade(pool));
        }
        is_free
    })
}

/// Removes a pool's name. Has no effect if the name belongs to another pool.
pub(super) fn unregister(system: usize, pool: &PoolState) {
    let key = (system, pool.shared_name().clone());
    with_names(|names| {
        if names.get(&key).is_some_and(|other| std::ptr::eq(other.as_ptr(), pool)) {
            names.remove(&key);
        }
    });
}

/// The pool with this name in the current actix system.
pub(super) fn find(name: &str) -> Option<Arc<PoolState>> {
    let system = System::try_current()?.id();
    with_names(|names| names.get(&(system, name.into())).and_then(Weak::upgrade))
}
