//! The tasks of the watches of a node.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::AbortHandle;

/// The tasks that run, until the node ends.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<Tasks>);

#[derive(Debug, Default)]
struct Tasks {
    last_key: u64,
    running: HashMap<u64, AbortHandle>,
    has_stopped: bool,
}

/// One of the tasks. It ends with this value.
pub(crate) struct Watcher {
    watchers: Arc<Watchers>,
    key: u64,
}

impl Watchers {
    pub(super) fn add(self: &Arc<Self>, task: AbortHandle) -> Watcher {
        let mut tasks = self.0.lock();
        tasks.last_key += 1;
        let key = tasks.last_key;
        if tasks.has_stopped {
            task.abort();
        } else {
            tasks.running.insert(key, task);
        }
        Watcher { watchers: self.clone(), key }
    }

    /// Ends all of them.
    pub(crate) fn stop(&self) {
        let mut tasks = self.0.lock();
        tasks.has_stopped = true;
        tasks.running.drain().for_each(|(_, task)| task.abort());
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(task) = self.watchers.0.lock().running.remove(&self.key) {
            task.abort();
        }
    }
}
