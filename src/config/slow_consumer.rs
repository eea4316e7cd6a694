//! What happens when a peer does not read what others send to it.

/// What happens when a connection's outbox has no room for a reply, because the peer reads too slowly.
///
/// A reply that is larger than the whole outbox is left out and counted with either value; the connection stays open.
///
/// Default: [`SlowConsumer::Close`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SlowConsumer {
    /// The connection ends at once with [`Closed::SlowConsumer`](crate::Closed::SlowConsumer). Unsent bytes are lost.
    #[default]
    Close,
    /// The new reply is left out and counted in [`ConnectionInfo::dropped`](crate::ConnectionInfo::dropped) and
    /// [`PoolInfo::dropped`](crate::info::PoolInfo::dropped). The replies before it stay queued.
    DropNewest,
}
