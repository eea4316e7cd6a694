//! Every pair of calls, at the same time.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_acceptor::{info::Status, Drain, SuspendMode};
use support::*;
use tokio::sync::{mpsc, oneshot};

use super::calls::{Call, Outcome};
use super::model::State;
use super::subject::{limited, Served, Subject};
use super::{Descriptors, Panics};

/// What the pool is in when the calls come.
#[derive(Clone, Copy, Debug)]
enum Before {
    Running,
    Suspended(SuspendMode),
    /// In the delay of a drain.
    Draining,
}

impl Before {
    async fn prepare(self, subject: &Subject) -> State {
        match self {
            Before::Running => State::new(Status::Running),
            Before::Suspended(mode) => {
                subject.pool.suspend(mode).await.unwrap();
                State::new(Status::Suspended(mode))
            }
            Before::Draining => {
                let pool = subject.pool.clone();
                actix_rt::spawn(async move { pool.drain(Drain::grace(None).delay(Duration::from_secs(600))).await });
                eventually(|| subject.pool.status() == Status::Draining).await;
                State::new(Status::Draining)
            }
        }
    }
}

/// A thread of its own, with a runtime.
struct Worker {
    jobs: mpsc::UnboundedSender<Job>,
    thread: JoinHandle<()>,
}

struct Job {
    call: Call,
    subject: Subject,
    /// How many threads have come to this call.
    arrived: Arc<AtomicUsize>,
    outcome: oneshot::Sender<Outcome>,
}

impl Worker {
    fn start() -> Self {
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            while let Some(Job { call, subject, arrived, outcome }) = queue.blocking_recv() {
                arrived.fetch_add(1, SeqCst);
                while arrived.load(SeqCst) < 2 {
                    std::thread::yield_now();
                }
                let _ = outcome.send(runtime.block_on(call.run(&subject)));
            }
        });
        Worker { jobs, thread }
    }

    fn run(&self, call: Call, subject: &Subject, arrived: &Arc<AtomicUsize>) -> oneshot::Receiver<Outcome> {
        let (outcome, result) = oneshot::channel();
        let job = Job { call, subject: subject.clone(), arrived: arrived.clone(), outcome };
        self.jobs.send(job).ok().unwrap();
        result
    }
}

struct Sweep {
    panics: Panics,
    folder: Folder,
    workers: [Worker; 2],
    descriptors: Descriptors,
    count: usize,
}

impl Sweep {
    async fn start() -> Self {
        let (folder, panics) = (Folder::create(), Panics::watch());
        let workers = [Worker::start(), Worker::start()];
        // The first connections of a process open descriptors that stay.
        Served::start(&folder, 0).await.end("the first one").await;
        Sweep { panics, folder, workers, descriptors: Descriptors::now().await, count: 0 }
    }

    async fn run(&mut self, before: Before, pair: [Call; 2]) {
        self.count += 1;
        let what = format!("{before:?}: {pair:?}");
        let served = Served::start(&self.folder, self.count).await;
        let subject = &served.subject;
        let state = before.prepare(subject).await;
        let arrived = Arc::new(AtomicUsize::new(0));
        let results = [0, 1].map(|at| self.workers[at].run(pair[at], subject, &arrived));
        let is_stopped = pair.iter().any(|call| call.stops());
        let mut outcomes = [None; 2];
        let mut late = Vec::new();
        for (at, result) in results.into_iter().enumerate() {
            if is_stopped || !pair[at].awaits_the_end() {
                outcomes[at] = Some(limited(result, &what).await.expect(&what));
            } else {
                late.push(result);
            }
        }
        let orders = [[0, 1], [1, 0]].map(|order| in_turn(&state, pair, order));
        let fits = |seen: &State| {
            orders.iter().any(|(state, expected)| {
                let same =
                    outcomes.iter().zip(expected).all(|(seen, expected)| seen.is_none_or(|seen| seen.is(*expected)));
                same && state.matches(seen)
            })
        };
        let seen = subject.state(fits, &what).await;
        assert!(fits(&seen), "{what}: {outcomes:?} {seen:?} is neither of {orders:#?}");
        subject.adds_up();
        served.end(&what).await;
        for result in late {
            limited(result, &what).await.expect(&what);
        }
        self.panics.none(&what);
        self.descriptors.are_closed(&what).await;
    }

    fn end(self) {
        for Worker { jobs, thread } in self.workers {
            drop(jobs);
            thread.join().unwrap();
        }
    }
}

/// The calls one after the other: the state afterwards, and what each of the pair returns.
fn in_turn(before: &State, pair: [Call; 2], order: [usize; 2]) -> (State, [Outcome; 2]) {
    let (mut state, mut outcomes) = (before.clone(), [Outcome::Ok; 2]);
    for at in order {
        outcomes[at] = state.apply(pair[at]);
    }
    (state, outcomes)
}

#[actix::test]
async fn calls_at_the_same_time_are_as_one_after_the_other() {
    let _exclusive = crate::exclusive().await;
    let mut sweep = Sweep::start().await;
    let started = std::time::Instant::now();
    for first in Call::ALL {
        for second in Call::ALL {
            sweep.run(Before::Running, [first, second]).await;
        }
    }
    for before in [Before::Suspended(SuspendMode::Close), Before::Suspended(SuspendMode::Hold), Before::Draining] {
        for first in Call::OF_STATE {
            for second in Call::OF_STATE {
                sweep.run(before, [first, second]).await;
            }
        }
    }
    eprintln!("{} pairs in {:?}", sweep.count, started.elapsed());
    sweep.end();
}
