//! What happens when NATS is away, silent, slow or restarted.

mod load;
mod loss;
mod proxy;
mod queue;
mod servers;
mod start;

use std::time::Duration;

use actix_acceptor_cluster::{Cluster, ClusterBuilder, NodeState};
use support::in_time;

use crate::nodes::{Node, TTL};

/// A node that notices a silent server soon.
pub(crate) fn nats(url: &str) -> ClusterBuilder {
    let (soon, later) = (Duration::from_millis(300), Duration::from_secs(2));
    Cluster::nats(url).prefix("test").ttl(TTL).server_timeout(soon).connect_timeout(later).request_timeout(later)
}

pub(crate) async fn reached(node: &Node, state: NodeState) {
    in_time(node.cluster.reached(state)).await;
}
