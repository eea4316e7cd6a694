//! The blocking closures of a pool: a limited number runs at the same time, the others wait in one queue.
//!
//! A closure that is queued starts on the thread that completes an earlier one. No arbiter is involved, so a blocked
//! one does not hold up the queue.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::panic::catch_panic;

/// The blocking closures of a pool.
pub(crate) struct BlockingJobs(Mutex<Jobs>);

struct Jobs {
    max: usize,
    running: usize,
    last_number: u64,
    /// By number, and thus in the order in which they were queued.
    queue: BTreeMap<u64, Job>,
}

struct Job {
    /// The runtime of the connection's arbiter, whose threads run the closure.
    runtime: Handle,
    run: Box<dyn FnOnce() + Send>,
}

impl BlockingJobs {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(BlockingJobs(Mutex::new(Jobs { max, running: 0, last_number: 0, queue: BTreeMap::new() })))
    }

    /// Sets how many closures may run at the same time. Those that run are not stopped, and they count.
    pub(crate) fn set_max(self: &Arc<Self>, max: usize) {
        self.0.lock().max = max;
        self.start_queued();
    }

    /// The number of closures that run, and of those that are queued.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let jobs = self.0.lock();
        (jobs.running, jobs.queue.len())
    }

    /// Runs a closure and returns its output, or its panic. Dropping the future takes it out of the queue; a closure that
    /// has started is not stopped.
    pub(crate) async fn run<O: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce() -> O + Send + 'static,
    ) -> thread::Result<O> {
        let (sender, receiver) = oneshot::channel();
        let run = move || {
            // Without a connection, the output is dropped here: that is user code as well.
            let _ = catch_panic(|| drop(sender.send(catch_unwind(AssertUnwindSafe(work)))));
        };
        let number = {
            let mut jobs = self.0.lock();
            jobs.last_number += 1;
            let number = jobs.last_number;
            jobs.queue.insert(number, Job { runtime: Handle::current(), run: Box::new(run) });
            number
        };
        let _queued = Queued { jobs: &self, number };
        self.start_queued();
        receiver.await.unwrap_or_else(|_| Err(Box::new("no thread could be started for a blocking closure")))
    }

    /// Starts queued closures as far as the limit allows.
    fn start_queued(self: &Arc<Self>) {
        loop {
            let job = {
                let mut jobs = self.0.lock();
                if jobs.running >= jobs.max {
                    return;
                }
                let Some((_, job)) = jobs.queue.pop_first() else { return };
                jobs.running += 1;
                job
            };
            let slot = Slot(self.clone());
            let run = job.run;
            // Without threads, tokio panics and drops the closure: its connection then gets an error.
            let _ = catch_panic(|| {
                job.runtime.spawn_blocking(move || {
                    let _slot = slot;
                    run();
                })
            });
        }
    }
}

/// The place of one running closure. Dropping it starts the next one.
struct Slot(Arc<BlockingJobs>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0 .0.lock().running -= 1;
        if !thread::panicking() {
            self.0.start_queued();
        }
    }
}

/// Takes a closure out of the queue when its connection stops waiting for it.
struct Queued<'a> {
    jobs: &'a BlockingJobs,
    number: u64,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let job = self.jobs.0.lock().queue.remove(&self.number);
        // Outside the lock: the closure is the user's.
        drop(job);
    }
}

impl fmt::Debug for BlockingJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (running, queued) = self.counts();
        f.debug_struct("BlockingJobs").field("running", &running).field("queued", &queued).finish()
    }
}
