//! Follows which topics have members on this node.

use std::sync::Weak;

use actix_acceptor::telemetry::{Observer, PoolEvent};

use crate::subscriptions::Subscriptions;

pub(crate) struct Follow(pub(crate) Weak<Subscriptions>);

impl Observer for Follow {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        if let PoolEvent::TopicJoined { topic, .. } | PoolEvent::TopicLeft { topic, .. } = event
            && let Some(subscriptions) = self.0.upgrade()
        {
            subscriptions.changed(topic);
        }
    }
}
