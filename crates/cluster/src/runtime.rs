//! Where the tasks of a node run.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The runtime of a node. With NATS it has a thread of its own, so that a callback that blocks an arbiter holds back neither the
/// heartbeat of the lease nor the messages for other arbiters.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    handle: Handle,
    /// The thread ends when this is dropped.
    thread: Arc<Mutex<Option<oneshot::Sender<()>>>>,
}

impl Runtime {
    /// The runtime of the caller.
    pub(crate) fn current() -> Self {
        Runtime { handle: Handle::current(), thread: Arc::default() }
    }

    pub(crate) fn own_thread(node: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (thread, ended) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        std::thread::Builder::new().name(format!("cluster-{}", node.escape_default())).spawn(move || {
            let _ = runtime.block_on(ended);
        })?;
        Ok(Runtime { handle, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Ends the thread of the node, if it has one, with all of its tasks.
    pub(crate) fn end(&self) {
        let thread = self.thread.lock().take();
        drop(thread);
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(task)
    }

    /// Runs a future to its end on this runtime. If the returned future is dropped, so is the other one.
    ///
    /// # Panics
    /// If the future panics.
    pub(crate) async fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        struct AbortOnDrop<T>(JoinHandle<T>);
        impl<T> Drop for AbortOnDrop<T> {
            fn drop(&mut self) {
                self.0.abort();
            }
        }
        let mut task = AbortOnDrop(self.spawn(future));
        match (&mut task.0).await {
            Ok(output) => output,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
