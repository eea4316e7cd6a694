//! Errors.

use actix_acceptor::BoxError;

/// A node could not be connected to its cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A setting is invalid.
    #[error("invalid setting {setting}: {why}")]
    InvalidSetting {
        /// The method of [`ClusterBuilder`](crate::ClusterBuilder).
        setting: &'static str,
        /// What is invalid, and what is allowed.
        why: String,
    },
    /// No server can be reached.
    #[error("cannot connect to NATS at {servers}: {source}; start nats-server, or let the node start alone with `start_alone`")]
    Unreachable {
        /// The addresses.
        servers: String,
        /// The error of the last attempt.
        source: BoxError,
    },
    /// The server cannot be used as the cluster needs it.
    #[error("NATS at {servers} cannot be used: {source}")]
    Unusable {
        /// The addresses.
        servers: String,
        /// What is missing.
        source: BoxError,
    },
}

/// Why a message was not passed on to other nodes. Members of this node are not affected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// There is no connection to NATS at the moment.
    #[error("no connection to NATS")]
    Disconnected,
    /// Messages are sent faster than NATS takes them.
    #[error("{queued} bytes are waiting to be sent to NATS, and {limit} are allowed; see `ClusterBuilder::queue`")]
    Full {
        /// The bytes that wait.
        queued: usize,
        /// The limit.
        limit: usize,
    },
    /// The message is larger than the server allows.
    #[error("the message has {size} bytes, and the server takes {limit} (`max_payload`)")]
    TooLarge {
        /// The size of the message.
        size: usize,
        /// The limit of the server.
        limit: usize,
    },
    /// The name of the topic is too long.
    #[error("the name has {length} bytes when it is written as a subject, and {limit} are allowed")]
    NameTooLong {
        /// The length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The message cannot be written in the format of the cluster.
    #[error("cannot encode the message: {0}")]
    Format(#[source] BoxError),
}
