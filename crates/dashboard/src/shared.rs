//! [`Shared`], the state that all clones of a dashboard share.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use actix_acceptor::info::{ConnectionPhase, PoolInfo, Status};
use actix_acceptor::telemetry::ObserverKey;
use actix_acceptor::{ConnectionInfo, Drain};
use parking_lot::Mutex;

use crate::attempts::Attempts;
use crate::client::Proxies;
use crate::drains::Drains;
use crate::error::ApiError;
use crate::events::{Events, Limit, Recorder};
use crate::history::History;
use crate::latest::Latest;
use crate::pools::DashboardPool;
use crate::session::{boot, Keys};
use crate::snapshot::{Snapshot, Taken};
use crate::viewers::Viewers;

pub(crate) struct Shared {
    pub(crate) boot: String,
    pub(crate) keys: Keys,
    pub(crate) read_only: bool,
    pub(crate) pools: Vec<Arc<Watched>>,
    pub(crate) proxies: Proxies,
    /// Wrong tokens of the login form, counted separately from those in `Authorization`: a header that a proxy adds does not use up
    /// the attempts of the form.
    pub(crate) wrong_logins: Attempts,
    pub(crate) wrong_bearers: Attempts,
    pub(crate) has_warned_of_proxy: AtomicBool,
    pub(crate) events: Arc<Events>,
    /// The limit on the events that viewers cause.
    pub(crate) limit: Limit,
    pub(crate) viewers: Viewers,
}

/// A pool of the dashboard.
pub(crate) struct Watched {
    pub(crate) id: String,
    pub(crate) of: DashboardPool,
    pub(crate) since: Instant,
    pub(crate) history: Mutex<History>,
    pub(crate) drains: Arc<Drains>,
    pub(crate) latest: Latest,
    connections: Snapshot<ConnectionInfo>,
    topics: Snapshot<(Arc<str>, usize)>,
    names: Snapshot<Arc<str>>,
    observer: ObserverKey,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Shared {
            boot: boot(),
            keys: Keys::new(),
            read_only: false,
            pools: Vec::new(),
            proxies: Proxies::default(),
            wrong_logins: Attempts::default(),
            wrong_bearers: Attempts::default(),
            has_warned_of_proxy: AtomicBool::new(false),
            events: Arc::default(),
            limit: Limit::default(),
            viewers: Viewers::default(),
        }
    }

    pub(crate) fn add(&mut self, of: DashboardPool) {
        let id = self.pools.len().to_string();
        let drains = Arc::new(Drains::default());
        let recorder =
            Recorder { events: self.events.clone(), limit: Limit::default(), drains: drains.clone(), pool: id.clone() };
        let observer = of.pool.add_observer(recorder);
        self.pools.push(Arc::new(Watched {
            id,
            since: Instant::now(),
            history: Mutex::new(History::new()),
            drains,
            latest: Latest::default(),
            connections: Snapshot::new(),
            topics: Snapshot::new(),
            names: Snapshot::new(),
            observer,
            of,
        }));
    }

    /// The pool with this id or name.
    pub(crate) fn pool(&self, key: &str) -> Result<&Arc<Watched>, ApiError> {
        let by_id = self.pools.iter().find(|pool| pool.id == key);
        let pool = by_id.or_else(|| self.pools.iter().find(|pool| pool.of.pool.name() == key));
        pool.ok_or_else(|| ApiError::not_found(format!("no pool {key:?}: see /api/pools")))
    }
}

impl Watched {
    /// Reads the numbers of the pool, once a second, for the history and for all viewers.
    pub(crate) fn sample(&self) -> Arc<PoolInfo> {
        self.latest.read(|| self.of.pool.info())
    }

    /// The numbers of the pool, at most a second old, with the present status.
    pub(crate) fn info(&self) -> PoolInfo {
        let mut info = PoolInfo::clone(&self.latest.get(|| self.of.pool.info()));
        info.status = self.of.pool.status();
        info
    }

    pub(crate) fn connections(&self) -> Arc<Taken<ConnectionInfo>> {
        self.connections.get(|| self.of.pool.list())
    }

    pub(crate) fn topics(&self) -> Arc<Taken<(Arc<str>, usize)>> {
        self.topics.get(|| self.of.pool.topics())
    }

    pub(crate) fn names(&self) -> Arc<Taken<Arc<str>>> {
        self.names.get(|| self.of.pool.names())
    }

    /// Frees the lists that no viewer has asked for.
    pub(crate) fn drop_old_lists(&self) {
        self.connections.drop_old();
        self.topics.drop_old();
        self.names.drop_old();
    }

    /// Gets the report of a drain that is over, whatever started it.
    pub(crate) fn find_report(&self) {
        if self.of.pool.status() == Status::Ended && self.drains.lacks_report() {
            // The pool has ended, so a drain is over at once.
            let report = pin!(self.of.pool.drain(Drain::immediate()));
            if let Poll::Ready(report) = report.poll(&mut Context::from_waker(Waker::noop())) {
                self.drains.set_report(report);
            }
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.of.pool.remove_observer(self.observer);
    }
}

/// The name of a phase, as in JSON.
pub(crate) fn phase_name(phase: ConnectionPhase) -> &'static str {
    match phase {
        ConnectionPhase::Handshaking => "handshaking",
        ConnectionPhase::Open => "open",
        ConnectionPhase::Waiting => "waiting",
        ConnectionPhase::Closing => "closing",
        _ => "other",
    }
}
