//! [`ClusterInfo`], the state and counters of a node.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::cluster::ClusterProtocol;
use crate::node::Node;
use crate::{Cluster, Format, NodeState};

/// The state and counters of a node. All counters begin at 0 when the node starts.
///
/// With the feature `metrics`, the same numbers go to the [`metrics`](https://docs.rs/metrics) facade, with the label `node`, once
/// a second on the arbiter of the pool. All series exist from the start; the gauges are 0 once the node has left.
///
/// | name | kind | labels beside `node` | meaning |
/// |---|---|---|---|
/// | `acceptor_cluster_connected` | gauge | | 1 while the node is connected to NATS, otherwise 0 |
/// | `acceptor_cluster_joined` | gauge | | 1 while its [state](ClusterInfo::state) is [`Joined`](NodeState::Joined), otherwise 0 |
/// | `acceptor_cluster_lease_seconds` | gauge | | how long the lease remains valid without another heartbeat |
/// | `acceptor_cluster_names` | gauge | | [`names`](ClusterInfo::names) |
/// | `acceptor_cluster_topics` | gauge | | [`topics`](ClusterInfo::topics) |
/// | `acceptor_cluster_watched_topics` | gauge | | [`watched_topics`](ClusterInfo::watched_topics) |
/// | `acceptor_cluster_queued_bytes` | gauge | | [`queued_bytes`](ClusterInfo::queued_bytes) |
/// | `acceptor_cluster_queued_messages` | gauge | | [`queued_messages`](ClusterInfo::queued_messages) |
/// | `acceptor_cluster_pending_requests` | gauge | | [`pending_requests`](ClusterInfo::pending_requests) |
/// | `acceptor_cluster_reconnects_total` | counter | | [`reconnects`](ClusterInfo::reconnects) |
/// | `acceptor_cluster_published_total` | counter | | [`published`](ClusterInfo::published) |
/// | `acceptor_cluster_received_total` | counter | | [`received`](ClusterInfo::received) |
/// | `acceptor_cluster_requests_total` | counter | | [`requests`](ClusterInfo::requests) |
/// | `acceptor_cluster_dropped_total` | counter | `reason` | [`dropped`](ClusterInfo::dropped), by the names of its fields |
/// | `acceptor_cluster_refused_total` | counter | `reason` | [`refused`](ClusterInfo::refused), by the names of its fields |
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ClusterInfo {
    /// The name of the node.
    pub node: String,
    /// How far the node participates in its cluster.
    pub state: NodeState,
    /// The configured servers, without user names and passwords. Empty without NATS.
    pub servers: String,
    /// The server that the node is connected to: its name, host and port.
    pub server: Option<String>,
    /// When the connection was established, or when it was lost if there is none. `None` before the first connection, and without
    /// NATS.
    pub since: Option<SystemTime>,
    /// How often the node has reconnected.
    pub reconnects: u64,
    /// The last error of the server, or of an attempt to connect.
    pub last_error: Option<String>,
    /// How long the lease remains valid if it is not renewed. `None` if the node has none.
    pub lease: Option<Duration>,
    /// The number of names that connections of this node have.
    pub names: usize,
    /// The number of topics for which this node receives messages, as confirmed by the server. Topics for which the server has refused
    /// the subscription do not count; [`last_error`](ClusterInfo::last_error) says why.
    pub topics: usize,
    /// The number of topics whose membership changes this node reports to [watches](crate::ClusterTopic::watch), on this node or
    /// others.
    pub watched_topics: usize,
    /// The bytes that wait to be sent to NATS.
    pub queued_bytes: usize,
    /// The messages that wait to be sent to NATS.
    pub queued_messages: usize,
    /// The messages that were accepted for other nodes.
    pub published: u64,
    /// The messages received from other nodes.
    pub received: u64,
    /// The messages that did not reach other nodes, or members of this one.
    pub dropped: Dropped,
    /// The messages and requests from other nodes that could not be handled.
    pub refused: Refusals,
    /// The requests from other nodes that were answered.
    pub requests: u64,
    /// The requests from other nodes in progress.
    pub pending_requests: usize,
}

/// The messages that were accepted but did not arrive, or may not have arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Dropped {
    /// They waited for longer than [`queue_timeout`](crate::ClusterBuilder::queue_timeout).
    pub expired: u64,
    /// The server did not take them: the permissions of the node do not allow their subject, or the limit of the server for messages
    /// is lower than when they were accepted. Or the node left the cluster before they were sent.
    pub failed: u64,
    /// They were sent, but the connection was lost before the server confirmed them. They may have arrived.
    pub unconfirmed: u64,
    /// They arrived on this node faster than they were handled, and there was no room in the
    /// [`queue`](crate::ClusterBuilder::queue).
    pub overflowed: u64,
}

/// The messages and requests from other nodes that could not be handled, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Refusals {
    /// Their version is unknown to this node.
    pub unknown_version: u64,
    /// Their kind is unknown to this node.
    pub unknown_kind: u64,
    /// They are not in the format of the cluster.
    pub unreadable: u64,
    /// Reading or handling them panicked.
    pub panicked: u64,
}

impl Refusals {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.unknown_version + self.unknown_kind + self.unreadable + self.panicked
    }
}

/// What the connection to the others knows of itself.
#[derive(Debug, Default)]
pub(crate) struct LinkInfo {
    pub(crate) servers: String,
    pub(crate) server: Option<String>,
    pub(crate) since: Option<SystemTime>,
    pub(crate) connects: u64,
    pub(crate) last_error: Option<String>,
    pub(crate) queued: (usize, usize),
}

impl<P: ClusterProtocol, F: Format> Cluster<P, F> {
    /// The state and counters of this node.
    pub fn info(&self) -> ClusterInfo {
        self.node.info()
    }
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    pub(crate) fn info(&self) -> ClusterInfo {
        let LinkInfo { servers, server, since, connects, last_error, queued } = self.bus.link_info();
        let counters = &self.bus.counters;
        ClusterInfo {
            node: self.name.to_string(),
            state: self.refresh_state(),
            servers,
            server,
            since,
            reconnects: connects.saturating_sub(1),
            last_error,
            lease: self.naming.lease.time_left(),
            names: self.naming.owned(),
            topics: self.subscriptions.count(*self.bus.link_state().borrow()),
            watched_topics: self.published.watched(),
            queued_bytes: queued.0,
            queued_messages: queued.1,
            published: counters.published.load(Relaxed),
            received: counters.received.load(Relaxed),
            dropped: Dropped {
                expired: counters.expired.load(Relaxed),
                failed: counters.failed.load(Relaxed),
                unconfirmed: counters.unconfirmed.load(Relaxed),
                overflowed: counters.overflowed.load(Relaxed),
            },
            refused: self.refusals.counts(),
            requests: counters.requests.load(Relaxed),
            pending_requests: counters.pending_requests.load(Relaxed),
        }
    }
}
