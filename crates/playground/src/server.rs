//! The running server as the console and the signals see it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_acceptor::info::Status;
use actix_acceptor::telemetry::{CloseReason, Counts};
use actix_acceptor::PoolHandle;
use serde_json::{json, Value};
use tokio::time::Instant;

use crate::access::ConnectionAccess;
use crate::handlers::ServerConfig;
use crate::url::Url;

pub struct Server {
    pub config: Arc<ServerConfig>,
    pub pool: PoolHandle,
    pub access: Box<dyn ConnectionAccess>,
    drain: OnceLock<Instant>,
    report: OnceLock<Value>,
}

impl Server {
    pub fn new(config: Arc<ServerConfig>, pool: PoolHandle, access: Box<dyn ConnectionAccess>) -> Self {
        Server { config, pool, access, drain: OnceLock::new(), report: OnceLock::new() }
    }

    pub fn urls(&self) -> Vec<String> {
        self.pool.listeners().iter().map(|listener| listener.url()).collect()
    }

    pub fn info(&self) -> Value {
        let info = self.pool.info();
        json!({
            "status": status(info.status),
            "listeners": self.urls(),
            "connections": info.connections,
            "max_connections": info.max_connections,
            "accepted": info.accepted,
            "acceptors": info.acceptors,
            "accept_errors": info.accept_errors,
            "refused": info.refused,
            "closed": closed(&info.closed),
        })
    }

    pub fn list(&self) -> Value {
        let listeners = self.pool.listeners();
        let url = |name: &str| listeners.iter().find(|listener| &*listener.name == name).map(|listener| listener.url());
        let connection = |mut connection: actix_acceptor::info::ConnectionInfo| {
            self.config.sessions.complete(&mut connection);
            json!({
                "id": connection.id.get(),
                "peer": connection.peer.to_string(),
                "listener": url(&connection.listener).unwrap_or_else(|| connection.listener.to_string()),
                "age_ms": connection.age.as_millis() as u64,
                "idle_ms": connection.idle.as_millis() as u64,
                "bytes_in": connection.bytes_in,
                "bytes_out": connection.bytes_out,
                "label": connection.label.as_deref(),
                "state": connection.state,
                "unsent": connection.unsent,
            })
        };
        self.pool.list().into_iter().map(connection).collect()
    }

    /// The number of members of each topic.
    pub fn topics(&self) -> Value {
        self.pool.topics().into_iter().map(|(topic, members)| (topic.to_string(), json!(members))).collect()
    }

    /// The connection of each name.
    pub fn names(&self) -> Value {
        let owner = |name: &str| self.pool.whereis(name).map(|owner| json!(owner.id().get()));
        let names = self.pool.names().into_iter();
        names.filter_map(|name| Some((name.to_string(), owner(&name)?))).collect()
    }

    /// Changes an option of the running server: both the pool and this program, or neither.
    pub async fn set(&self, name: &str, value: &str) -> Result<(), String> {
        let options = self.config.live.options().with(name, value)?;
        if name == "listen" {
            if self.config.security.tls.is_none() && options.listen.iter().any(Url::is_tls) {
                return Err("tls:// needs --tls-cert and --tls-key".into());
            }
            let listeners = options.listen.iter().map(|url| self.config.security.listener(url)).collect();
            self.pool.set_listeners(listeners).await.map_err(|error| error.to_string())?;
        }
        let settings = options.settings();
        let max_blocking = settings.max_blocking;
        self.pool.change(move |current| *current = settings).await.map_err(|error| error.to_string())?;
        if name == "max-frame" {
            self.access.set_framing(options.framing());
        }
        self.config.blocking.set(max_blocking);
        self.config.live.set(options);
        Ok(())
    }

    /// Drains the pool. Every caller gets the same report.
    pub async fn drain(&self, grace: Duration) -> Value {
        let since = *self.drain.get_or_init(Instant::now);
        let report = self.pool.stop(grace).await;
        let took_ms = since.elapsed().as_millis() as u64;
        let report = json!({
            "asked": report.asked,
            "finished": report.finished,
            "forced": report.forced,
            "unserved": report.unserved,
            "closed": closed(&report.closed),
            "took_ms": took_ms,
        });
        self.report.get_or_init(|| report).clone()
    }
}

/// A count for each reason. There is none for `packet_rate`, since `--packet-rate` closes no connection, and none for `detached`,
/// since no verb detaches one.
fn closed(counts: &Counts<CloseReason>) -> Value {
    let is_possible = |reason| !matches!(reason, CloseReason::PacketRate | CloseReason::Detached);
    let counts = counts.iter().filter(|(reason, _)| is_possible(*reason));
    counts.map(|(reason, count)| (reason.name().to_owned(), json!(count))).collect()
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Running => "running",
        Status::Suspended(_) => "suspended",
        _ => "draining",
    }
}
