//! Registrations whose results are not received, because their futures were dropped: they are undone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use actix_acceptor::ConnectionId;
use parking_lot::Mutex;

use crate::naming::Naming;

type Key = (ConnectionId, Arc<str>);

/// The registrations that are under way.
#[derive(Default)]
pub(crate) struct Undos(Mutex<HashMap<Key, Weak<Undo>>>);

/// Undoes the registration of a name when it is dropped, unless a result was received. All registrations of the name by one
/// connection that are under way share it: if one of their futures returns `Ok`, the name stays.
pub(crate) struct Undo {
    naming: Arc<Naming>,
    key: Key,
    is_registered: AtomicBool,
    is_received: AtomicBool,
}

impl Naming {
    pub(crate) fn undo(self: &Arc<Self>, id: ConnectionId, name: &Arc<str>) -> Arc<Undo> {
        let (mut undos, key) = (self.undos.0.lock(), (id, name.clone()));
        if let Some(undo) = undos.get(&key).and_then(Weak::upgrade) {
            return undo;
        }
        let (is_registered, is_received) = (AtomicBool::new(false), AtomicBool::new(false));
        let undo = Arc::new(Undo { naming: self.clone(), key: key.clone(), is_registered, is_received });
        undos.insert(key, Arc::downgrade(&undo));
        undo
    }
}

impl Undo {
    /// The connection has the name from now on.
    pub(crate) fn registered(&self) {
        self.is_received.store(false, Relaxed);
        self.is_registered.store(true, Relaxed);
    }

    /// A future has returned `Ok`.
    pub(crate) fn received(&self) {
        self.is_received.store(true, Relaxed);
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        let mut undos = self.naming.undos.0.lock();
        if undos.get(&self.key).is_some_and(|undo| undo.strong_count() == 0) {
            undos.remove(&self.key);
        }
        drop(undos);
        if self.is_registered.load(Relaxed) && !self.is_received.load(Relaxed) {
            self.naming.withdraw(&self.key.1, self.key.0);
        }
    }
}
