//! Who is in a topic, on all nodes: in pages, or as a stream of changes.
//!
//! ```text
//! one node                                        another node
//! Observer ──▶ Published ── changes ──▶ NATS ──▶ Follower ──▶ WatchedSet ──▶ PresenceWatch
//!                  ▲          requests: watch, page  │
//!                  └───────────────────────────────◀─┘
//! ```

mod asking;
mod follow;
mod pages;
mod published;
mod watch;
mod watchers;
mod wire;

use std::sync::Arc;

use actix_acceptor::ConnectionId;

use crate::direct::Life;

pub(crate) use asking::RecentNodes;
pub use pages::{Cursor, PresencePage};
pub(crate) use published::{publish, Published};
pub use watch::{PresenceChange, PresenceWatch, WatchError};
pub(crate) use watchers::Watchers;

/// The longest label that other nodes get, in bytes. Longer ones are cut.
pub(crate) const MAX_LABEL: usize = 1_024;

/// A member of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Member {
    /// The node of the connection.
    pub node: Arc<str>,
    /// The run of the node: its ids are unique in it only.
    pub(crate) life: Life,
    /// The id of the connection on its node.
    pub id: ConnectionId,
    /// The label of the connection, cut after 1,024 bytes if it is longer.
    pub label: Option<String>,
}
