//! What happens to peers while a pool is suspended.

/// What happens to new peers while a pool is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum SuspendMode {
    /// The listening sockets are closed, and the kernel refuses new peers. Peers that were in its queue before are served.
    Close,
    /// The listening sockets stay open, but no peer is accepted. New peers wait in the kernel's queue, up to the backlog.
    Hold,
}
