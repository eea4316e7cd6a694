//! What an error of `accept` concerns.

/// What an error of `accept` concerns, which determines what the acceptor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AcceptErrorKind {
    /// One peer, which left before it was accepted (`ECONNABORTED`) or could not be reached. The acceptor accepts the next one.
    Connection,
    /// A resource of the machine or the process, such as descriptors or memory. The acceptor retries after a pause.
    Resource,
    /// The listener itself. The acceptor ends, and the pool replaces it within the restart limit.
    Listener,
}
