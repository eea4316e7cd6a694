//! What nodes send each other about the members of topics.

use serde::{Deserialize, Serialize};

use crate::direct::Life;
use crate::incarnation::Incarnation;

/// What a node is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Page(PageRequest),
    /// Asks it to publish the changes of a topic for one TTL.
    Watch(String),
}

/// Asks for members of a topic.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PageRequest {
    pub(super) topic: String,
    /// The last one of the page before, and the run of the node that it is from: in another one, the members are listed from the
    /// start.
    pub(super) after: Option<(Life, u64)>,
    pub(super) limit: usize,
}

/// Ids and labels, ascending, and whether there are more.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PageOfNode {
    pub(super) life: Life,
    pub(super) members: Vec<(u64, Option<String>)>,
    pub(super) has_more: bool,
}

/// A point in the changes of a topic that a node publishes. The sequence is that of the last message; it begins again with each
/// epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) life: Life,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
}

impl Position {
    /// Whether both are of one epoch, so that their sequences can be compared.
    pub(super) fn is_of(&self, other: &Position) -> bool {
        (self.life, self.epoch) == (other.life, other.epoch)
    }
}

/// The answer to [`Request::Watch`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Watching {
    /// For which the node has its lease.
    pub(super) incarnation: Option<Incarnation>,
    /// Members that are listed later have all changes up to here.
    pub(super) position: Position,
    /// How many members there are.
    pub(super) members: usize,
}

/// A message of a node about a watched topic.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Changes {
    pub(super) node: String,
    /// That of this message.
    pub(super) position: Position,
    pub(super) members: Vec<(u64, MemberState)>,
}

/// What a connection is, when the message is made. It may have been so before.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum MemberState {
    Gone,
    Member(Option<String>),
}
