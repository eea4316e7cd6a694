//! What happens when NATS is away, silent, slow or restarted.

mod ending;
mod load;
mod logs;
mod loss;
mod minute;
mod presence;
pub(crate) mod proxy;
mod queue;
mod servers;
mod start;
mod store;
mod twins;

use std::time::Duration;

use actix_acceptor_cluster::{Cluster, ClusterBuilder, NodeState};
use support::in_time;

use crate::nodes::Node;

/// A node that notices a silent server after this time.
pub(crate) const SOON: Duration = Duration::from_millis(1_500);

/// A lease that a busy machine does not lose.
const LONG: Duration = Duration::from_secs(10);

pub(crate) fn nats(url: &str) -> ClusterBuilder {
    let limit = Duration::from_secs(5);
    Cluster::nats(url).prefix("test").ttl(LONG).connect_timeout(limit).request_timeout(limit)
}

pub(crate) async fn reached(node: &Node, state: NodeState) {
    in_time(node.cluster.reached(state)).await.unwrap();
}
