//! The running server as the console and the signals see it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use actix_acceptor::{
    info::Status,
    telemetry::{CloseReason, Counts},
    PoolHandle,
};
use serde_json::{json, Map, Value};

use crate::doors::Setting;
use crate::reach::Reach;
use crate::url::Url;

pub struct Server {
    pub setting: Arc<Setting>,
    pub pool: PoolHandle,
    pub reach: Box<dyn Reach>,
    drain: OnceLock<Instant>,
    report: OnceLock<Value>,
}

impl Server {
    pub fn new(setting: Arc<Setting>, pool: PoolHandle, reach: Box<dyn Reach>) -> Self {
        Server { setting, pool, reach, drain: OnceLock::new(), report: OnceLock::new() }
    }

    pub fn urls(&self) -> Vec<String> {
        self.pool.listeners().iter().map(|listener| listener.url()).collect()
    }

    pub fn info(&self) -> Value {
        let info = self.pool.info();
        let refused = info.refused.iter().map(|(reason, count)| (reason.name().to_owned(), json!(count)));
        let acceptors = info.acceptors.iter().map(
            |acceptor| json!({ "id": acceptor.id, "connections": acceptor.connections, "restarts": acceptor.restarts }),
        );
        json!({
            "status": status(info.status),
            "listeners": self.urls(),
            "connections": info.connections,
            "max_connections": info.max_connections,
            "accepted": info.accepted,
            "acceptors": acceptors.collect::<Vec<_>>(),
            "refused": refused.collect::<Map<_, _>>(),
            "closed": counts(&info.closed),
        })
    }

    pub fn list(&self) -> Value {
        let listeners = self.pool.listeners();
        let url = |name: &str| listeners.iter().find(|listener| &*listener.name == name).map(|listener| listener.url());
        let connection = |connection: actix_acceptor::info::ConnectionInfo| {
            json!({
                "id": connection.id.get(),
                "peer": connection.peer.to_string(),
                "listener": url(&connection.listener).unwrap_or_else(|| connection.listener.to_string()),
                "age_ms": connection.age.as_millis() as u64,
                "idle_ms": connection.idle.as_millis() as u64,
                "bytes_in": connection.bytes_in,
                "bytes_out": connection.bytes_out,
            })
        };
        self.pool.list().into_iter().map(connection).collect()
    }

    /// Changes an option while running. What the library and this program go by is changed together or not at all.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let options = self.setting.manners.options().with(name, value)?;
        if name == "listen" {
            if self.setting.security.tls.is_none() && options.listen.iter().any(Url::is_tls) {
                return Err("tls:// needs --tls-cert and --tls-key".into());
            }
            let listeners = options.listen.iter().map(|url| self.setting.security.dress(url)).collect();
            self.pool.set_listeners(listeners).await.map_err(|error| error.to_string())?;
        }
        let settings = options.settings();
        self.pool.change(move |current| *current = settings).await.map_err(|error| error.to_string())?;
        if name == "max-frame" {
            self.reach.set_framing(options.framing());
        }
        self.setting.manners.set(options);
        Ok(())
    }

    /// Ends the pool in order; whoever asks gets the one report.
    pub async fn drain(&self, grace: Duration) -> Value {
        let since = *self.drain.get_or_init(Instant::now);
        let report = self.pool.stop(grace).await;
        let took_ms = since.elapsed().as_millis() as u64;
        let report = json!({
            "asked": report.asked,
            "finished": report.finished,
            "forced": report.forced,
            "unserved": report.unserved,
            "closed": counts(&report.closed),
            "took_ms": took_ms,
        });
        self.report.get_or_init(|| report).clone()
    }
}

fn counts(closed: &Counts<CloseReason>) -> Map<String, Value> {
    closed.iter().map(|(reason, count)| (reason.name().to_owned(), json!(count))).collect()
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Running => "running",
        Status::Suspended(_) => "suspended",
        _ => "draining",
    }
}
