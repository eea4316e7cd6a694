//! What responses and updates say about a pool.

use std::time::Duration;

use actix_acceptor::info::{AcceptorInfo, ListenerInfo, PoolInfo, Status};
use serde::Serialize;
use serde_json::{json, Value};

use crate::drains::DrainShown;
use crate::history::Rates;
use crate::session::Session;
use crate::shared::{Shared, Watched};

/// A pool, as `GET /api/pools/{pool}` and the updates show it.
#[derive(Serialize)]
pub(crate) struct PoolReport<'a> {
    id: &'a str,
    name: &'a str,
    ready: bool,
    watched: f64,
    pub(crate) info: PoolInfo,
    listeners: Vec<Listener>,
    acceptors: Vec<Acceptor>,
    pub(crate) rates: Rates,
    actions: Actions,
    drain: Option<DrainShown>,
}

#[derive(Serialize)]
struct Listener {
    #[serde(flatten)]
    info: ListenerInfo,
    url: String,
}

#[derive(Serialize)]
struct Acceptor {
    #[serde(flatten)]
    info: AcceptorInfo,
    blocks: u64,
    last_block: Option<f64>,
    last_block_ms: Option<u64>,
}

#[derive(Serialize)]
struct Actions {
    text: bool,
    certificates: bool,
}

impl<'a> PoolReport<'a> {
    pub(crate) fn new(watched: &'a Watched) -> Self {
        let pool = &watched.of.pool;
        watched.find_report();
        let info = watched.info();
        let acceptor = |info: &AcceptorInfo| {
            let blocks = watched.drains.blocks(info.id);
            Acceptor {
                info: info.clone(),
                blocks: blocks.map_or(0, |blocks| blocks.count),
                last_block: blocks.map(|blocks| blocks.last),
                last_block_ms: blocks.map(|blocks| blocks.last_ms),
            }
        };
        let listener = |info: ListenerInfo| Listener { url: info.url(), info };
        PoolReport {
            id: &watched.id,
            name: pool.name(),
            ready: info.status == Status::Running,
            watched: rounded(watched.since.elapsed()),
            listeners: pool.listeners().into_iter().map(listener).collect(),
            acceptors: info.acceptors.iter().map(acceptor).collect(),
            rates: watched.history.lock().rates(),
            actions: Actions { text: watched.of.texts.is_some(), certificates: watched.of.certificates.is_some() },
            drain: watched.drains.shown(pool.draining()),
            info,
        }
    }
}

/// How a request was let in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Entry {
    Session(Session),
    Token,
    Loopback,
}

impl Entry {
    pub(crate) fn session(self) -> Option<Session> {
        if let Entry::Session(session) = self {
            Some(session)
        } else {
            None
        }
    }

    /// For the log. The number of a session is not enough to make its cookie.
    pub(crate) fn name(self) -> String {
        match self {
            Entry::Session(session) => format!("session {:08x}", session.number >> 32),
            Entry::Token => "token".to_owned(),
            Entry::Loopback => "loopback".to_owned(),
        }
    }
}

/// The overview of `GET /api/pools`.
pub(crate) fn overview(shared: &Shared, entry: Entry) -> Value {
    let pools = shared.pools.iter().map(|watched| {
        let (pool, status) = (&watched.of.pool, watched.of.pool.status());
        json!({
            "id": watched.id,
            "name": pool.name(),
            "status": status,
            "ready": status == Status::Running,
            "connections": pool.connections(),
        })
    });
    let (by, expires) = match entry {
        Entry::Session(session) => ("session", Some(session.expires_ms)),
        Entry::Token => ("token", None),
        Entry::Loopback => ("loopback", None),
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "boot": shared.boot,
        "read_only": shared.read_only,
        "access": { "by": by, "expires_ms": expires },
        "pools": pools.collect::<Vec<_>>(),
    })
}

/// Seconds, with three digits.
fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}
