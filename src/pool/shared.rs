//! What everybody may know of a pool without asking its actor.

use std::any::{Any, TypeId};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::watch;

use super::{directory, AcceptorPool};
use crate::acceptor::Acceptor;
use crate::error::PoolError;
use crate::table::{Common, Table, Totals};
use crate::telemetry::ClosedCounts;
use crate::transport::Address;

/// A pool in numbers, consistent per acceptor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolInfo {
    /// Whether the pool is on its way out.
    pub stopping: bool,
    /// Live connections.
    pub connections: u64,
    /// Connections accepted so far: accepted = connections + closed.
    pub accepted: u64,
    /// Connections closed so far, per reason.
    pub closed: ClosedCounts,
    /// Bytes received so far, over all connections, those already closed included.
    pub bytes_in: u64,
    /// Bytes sent so far.
    pub bytes_out: u64,
    /// Its acceptors.
    pub acceptors: Vec<AcceptorInfo>,
}

/// One place of a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AcceptorInfo {
    /// The place's number, counted from 0: the same for an acceptor and its successors.
    pub id: usize,
    /// Live connections on its arbiter.
    pub connections: u64,
    /// How often the acceptor was replaced.
    pub restarts: u64,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopReport {
    /// Connections that were there to be told to shut down; one that waits for a future is told afterwards, if that is
    /// before the deadline.
    pub asked: usize,
    /// Those that ended by themselves before the deadline.
    pub finished: usize,
    /// Those that were ended at the deadline.
    pub forced: usize,
}

pub(crate) struct Shared {
    name: Arc<str>,
    system: usize,
    addrs: Vec<Address>,
    tables: Vec<Arc<Table>>,
    common: Arc<Common>,
    acceptors: Mutex<Vec<Post>>,
    stopping: AtomicBool,
    ended: watch::Sender<Option<Result<(), PoolError>>>,
    pool: OnceLock<Addr<AcceptorPool>>,
    /// The type of actor behind a connection, and what its door left for the typed handle.
    pub(super) actor: TypeId,
    pub(super) door: Option<Arc<dyn Any + Send + Sync>>,
}

#[derive(Default)]
struct Post {
    address: Option<Addr<Acceptor>>,
    restarts: u64,
}

impl Shared {
    pub(crate) fn new(
        name: Arc<str>,
        addrs: Vec<Address>,
        tables: Vec<Arc<Table>>,
        common: Arc<Common>,
        actor: TypeId,
        door: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Arc<Self> {
        Arc::new(Shared {
            name,
            system: System::current().id(),
            addrs,
            acceptors: Mutex::new(tables.iter().map(|_| Post::default()).collect()),
            tables,
            common,
            stopping: AtomicBool::new(false),
            ended: watch::Sender::new(None),
            pool: OnceLock::new(),
            actor,
            door,
        })
    }

    pub(crate) fn enter_name(self: &Arc<Self>) -> bool {
        directory::enter(self.system, self)
    }

    pub(crate) fn leave_name(&self) {
        directory::leave(self.system, self);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn listener(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn addrs(&self) -> &[Address] {
        &self.addrs
    }

    pub(super) fn tables(&self) -> &[Arc<Table>] {
        &self.tables
    }

    pub(super) fn pool(&self) -> Option<&Addr<AcceptorPool>> {
        self.pool.get()
    }

    pub(super) fn set_pool(&self, pool: Addr<AcceptorPool>) {
        let _ = self.pool.set(pool);
    }

    pub(super) fn set_acceptor(&self, place: usize, address: Addr<Acceptor>) {
        self.posts()[place].address = Some(address);
    }

    pub(super) fn acceptor_left(&self, place: usize) {
        self.posts()[place].address = None;
    }

    pub(super) fn count_restart(&self, place: usize) {
        self.posts()[place].restarts += 1;
    }

    pub(super) fn acceptor_addresses(&self) -> Vec<Addr<Acceptor>> {
        self.posts().iter().filter_map(|post| post.address.clone()).collect()
    }

    pub(super) fn set_stopping(&self) {
        self.stopping.store(true, Release);
    }

    pub(super) fn drain(&self, deadline: Option<Instant>) {
        for table in &self.tables {
            table.drain(deadline);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.tables.iter().filter_map(|table| table.drained()?.deadline).min()
    }

    /// Waits until no connection is left; a while after the deadline it gives up.
    pub(super) async fn emptied(&self, give_up: Duration) {
        loop {
            let mut closed = pin!(self.common.closed.notified());
            closed.as_mut().enable();
            if self.tables.iter().all(|table| table.live() == 0) {
                return;
            }
            // A second stop may have brought the deadline nearer: look again now and then.
            let now = Instant::now();
            let deadline = self.deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.tables.iter().for_each(|table| table.enforce(now));
            }
            match deadline {
                Some(deadline) if deadline + give_up <= now => return,
                Some(deadline) => {
                    let next = if now < deadline { deadline } else { deadline + give_up };
                    let _ = tokio::time::timeout_at(next.into(), closed).await;
                }
                None => closed.await,
            }
        }
    }

    pub(super) fn report(&self) -> StopReport {
        let mut report = StopReport::default();
        for drain in self.tables.iter().filter_map(|table| table.drained()) {
            report.asked += drain.asked;
            report.forced += drain.forced;
        }
        report.finished = report.asked.saturating_sub(report.forced);
        report
    }

    pub(super) fn set_ended(&self, outcome: Result<(), PoolError>) {
        self.leave_name();
        self.ended.send_replace(Some(outcome));
    }

    /// How the pool ended, once it has.
    pub(super) async fn ended(&self) -> Result<(), PoolError> {
        let mut ended = self.ended.subscribe();
        let outcome = match ended.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        outcome.unwrap_or(Err(PoolError::Orphaned))
    }

    pub(super) fn info(&self) -> PoolInfo {
        let totals: Vec<Totals> = self.tables.iter().map(|table| table.totals()).collect();
        let mut closed = ClosedCounts::default();
        totals.iter().for_each(|totals| closed += totals.closed);
        let sum = |of: fn(&Totals) -> u64| totals.iter().map(of).sum();
        let posts = self.posts();
        let acceptors = totals.iter().zip(posts.iter()).enumerate().map(|(id, (totals, post))| AcceptorInfo {
            id,
            connections: totals.live,
            restarts: post.restarts,
        });
        PoolInfo {
            stopping: self.stopping.load(Acquire),
            connections: sum(|totals| totals.live),
            accepted: sum(|totals| totals.accepted),
            closed,
            bytes_in: sum(|totals| totals.bytes_in),
            bytes_out: sum(|totals| totals.bytes_out),
            acceptors: acceptors.collect(),
        }
    }

    fn posts(&self) -> MutexGuard<'_, Vec<Post>> {
        self.acceptors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
