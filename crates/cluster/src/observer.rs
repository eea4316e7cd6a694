//! Follows which topics have members on this node, and which connections end.

use std::sync::Weak;

use actix_acceptor::telemetry::{Observer, PoolEvent};

use crate::cluster::ClusterProtocol;
use crate::node::Node;
use crate::Format;

pub(crate) struct Follow<P: ClusterProtocol, F: Format>(pub(crate) Weak<Node<P, F>>);

impl<P: ClusterProtocol, F: Format> Observer for Follow<P, F> {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        let Some(node) = self.0.upgrade() else { return };
        match event {
            PoolEvent::TopicJoined { id, topic } | PoolEvent::TopicLeft { id, topic } => {
                node.subscriptions.changed(topic);
                node.published.changed(topic, *id);
            }
            PoolEvent::ConnectionLabelled { id, .. } => node.published.labelled(*id),
            PoolEvent::ConnectionStopped { id, .. } => node.naming.ended(*id),
            _ => {}
        }
    }

    #[cfg(feature = "metrics")]
    fn wants_samples(&self) -> bool {
        true
    }

    #[cfg(feature = "metrics")]
    fn sample(&self, _: &str, _: &actix_acceptor::telemetry::PoolSample<'_>) {
        if let Some(node) = self.0.upgrade() {
            node.reported.report(&node.info());
        }
    }
}
