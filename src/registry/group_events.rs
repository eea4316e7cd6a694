//! The events about topics and names.

use super::{GroupChange, Registry};
use crate::telemetry::{ConnectionId, PoolEvent};

impl Registry {
    /// Reports to the observers what a connection of this registry has joined or left. Called outside of all locks.
    pub(crate) fn report_group(&self, id: ConnectionId, change: GroupChange<'_>) {
        self.shared().observers.emit(|| match change {
            GroupChange::Joined(topic) => PoolEvent::TopicJoined { id, topic },
            GroupChange::Left(topic) => PoolEvent::TopicLeft { id, topic },
            GroupChange::Registered(name) => PoolEvent::NameRegistered { id, name },
            GroupChange::Released(name) => PoolEvent::NameReleased { id, name },
        });
    }
}
