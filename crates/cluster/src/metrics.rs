//! The numbers of a node for the `metrics` facade.

use metrics::{counter, describe_counter, describe_gauge, gauge, Unit};
use parking_lot::Mutex;

use crate::info::ClusterInfo;
use crate::NodeState;

/// What the counters show. The facade only adds to them.
#[derive(Debug, Default)]
pub(crate) struct Reported(Mutex<[u64; 12]>);

/// Describes the metrics to the recorder.
pub(crate) fn describe() {
    describe_gauge!("acceptor_cluster_connected", "Whether the node is connected to NATS");
    describe_gauge!("acceptor_cluster_joined", "Whether the node is connected and has its lease");
    describe_gauge!(
        "acceptor_cluster_lease_seconds",
        Unit::Seconds,
        "How long the lease remains valid without another heartbeat"
    );
    describe_gauge!("acceptor_cluster_names", "Names of the node's connections");
    describe_gauge!("acceptor_cluster_topics", "Topics for which the node receives messages");
    describe_gauge!("acceptor_cluster_watched_topics", "Topics whose membership changes the node reports");
    describe_gauge!("acceptor_cluster_queued_bytes", Unit::Bytes, "Bytes that wait to be sent to NATS");
    describe_gauge!("acceptor_cluster_queued_messages", "Messages that wait to be sent to NATS");
    describe_gauge!("acceptor_cluster_pending_requests", "Requests from other nodes in progress");
    describe_counter!("acceptor_cluster_reconnects_total", "Reconnects to NATS");
    describe_counter!("acceptor_cluster_published_total", "Messages accepted for other nodes");
    describe_counter!("acceptor_cluster_received_total", "Messages received from other nodes");
    describe_counter!("acceptor_cluster_requests_total", "Requests from other nodes that were answered");
    describe_counter!(
        "acceptor_cluster_dropped_total",
        "Messages that did not arrive or may not have arrived, by reason"
    );
    describe_counter!(
        "acceptor_cluster_refused_total",
        "Messages and requests from other nodes that could not be handled, by reason"
    );
}

impl Reported {
    pub(crate) fn report(&self, info: &ClusterInfo) {
        let node = || ("node", info.node.clone());
        let flag = |is_so: bool| f64::from(u8::from(is_so));
        let gauges = [
            ("acceptor_cluster_connected", flag(info.state >= NodeState::Connected)),
            ("acceptor_cluster_joined", flag(info.state == NodeState::Joined)),
            ("acceptor_cluster_lease_seconds", info.lease.unwrap_or_default().as_secs_f64()),
            ("acceptor_cluster_names", info.names as f64),
            ("acceptor_cluster_topics", info.topics as f64),
            ("acceptor_cluster_watched_topics", info.watched_topics as f64),
            ("acceptor_cluster_queued_bytes", info.queued_bytes as f64),
            ("acceptor_cluster_queued_messages", info.queued_messages as f64),
            ("acceptor_cluster_pending_requests", info.pending_requests as f64),
        ];
        for (name, value) in gauges {
            gauge!(name, &[node()]).set(value);
        }
        let counters = [
            ("acceptor_cluster_reconnects_total", None, info.reconnects),
            ("acceptor_cluster_published_total", None, info.published),
            ("acceptor_cluster_received_total", None, info.received),
            ("acceptor_cluster_requests_total", None, info.requests),
            ("acceptor_cluster_dropped_total", Some("expired"), info.dropped.expired),
            ("acceptor_cluster_dropped_total", Some("failed"), info.dropped.failed),
            ("acceptor_cluster_dropped_total", Some("unconfirmed"), info.dropped.unconfirmed),
            ("acceptor_cluster_dropped_total", Some("overflowed"), info.dropped.overflowed),
            ("acceptor_cluster_refused_total", Some("unknown_version"), info.refused.unknown_version),
            ("acceptor_cluster_refused_total", Some("unknown_kind"), info.refused.unknown_kind),
            ("acceptor_cluster_refused_total", Some("unreadable"), info.refused.unreadable),
            ("acceptor_cluster_refused_total", Some("panicked"), info.refused.panicked),
        ];
        let mut increments = [0; 12];
        let mut reported = self.0.lock();
        for ((increment, reported), (_, _, value)) in increments.iter_mut().zip(reported.iter_mut()).zip(&counters) {
            *increment = value.saturating_sub(*reported);
            *reported = (*value).max(*reported);
        }
        // The recorder is code of the program.
        drop(reported);
        for ((name, reason, _), increment) in counters.into_iter().zip(increments) {
            let counter = match reason {
                Some(reason) => counter!(name, &[node(), ("reason", reason.to_owned())]),
                None => counter!(name, &[node()]),
            };
            counter.increment(increment);
        }
    }
}

/// Sets the gauges of a node that has left to 0.
pub(crate) fn left(node: &str) {
    let gauges = [
        "acceptor_cluster_connected",
        "acceptor_cluster_joined",
        "acceptor_cluster_lease_seconds",
        "acceptor_cluster_names",
        "acceptor_cluster_topics",
        "acceptor_cluster_watched_topics",
        "acceptor_cluster_queued_bytes",
        "acceptor_cluster_queued_messages",
        "acceptor_cluster_pending_requests",
    ];
    for name in gauges {
        gauge!(name, &[("node", node.to_owned())]).set(0.0);
    }
}
