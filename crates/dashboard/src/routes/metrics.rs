//! The numbers in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::time::UNIX_EPOCH;

use actix_acceptor::info::{ListenerInfo, PoolInfo, Status};
use actix_acceptor::telemetry::{Counts, Label};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Data;
use actix_web::HttpResponse;

use crate::access::Viewer;
use crate::process::ProcessReport;
use crate::shared::Shared;

struct Pool {
    id: String,
    name: String,
    info: PoolInfo,
    listeners: Vec<ListenerInfo>,
    max_handshakes: usize,
    acceptors_stopped: u64,
    alarms: BTreeMap<String, u64>,
}

pub(super) async fn metrics(shared: Data<Shared>, _: Viewer) -> HttpResponse {
    let pools = shared.pools.iter().map(|watched| {
        let (pool, drains) = (&watched.of.pool, &watched.drains);
        Pool {
            id: watched.id.clone(),
            name: pool.name().to_owned(),
            info: watched.info(),
            listeners: pool.listeners(),
            max_handshakes: pool.settings().max_handshakes,
            acceptors_stopped: drains.acceptors_stopped(),
            alarms: drains.alarms(),
        }
    });
    let text = text(&pools.collect::<Vec<_>>(), &ProcessReport::read());
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(text)
}

fn text(pools: &[Pool], process: &ProcessReport) -> String {
    let mut text = Text(String::new());
    for (kind, families) in [("gauge", &GAUGES[..]), ("counter", &COUNTERS)] {
        for (name, help, of) in families {
            text.family(name, kind, help);
            pools.iter().for_each(|pool| text.of_pool(name, pool, &[], of(pool)));
        }
    }
    text.counts("acceptor_connections_closed_total", "Connections that ended, by reason", "reason", pools, |i| {
        &i.closed
    });
    text.counts("acceptor_refused_total", "Peers accepted and refused, by reason", "reason", pools, |i| &i.refused);
    let help = "Handshakes that failed, by kind";
    text.counts("acceptor_handshake_failures_total", help, "kind", pools, |info| &info.handshake_failures);
    let name = "acceptor_alarms_total";
    text.family(name, "counter", "Alarms raised since the pool was added to the dashboard");
    for pool in pools {
        for (alarm, count) in &pool.alarms {
            text.of_pool(name, pool, &[("name", alarm)], count);
        }
    }
    let name = "acceptor_at_limit";
    text.family(name, "gauge", "Whether accepting has stopped at a connection limit");
    for pool in pools {
        for listener in &pool.listeners {
            text.of_pool(name, pool, &[("listener", &listener.name)], u8::from(listener.is_at_limit));
        }
    }
    let name = "acceptor_certificate_expiry_timestamp_seconds";
    text.family(name, "gauge", "When the first certificate expires");
    for pool in pools {
        for listener in &pool.listeners {
            if let Some(since) = listener.certificate_expires.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
                text.of_pool(name, pool, &[("listener", &listener.name)], since.as_secs());
            }
        }
    }
    text.single("process_resident_memory_bytes", "gauge", "Resident memory", process.resident_bytes);
    text.single("process_open_fds", "gauge", "Open file descriptors", process.descriptors);
    text.single("process_max_fds", "gauge", "The limit of open file descriptors", process.max_descriptors);
    text.single("process_cpu_seconds_total", "counter", "Processor time", process.cpu_seconds);
    text.0
}

type Family = (&'static str, &'static str, fn(&Pool) -> u64);

const GAUGES: [Family; 11] = [
    ("acceptor_connections", "Live connections", |pool| pool.info.connections),
    ("acceptor_ready", "Whether the pool is ready", |pool| u64::from(pool.info.status == Status::Running)),
    ("acceptor_max_connections", "The connection limit in force", |pool| pool.info.max_connections as u64),
    ("acceptor_held_peers", "Peers that are held", |pool| pool.info.held as u64),
    ("acceptor_waiting_acceptors", "Acceptors that wait at a connection limit", |pool| {
        pool.info.waiting_acceptors as u64
    }),
    ("acceptor_handshakes", "Handshakes under way", |pool| pool.info.handshakes as u64),
    ("acceptor_max_handshakes", "The limit of handshakes under way", |pool| pool.max_handshakes as u64),
    ("acceptor_blocking_running", "Blocking closures that run", |pool| pool.info.blocking_running as u64),
    ("acceptor_blocking_queued", "Blocking closures in the queue", |pool| pool.info.blocking_queued as u64),
    ("acceptor_outbox_bytes", "Bytes queued for the peers of live connections", |pool| pool.info.unsent),
    ("acceptor_acceptors", "Acceptor slots in use", |pool| pool.info.acceptors.len() as u64),
];

const COUNTERS: [Family; 8] = [
    ("acceptor_accepted_total", "Peers accepted, including those refused afterwards", |pool| pool.info.accepted),
    ("acceptor_received_bytes_total", "Bytes received", |pool| pool.info.bytes_in),
    ("acceptor_sent_bytes_total", "Bytes sent", |pool| pool.info.bytes_out),
    ("acceptor_packets_total", "Packets delivered to callbacks", |pool| pool.info.packets),
    ("acceptor_accept_errors_total", "Failures of accept", |pool| pool.info.accept_errors),
    ("acceptor_acceptors_stopped_total", "Acceptors that ended since the pool was added to the dashboard", |pool| {
        pool.acceptors_stopped
    }),
    ("acceptor_blocked_total", "Times an arbiter was blocked", |pool| pool.info.blocked),
    ("acceptor_dropped_replies_total", "Replies left out because an outbox had no room", |pool| pool.info.dropped),
];

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// The id is unique among the pools of the dashboard. The name may not be.
    fn of_pool(&mut self, name: &str, pool: &Pool, labels: &[(&str, &str)], value: impl Display) {
        self.sample(name, &[&[("pool", &*pool.name), ("id", &pool.id)], labels].concat(), value);
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.family(name, kind, help);
            self.sample(name, &[], value);
        }
    }

    fn counts<L: Label>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        pools: &[Pool],
        of: fn(&PoolInfo) -> &Counts<L>,
    ) {
        self.family(name, "counter", help);
        for pool in pools {
            for (reason, count) in of(&pool.info).iter() {
                self.of_pool(name, pool, &[(label, reason.name())], count);
            }
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}
