//! Pools by name, each actix system with names of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use actix::prelude::*;

use super::PoolState;

type Names = HashMap<(usize, Arc<str>), Weak<PoolState>>;

static NAMES: Mutex<Option<Names>> = Mutex::new(None);

fn with<R>(look: impl FnOnce(&mut Names) -> R) -> R {
    look(NAMES.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// Enters a pool; false if another one that is alive has the name.
pub(super) fn enter(system: usize, pool: &Arc<PoolState>) -> bool {
    let key = (system, pool.listener().clone());
    with(|names| {
        let taken = names.get(&key).is_some_and(|other| other.strong_count() > 0);
        if !taken {
            names.insert(key, Arc::downgrade(pool));
        }
        !taken
    })
}

pub(super) fn leave(system: usize, pool: &PoolState) {
    let key = (system, pool.listener().clone());
    with(|names| {
        if names.get(&key).is_some_and(|other| std::ptr::eq(other.as_ptr(), pool)) {
            names.remove(&key);
        }
    });
}

/// The pool of that name in the current system.
pub(super) fn find(name: &str) -> Option<Arc<PoolState>> {
    let system = System::try_current()?.id();
    with(|names| names.get(&(system, name.into())).and_then(Weak::upgrade))
}
