//! What happens when a peer does not read what others send to it.

/// What happens to a reply that does not fit into a connection's outbox, because the peer reads too slowly.
///
/// Default: [`SlowConsumer::Close`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SlowConsumer {
    /// The connection ends at once with [`Closed::SlowConsumer`](crate::Closed::SlowConsumer). Unsent bytes are lost.
    #[default]
    Close,
    /// The new reply is left out and counted; the replies before it stay queued.
    DropNewest,
}
