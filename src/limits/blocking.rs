//! The blocking closures of a pool: a limited number runs at the same time, the others wait in one queue.
//!
//! The thread that completes a closure starts the next one in the queue. No arbiter is involved, so a blocked arbiter does
//! not delay the queue.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::net::Blocking;
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
    run: RunOrFail,
}

/// Runs the closure, or drops it and reports why it cannot run.
type RunOrFail = Box<dyn FnOnce(io::Result<()>) + Send>;

impl BlockingJobs {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(BlockingJobs(Mutex::new(Jobs { max, running: 0, last_number: 0, queue: BTreeMap::new() })))
    }

    /// Sets how many closures may run at the same time. Running closures are not stopped, and they count.
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
    ///
    /// # Errors
    /// No thread can be started. The closure is dropped.
    pub(crate) async fn run<O: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce() -> O + Send + 'static,
    ) -> io::Result<thread::Result<O>> {
        let (sender, receiver) = oneshot::channel();
        let run = move |may_run: io::Result<()>| {
            // The output, or the closure, may be dropped here: that is user code as well.
            let _ = catch_panic(|| drop(sender.send(may_run.map(|()| catch_unwind(AssertUnwindSafe(work))))));
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
        match receiver.await {
            Ok(output) => output,
            // The closure was dropped before it started: the arbiter is stopping, and the connection with it.
            Err(_) => pending().await,
        }
    }

    /// Starts queued closures until the limit is reached.
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
            let job_and_slot = (job.run, Slot(Some(self.clone())));
            let started = Blocking::spawn_on(&job.runtime, job_and_slot, |(run, slot)| {
                let _slot = slot;
                run(Ok(()));
            });
            if let Err((error, (run, slot))) = started {
                // This loop starts the next one.
                slot.give_back();
                run(Err(error));
            }
        }
    }
}

/// The place of one running closure. Dropping it starts the next closure. `None` once it has been given back.
struct Slot(Option<Arc<BlockingJobs>>);

impl Slot {
    /// Gives the place back without starting the next closure.
    fn give_back(mut self) {
        if let Some(jobs) = self.0.take() {
            jobs.0.lock().running -= 1;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(jobs) = self.0.take() else { return };
        jobs.0.lock().running -= 1;
        if !thread::panicking() {
            jobs.start_queued();
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
