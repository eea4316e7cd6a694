//! [`NodeState`].

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::cluster::ClusterProtocol;
use crate::counters::Counters;
use crate::node::Node;
use crate::{Cluster, Format, RemoteError};

/// How far a node participates in its cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeState {
    /// The node is not connected to NATS, or has left the cluster: messages reach only members on this node, and names cannot be
    /// registered.
    #[default]
    Alone,
    /// The node is connected to NATS, so messages reach members on other nodes. It has no lease, so names cannot be registered, or
    /// it does not receive the messages or requests of other nodes yet.
    Connected,
    /// The node is connected, has its lease, receives messages from other nodes, and answers their requests.
    Joined,
}

impl<P: ClusterProtocol, F: Format> Cluster<P, F> {
    /// The state of this node.
    pub fn state(&self) -> NodeState {
        self.node.refresh_state()
    }

    /// Waits until the node has this state, for example for a readiness check: `cluster.reached(NodeState::Joined).await`.
    ///
    /// A node that is [`Joined`](NodeState::Joined) is [`Connected`](NodeState::Connected), too.
    ///
    /// # Errors
    /// [`RemoteError::Disconnected`]: the node has [left](Cluster::leave) the cluster, so it will never have the state.
    pub async fn reached(&self, state: NodeState) -> Result<(), RemoteError> {
        self.node.refresh_state();
        let has_reached = |current: &NodeState| match state {
            NodeState::Alone => *current == state,
            NodeState::Connected | NodeState::Joined => *current >= state,
        };
        let mut states = self.node.state.subscribe();
        if has_reached(&states.borrow()) {
            return Ok(());
        }
        // The watch cannot end: the node owns the sender.
        self.node.bus.unless_left(states.wait_for(has_reached)).await.map(drop)
    }
}

impl<P: ClusterProtocol, F: Format> Node<P, F> {
    pub(crate) fn refresh_state(&self) -> NodeState {
        let receives = || self.is_answering() && self.subscriptions.is_subscribed(*self.bus.link_state().borrow());
        let now = match (self.bus.is_connected(), self.naming.lease.incarnation()) {
            (false, _) => NodeState::Alone,
            (true, Some(_)) if receives() => NodeState::Joined,
            (true, _) => NodeState::Connected,
        };
        let mut before = now;
        self.state.send_if_modified(|state| {
            before = std::mem::replace(state, now);
            before != now
        });
        if before < now && now == NodeState::Joined {
            info!(node = &*self.name, "the node has joined the cluster");
        } else if before == NodeState::Joined && now == NodeState::Connected {
            warn!(
                node = &*self.name,
                "the node is no longer joined: it has no lease, or receives no messages or requests of other nodes"
            );
        }
        now
    }
}

/// Counts a request of another node that is under way, until it is dropped.
pub(crate) struct PendingRequest(Arc<Counters>);

impl PendingRequest {
    pub(crate) fn begin(counters: &Arc<Counters>) -> Self {
        counters.pending_requests.fetch_add(1, Relaxed);
        PendingRequest(counters.clone())
    }
}

impl Drop for PendingRequest {
    fn drop(&mut self) {
        self.0.pending_requests.fetch_sub(1, Relaxed);
        self.0.requests.fetch_add(1, Relaxed);
    }
}

pub(crate) type StateSender = watch::Sender<NodeState>;
