//! The live pools and their names, for [`AcceptorPool::find`] and [`AcceptorPool::all`]. Each actix system has its own.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use actix::prelude::*;
use parking_lot::Mutex;

use super::{AcceptorPool, Pool, PoolHandle, PoolState};

/// The pools by the id of the actix system and their name.
type Names = HashMap<(usize, Arc<str>), Weak<PoolState>>;

static NAMES: Mutex<Option<Names>> = Mutex::new(None);

/// All pools with the id of their actix system, in the order of their starts. Includes those whose default name was taken, and
/// which [`NAMES`] therefore lacks.
static POOLS: Mutex<Vec<(usize, Weak<PoolState>)>> = Mutex::new(Vec::new());

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

/// Adds a pool to the list of all pools.
pub(super) fn add(system: usize, pool: &Arc<PoolState>) {
    POOLS.lock().push((system, Arc::downgrade(pool)));
}

/// The pools of the current actix system, sorted by name.
fn all() -> Vec<Arc<PoolState>> {
    let Some(system) = System::try_current().map(|system| system.id()) else { return Vec::new() };
    let pools = POOLS.lock();
    let mut all: Vec<_> = pools.iter().filter(|(of, _)| *of == system).filter_map(|(_, pool)| pool.upgrade()).collect();
    drop(pools);
    all.sort_by(|one, other| one.name().cmp(other.name()));
    all
}

/// Removes a pool and its name. A name that belongs to another pool stays.
pub(super) fn unregister(system: usize, pool: &PoolState) {
    POOLS.lock().retain(|(_, other)| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), pool));
    let key = (system, pool.shared_name().clone());
    with_names(|names| {
        if names.get(&key).is_some_and(|other| std::ptr::eq(other.as_ptr(), pool)) {
            names.remove(&key);
        }
    });
}

impl AcceptorPool {
    /// Finds the pool with this name in the current actix system. The handle is untyped; [`Pool::typed`] converts it.
    pub fn find(name: &str) -> Option<PoolHandle> {
        let system = System::try_current()?.id();
        with_names(|names| names.get(&(system, name.into())).and_then(Weak::upgrade)).map(Pool::new)
    }

    /// All pools of the current actix system that have not ended, sorted by name. Several pools may have the same default
    /// [name](crate::Builder::name). Empty outside of an actix system.
    pub fn all() -> Vec<PoolHandle> {
        all().into_iter().map(Pool::new).collect()
    }
}
