//! Pool events as metrics of the `metrics` facade.

use std::collections::{HashMap, HashSet};
use std::time::UNIX_EPOCH;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, Unit};
use parking_lot::Mutex;

use super::{AcceptErrorKind, CloseReason, HandshakeFailure, Observer, PoolEvent, PoolSample, RefusalReason};

/// An [`Observer`] that reports to the [`metrics`](https://docs.rs/metrics) facade, for any recorder.
///
/// | name | kind | labels beside `pool` | meaning |
/// |---|---|---|---|
/// | `acceptor_connections` | gauge | `listener` | live connections |
/// | `acceptor_connections_started_total` | counter | `listener` | connections admitted, including those whose handshake fails afterwards |
/// | `acceptor_connections_closed_total` | counter | `listener`, `reason` | connections that ended |
/// | `acceptor_refused_total` | counter | `listener`, `reason` | peers accepted and refused |
/// | `acceptor_connection_duration_seconds` | histogram | `listener` | lifetime of connections, including those whose handshake failed |
/// | `acceptor_received_bytes_total` | counter | `listener` | bytes received |
/// | `acceptor_sent_bytes_total` | counter | `listener` | bytes sent |
/// | `acceptor_packets_total` | counter | `listener` | packets delivered to callbacks |
/// | `acceptor_accept_errors_total` | counter | `listener` | failures of `accept` |
/// | `acceptor_acceptors` | gauge | | running acceptors |
/// | `acceptor_acceptors_stopped_total` | counter | | acceptors that ended, for any reason |
/// | `acceptor_blocked_total` | counter | | times an arbiter was blocked for longer than the watchdog's limit |
/// | `acceptor_handshake_failures_total` | counter | `listener`, `kind` | handshakes that failed |
/// | `acceptor_ready` | gauge | | 1 while the pool is ready, else 0 |
/// | `acceptor_max_connections` | gauge | | the connection limit in force |
/// | `acceptor_held_peers` | gauge | | peers that are held |
/// | `acceptor_waiting_acceptors` | gauge | | acceptors that wait at a connection limit |
/// | `acceptor_handshakes` | gauge | | handshakes under way |
/// | `acceptor_max_handshakes` | gauge | | the limit of handshakes under way |
/// | `acceptor_blocking_running` | gauge | | closures of [`Conn::blocking`](crate::Conn::blocking) that run |
/// | `acceptor_blocking_queued` | gauge | | closures of `Conn::blocking` in the queue |
/// | `acceptor_dropped_replies_total` | counter | | replies left out because an outbox had no room for them |
/// | `acceptor_outbox_bytes` | gauge | `listener` | unsent bytes of live connections: answers, files and the outbox |
/// | `acceptor_at_limit` | gauge | `listener` | 1 while accepting has stopped at a connection limit ([`AtLimit::Wait`](crate::limits::AtLimit::Wait)), else 0 |
/// | `acceptor_certificate_expiry_timestamp_seconds` | gauge | `listener` | when the first certificate expires, in Unix time; NaN when there is no certificate any more |
/// | `acceptor_alarms_total` | counter | `name` | alarms raised |
///
/// The series of a pool and its listeners, with every reason and kind, exist at 0 from the start; the series of an alarm begins
/// when it is raised. Bytes, packets, and gauges that no event changes are updated about once a second, on the arbiter of the
/// pool: see [`Observer::sample`]. When a listener is renamed or removed, or the pool ends, its gauges are set to 0;
/// `acceptor_connections` is 0 when its last connection has ended.
///
/// Connections of [`Pool::adopt`](crate::Pool::adopt) have the label `listener="adopted"`; their series begin with the first of
/// them. `acceptor_connections_started_total` counts before the handshake; `acceptor_handshake_failures_total` counts those that
/// failed there.
///
/// The recorder decides how a histogram is exported. `metrics-exporter-prometheus` exports a summary, with quantiles that cannot
/// be aggregated over servers, unless it has buckets: set them with `PrometheusBuilder::set_buckets_for_metric`, as the example
/// [`metrics`](https://github.com/actix-acceptor/actix-acceptor/blob/main/examples/metrics.rs) does.
///
/// ```
/// # use actix_acceptor::{telemetry::Metrics, AcceptorPool, Socket};
/// let builder = AcceptorPool::with_fn(|_: Socket| async {}).observer(Metrics::new());
/// ```
#[derive(Debug)]
pub struct Metrics {
    /// By pool and listener.
    traffic: Mutex<HashMap<(String, String), Traffic>>,
    /// The dropped replies that the counter shows, by pool.
    dropped: Mutex<HashMap<String, u64>>,
}

/// Bytes received, bytes sent, and packets.
type Amounts = [u64; 3];

/// The traffic of a listener.
#[derive(Debug, Default)]
struct Traffic {
    /// Of the connections that ended.
    closed: Amounts,
    /// What the counters show.
    reported: Amounts,
    has_expiry: bool,
}

impl Traffic {
    /// Raises the counters to these amounts. Lower amounts have no effect: a sample may miss a connection that is ending.
    fn report(&mut self, labels: &Labels, amounts: Amounts) {
        let counters = [
            counter!("acceptor_received_bytes_total", labels),
            counter!("acceptor_sent_bytes_total", labels),
            counter!("acceptor_packets_total", labels),
        ];
        for ((counter, reported), amount) in counters.iter().zip(&mut self.reported).zip(amounts) {
            counter.increment(amount.saturating_sub(*reported));
            *reported = amount.max(*reported);
        }
    }
}

type Labels = [(&'static str, String); 2];

fn labels(pool: &str, listener: &str) -> Labels {
    [("pool", pool.to_owned()), ("listener", listener.to_owned())]
}

impl Metrics {
    /// Creates the observer and describes its metrics to the recorder, which should be installed before.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        describe_gauge!("acceptor_connections", "Live connections");
        describe_counter!("acceptor_connections_started_total", "Connections admitted");
        describe_counter!("acceptor_connections_closed_total", "Connections that ended, by reason");
        describe_counter!("acceptor_refused_total", "Peers accepted and refused, by reason");
        describe_histogram!("acceptor_connection_duration_seconds", Unit::Seconds, "Lifetime of connections");
        describe_counter!("acceptor_received_bytes_total", Unit::Bytes, "Bytes received");
        describe_counter!("acceptor_sent_bytes_total", Unit::Bytes, "Bytes sent");
        describe_counter!("acceptor_packets_total", "Packets delivered to callbacks");
        describe_counter!("acceptor_accept_errors_total", "Failures of accept");
        describe_gauge!("acceptor_acceptors", "Running acceptors");
        describe_counter!("acceptor_acceptors_stopped_total", "Acceptors that ended");
        describe_counter!("acceptor_blocked_total", "Times an arbiter was blocked");
        describe_counter!("acceptor_handshake_failures_total", "Handshakes that failed, by kind");
        describe_gauge!("acceptor_ready", "Whether the pool is ready");
        describe_gauge!("acceptor_max_connections", "The connection limit in force");
        describe_gauge!("acceptor_held_peers", "Peers that are held");
        describe_gauge!("acceptor_waiting_acceptors", "Acceptors that wait at a connection limit");
        describe_gauge!("acceptor_handshakes", "Handshakes under way");
        describe_gauge!("acceptor_max_handshakes", "The limit of handshakes under way");
        describe_gauge!("acceptor_blocking_running", "Blocking closures that run");
        describe_gauge!("acceptor_blocking_queued", "Blocking closures in the queue");
        describe_counter!("acceptor_dropped_replies_total", "Replies left out because an outbox had no room");
        describe_gauge!("acceptor_outbox_bytes", Unit::Bytes, "Bytes queued for the peers of live connections");
        describe_gauge!("acceptor_at_limit", "Whether accepting has stopped at a connection limit");
        describe_gauge!(
            "acceptor_certificate_expiry_timestamp_seconds",
            Unit::Seconds,
            "When the first certificate expires"
        );
        describe_counter!("acceptor_alarms_total", "Alarms raised");
        Metrics { traffic: Mutex::default(), dropped: Mutex::default() }
    }

    /// Creates every series of a listener and its pool, at 0 if it is new.
    fn register(&self, pool: &str, listener: &str) {
        let of_pool = [("pool", pool.to_owned())];
        gauge!("acceptor_acceptors", &of_pool).increment(0);
        counter!("acceptor_acceptors_stopped_total", &of_pool).increment(0);
        counter!("acceptor_blocked_total", &of_pool).increment(0);
        let labels = labels(pool, listener);
        gauge!("acceptor_connections", &labels).increment(0);
        gauge!("acceptor_outbox_bytes", &labels).increment(0);
        gauge!("acceptor_at_limit", &labels).increment(0);
        counter!("acceptor_connections_started_total", &labels).increment(0);
        counter!("acceptor_accept_errors_total", &labels).increment(0);
        let _ = histogram!("acceptor_connection_duration_seconds", &labels);
        let with = |name, value: &str| {
            let [pool, listener] = labels.clone();
            [pool, listener, (name, value.to_owned())]
        };
        for reason in CloseReason::ALL {
            counter!("acceptor_connections_closed_total", &with("reason", reason.name())).increment(0);
        }
        for reason in RefusalReason::ALL {
            counter!("acceptor_refused_total", &with("reason", reason.name())).increment(0);
        }
        for kind in HandshakeFailure::ALL {
            counter!("acceptor_handshake_failures_total", &with("kind", kind.name())).increment(0);
        }
        let mut traffic = self.traffic.lock();
        traffic.entry((pool.to_owned(), listener.to_owned())).or_default().report(&labels, [0; 3]);
    }
}

impl Metrics {
    /// Raises the counter to this number. It begins at 0 again when another pool has taken the name.
    fn report_dropped(&self, pool: &str, dropped: u64) {
        let before = self.dropped.lock().insert(pool.to_owned(), dropped).unwrap_or(0);
        let more = dropped.checked_sub(before).unwrap_or(dropped);
        counter!("acceptor_dropped_replies_total", "pool" => pool.to_owned()).increment(more);
    }
}

impl Observer for Metrics {
    fn observe(&self, pool: &str, event: &PoolEvent<'_>) {
        let pool = pool.to_owned();
        match *event {
            PoolEvent::ListenerStarted { listener, .. } | PoolEvent::ListenerChanged { listener, .. } => {
                self.register(&pool, listener);
            }
            PoolEvent::HandshakeFailed { listener, kind, .. } => {
                let labels = [("pool", pool), ("listener", listener.to_owned()), ("kind", kind.name().to_owned())];
                counter!("acceptor_handshake_failures_total", &labels).increment(1);
            }
            PoolEvent::ConnectionStarted { listener, .. } => {
                let labels = [("pool", pool), ("listener", listener.to_owned())];
                counter!("acceptor_connections_started_total", &labels).increment(1);
                gauge!("acceptor_connections", &labels).increment(1);
            }
            PoolEvent::ConnectionStopped { listener, reason, duration, bytes_in, bytes_out, packets, .. } => {
                let labels = [("pool", pool.clone()), ("listener", listener.to_owned())];
                gauge!("acceptor_connections", &labels).decrement(1);
                histogram!("acceptor_connection_duration_seconds", &labels).record(duration);
                {
                    let mut traffic = self.traffic.lock();
                    let traffic = traffic.entry((pool.clone(), listener.to_owned())).or_default();
                    for (closed, amount) in traffic.closed.iter_mut().zip([bytes_in, bytes_out, packets]) {
                        *closed += amount;
                    }
                    traffic.report(&labels, traffic.closed);
                }
                let labels = [("pool", pool), ("listener", listener.to_owned()), ("reason", reason.name().to_owned())];
                counter!("acceptor_connections_closed_total", &labels).increment(1);
            }
            PoolEvent::Refused { id, listener, reason, .. } => {
                if id.is_some() {
                    let labels = [("pool", pool.clone()), ("listener", listener.to_owned())];
                    gauge!("acceptor_connections", &labels).decrement(1);
                }
                let labels = [("pool", pool), ("listener", listener.to_owned()), ("reason", reason.name().to_owned())];
                counter!("acceptor_refused_total", &labels).increment(1);
            }
            PoolEvent::AcceptError { listener, kind, .. } if kind != AcceptErrorKind::Connection => {
                let labels = [("pool", pool), ("listener", listener.to_owned())];
                counter!("acceptor_accept_errors_total", &labels).increment(1);
            }
            PoolEvent::AcceptorStarted { .. } => gauge!("acceptor_acceptors", "pool" => pool).increment(1),
            PoolEvent::AcceptorStopped { .. } => {
                gauge!("acceptor_acceptors", "pool" => pool.clone()).decrement(1);
                counter!("acceptor_acceptors_stopped_total", "pool" => pool).increment(1);
            }
            PoolEvent::Blocked { .. } => counter!("acceptor_blocked_total", "pool" => pool).increment(1),
            PoolEvent::Alarm { name, raised: true, .. } => {
                counter!("acceptor_alarms_total", "pool" => pool, "name" => name.to_owned()).increment(1);
            }
            _ => {}
        }
    }

    fn wants_samples(&self) -> bool {
        true
    }

    fn sample(&self, pool: &str, sample: &PoolSample<'_>) {
        let of_pool = [("pool", pool.to_owned())];
        gauge!("acceptor_ready", &of_pool).set(f64::from(u8::from(sample.is_ready)));
        gauge!("acceptor_max_connections", &of_pool).set(sample.max_connections as f64);
        gauge!("acceptor_held_peers", &of_pool).set(sample.held as f64);
        gauge!("acceptor_waiting_acceptors", &of_pool).set(sample.waiting_acceptors as f64);
        gauge!("acceptor_handshakes", &of_pool).set(sample.handshakes as f64);
        gauge!("acceptor_max_handshakes", &of_pool).set(sample.max_handshakes as f64);
        gauge!("acceptor_blocking_running", &of_pool).set(sample.blocking_running as f64);
        gauge!("acceptor_blocking_queued", &of_pool).set(sample.blocking_queued as f64);
        self.report_dropped(pool, sample.dropped);
        // Read before the live connections: one that ends meanwhile is then missed, and not counted twice.
        let closed: HashMap<String, Amounts> = {
            let traffic = self.traffic.lock();
            let ours = traffic.iter().filter(|((of, _), _)| of == pool);
            ours.map(|((_, listener), traffic)| (listener.clone(), traffic.closed)).collect()
        };
        let listeners = sample.listeners();
        let mut seen = HashSet::new();
        let mut traffic = self.traffic.lock();
        for listener in &listeners {
            let labels = labels(pool, &listener.name);
            let before = closed.get(&*listener.name).copied().unwrap_or_default();
            let live = [listener.bytes_in, listener.bytes_out, listener.packets];
            let traffic = traffic.entry((pool.to_owned(), listener.name.to_string())).or_default();
            traffic.report(&labels, std::array::from_fn(|at| before[at] + live[at]));
            gauge!("acceptor_outbox_bytes", &labels).set(listener.unsent as f64);
            gauge!("acceptor_at_limit", &labels).set(f64::from(u8::from(listener.is_at_limit)));
            if let Some(expires) = listener.certificate_expires {
                let seconds = expires.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
                gauge!("acceptor_certificate_expiry_timestamp_seconds", &labels).set(seconds);
                traffic.has_expiry = true;
            } else if std::mem::take(&mut traffic.has_expiry) {
                gauge!("acceptor_certificate_expiry_timestamp_seconds", &labels).set(f64::NAN);
            }
            seen.insert(&*listener.name);
        }
        for ((_, listener), traffic) in
            traffic.iter_mut().filter(|((of, name), _)| of == pool && !seen.contains(&**name))
        {
            let labels = labels(pool, listener);
            gauge!("acceptor_outbox_bytes", &labels).set(0.0);
            gauge!("acceptor_at_limit", &labels).set(0.0);
            if std::mem::take(&mut traffic.has_expiry) {
                gauge!("acceptor_certificate_expiry_timestamp_seconds", &labels).set(f64::NAN);
            }
        }
    }
}
