//! Pool events as metrics of the `metrics` facade.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram, Unit};

use super::{AcceptErrorKind, Observer, PoolEvent};

/// An [`Observer`] that reports to the [`metrics`](https://docs.rs/metrics) facade, for any recorder.
///
/// | name | kind | labels beside `pool` | meaning |
/// |---|---|---|---|
/// | `acceptor_connections` | gauge | `listener` | live connections |
/// | `acceptor_connections_started_total` | counter | `listener` | connections admitted |
/// | `acceptor_connections_closed_total` | counter | `listener`, `reason` | connections that ended |
/// | `acceptor_refused_total` | counter | `listener`, `reason` | peers accepted and refused |
/// | `acceptor_connection_duration_seconds` | histogram | `listener` | lifetime of connections |
/// | `acceptor_received_bytes_total` | counter | `listener` | bytes received, counted when a connection ends |
/// | `acceptor_sent_bytes_total` | counter | `listener` | bytes sent, counted when a connection ends |
/// | `acceptor_packets_total` | counter | `listener` | packets delivered, counted when a connection ends |
/// | `acceptor_accept_errors_total` | counter | `listener` | failures of `accept` |
/// | `acceptor_acceptors` | gauge | | running acceptors |
/// | `acceptor_acceptors_stopped_total` | counter | | acceptors that ended, for any reason |
/// | `acceptor_blocked_total` | counter | | times an arbiter was blocked for longer than the watchdog's limit |
/// | `acceptor_alarms_total` | counter | `name` | alarms raised |
///
/// ```
/// # use actix_acceptor::{telemetry::Metrics, AcceptorPool, Socket};
/// let builder = AcceptorPool::with_fn(|_: Socket| async {}).observer(Metrics::new());
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metrics;

impl Metrics {
    /// Creates the observer and describes its metrics to the recorder, which should be installed before.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        describe_gauge!("acceptor_connections", "Live connections");
        describe_counter!("acceptor_connections_started_total", "Connections admitted");
        describe_counter!("acceptor_connections_closed_total", "Connections that ended, by reason");
        describe_counter!("acceptor_refused_total", "Peers accepted and refused, by reason");
        describe_histogram!("acceptor_connection_duration_seconds", Unit::Seconds, "Lifetime of connections");
        describe_counter!("acceptor_received_bytes_total", Unit::Bytes, "Bytes received by connections that ended");
        describe_counter!("acceptor_sent_bytes_total", Unit::Bytes, "Bytes sent by connections that ended");
        describe_counter!("acceptor_packets_total", "Packets delivered by connections that ended");
        describe_counter!("acceptor_accept_errors_total", "Failures of accept");
        describe_gauge!("acceptor_acceptors", "Running acceptors");
        describe_counter!("acceptor_acceptors_stopped_total", "Acceptors that ended");
        describe_counter!("acceptor_blocked_total", "Times an arbiter was blocked");
        describe_counter!("acceptor_alarms_total", "Alarms raised");
        Metrics
    }
}

impl Observer for Metrics {
    fn observe(&self, pool: &str, event: &PoolEvent<'_>) {
        let pool = pool.to_owned();
        match *event {
            PoolEvent::ConnectionStarted { listener, .. } => {
                let labels = [("pool", pool), ("listener", listener.to_owned())];
                counter!("acceptor_connections_started_total", &labels).increment(1);
                gauge!("acceptor_connections", &labels).increment(1);
            }
            PoolEvent::ConnectionStopped { listener, reason, duration, bytes_in, bytes_out, packets, .. } => {
                let labels = [("pool", pool.clone()), ("listener", listener.to_owned())];
                gauge!("acceptor_connections", &labels).decrement(1);
                histogram!("acceptor_connection_duration_seconds", &labels).record(duration);
                counter!("acceptor_received_bytes_total", &labels).increment(bytes_in);
                counter!("acceptor_sent_bytes_total", &labels).increment(bytes_out);
                counter!("acceptor_packets_total", &labels).increment(packets);
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
}
