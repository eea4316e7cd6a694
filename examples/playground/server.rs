//! The running server as the console and the signals see it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use actix_acceptor::PoolHandle;
use serde_json::{json, Map, Value};

use crate::doors::Setting;
use crate::reach::Reach;

/// The limit that nobody keeps yet.
const MAX_CONNECTIONS: u64 = 16_384;

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
        self.pool.local_addrs().iter().map(|address| address.url()).collect()
    }

    pub fn info(&self) -> Value {
        let info = self.pool.info();
        let zero =
            |reasons: &[&str]| reasons.iter().map(|reason| (reason.to_string(), json!(0))).collect::<Map<_, _>>();
        let mut closed = zero(&["handshake", "truncated"]);
        closed.extend(info.closed.iter().map(|(reason, count)| (reason.name().to_owned(), json!(count))));
        let acceptors = info.acceptors.iter().map(
            |acceptor| json!({ "id": acceptor.id, "connections": acceptor.connections, "restarts": acceptor.restarts }),
        );
        json!({
            "status": if info.stopping { "draining" } else { "running" },
            "listeners": self.urls(),
            "connections": info.connections,
            "max_connections": MAX_CONNECTIONS,
            "accepted": info.accepted,
            "acceptors": acceptors.collect::<Vec<_>>(),
            "refused": zero(&["limit", "per_ip", "rate", "denied", "overload", "fd"]),
            "closed": closed,
        })
    }

    pub fn list(&self) -> Value {
        let connection = |connection: actix_acceptor::ConnectionInfo| {
            json!({
                "id": connection.id.get(),
                "peer": connection.peer.to_string(),
                "listener": self.urls()[0],
                "age_ms": connection.age.as_millis() as u64,
                "idle_ms": connection.idle.as_millis() as u64,
                "bytes_in": connection.bytes_in,
                "bytes_out": connection.bytes_out,
            })
        };
        self.pool.list().into_iter().map(connection).collect()
    }

    /// Ends the pool in order; whoever asks gets the one report.
    pub async fn drain(&self, grace: Duration) -> Value {
        let since = *self.drain.get_or_init(Instant::now);
        let report = self.pool.stop(grace).await;
        let took_ms = since.elapsed().as_millis() as u64;
        let report = json!({
            "asked": report.asked, "finished": report.finished, "forced": report.forced, "took_ms": took_ms,
        });
        self.report.get_or_init(|| report).clone()
    }
}
