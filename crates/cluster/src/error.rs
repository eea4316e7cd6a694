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
    /// The thread for the connection to NATS could not be started.
    #[error("cannot start the thread of the node")]
    Thread(#[source] std::io::Error),
    /// No server could be reached, or none answered within [`connect_timeout`](crate::ClusterBuilder::connect_timeout).
    #[error("cannot connect to NATS at {servers} (start nats-server, pass another URL, or let the node start alone with `start_alone`)")]
    Unreachable {
        /// The addresses.
        servers: String,
        /// The error of the last attempt.
        source: BoxError,
    },
    /// The server does not accept the token, the user or the credentials, or needs one of them.
    #[error(
        "NATS at {servers} did not authorize the node (see `token`, `user` and `credentials_file` of `ClusterBuilder`)"
    )]
    Unauthorized {
        /// The addresses.
        servers: String,
        /// The error of the server.
        source: BoxError,
    },
    /// The TLS handshake failed: the server's certificate is not signed by a trusted authority, the server does not accept the
    /// certificate of the node, or it does not use TLS.
    #[error("the TLS handshake with NATS at {servers} failed (see `authorities` and `client_certificate` of `ClusterBuilder`)")]
    Tls {
        /// The addresses.
        servers: String,
        /// The error of the handshake.
        source: BoxError,
    },
    /// JetStream, which stores leases and names, is not enabled on the server.
    #[error(
        "JetStream is not enabled on NATS at {servers}; start the server with `nats-server --jetstream`, or enable JetStream \
         for the account of the nodes"
    )]
    NoJetStream {
        /// The addresses.
        servers: String,
        /// The error of the server.
        source: BoxError,
    },
    /// A bucket of the cluster was created with a different setting. All nodes must use the same one.
    #[error(
        "the bucket {bucket} has {found}, and this node has {configured}; set {setting} as on the other nodes, or stop all \
         nodes and remove the bucket with `nats kv del {bucket}`"
    )]
    Mismatch {
        /// The name of the bucket.
        bucket: String,
        /// The method of [`ClusterBuilder`](crate::ClusterBuilder).
        setting: &'static str,
        /// The value that the bucket has.
        found: String,
        /// The value of this node.
        configured: String,
    },
    /// Another process is already running as the node with this name.
    #[error("another process is already node {node:?} of this cluster; give each process a different name with `ClusterBuilder::node`")]
    NodeNameTaken {
        /// The name.
        node: String,
    },
    /// The server does not work as the cluster needs it to.
    #[error("NATS at {servers} cannot be used")]
    Unusable {
        /// The addresses.
        servers: String,
        /// The reason.
        source: BoxError,
    },
}

/// Why a name was not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// A connection has the name.
    #[error("the name belongs to a connection of node {node:?}")]
    Taken {
        /// The node of the connection.
        node: String,
    },
    /// Another connection has the name, and its node has neither given it up nor lost its lease.
    #[error("the name belongs to a connection of node {node:?}, which does not answer; try again")]
    Unresponsive {
        /// The node of the connection.
        node: String,
    },
    /// This node has no valid lease: it is not connected to NATS, has lost the lease, or has left the cluster.
    #[error("this node has no valid lease at the moment: it is not connected to NATS, has lost its lease, or has left the cluster")]
    Disconnected,
    /// Other nodes kept changing the name, so that no attempt succeeded.
    #[error("other nodes are registering this name at the same time; try again")]
    Contended,
    /// The connection has ended.
    #[error("the connection has ended")]
    Ended,
    /// The connection belongs to a pool other than the one that was given to [`connect`](crate::ClusterBuilder::connect).
    #[error("the connection belongs to a pool other than that of this node; connect its pool as a node of its own")]
    OtherPool,
    /// The name is too long.
    #[error("the name takes up {length} bytes, and {limit} are allowed; a byte other than an ASCII letter, a digit, `-` or `_` counts as 3")]
    NameTooLong {
        /// The length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The request to the server failed.
    #[error("the request to NATS failed")]
    Unavailable(#[source] BoxError),
}

/// Why a message did not reach a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// No connection has the name, or the connection or its node has ended. A node without a connection to NATS counts as ended
    /// when its lease has expired.
    #[error("there is no such connection")]
    NoOwner,
    /// There was no answer within the time limit. The message may have arrived.
    #[error("no answer within the time limit; see `ClusterBuilder::request_timeout`")]
    Timeout,
    /// This node or the other one has no connection to NATS, or this node has left the cluster. If that happened while waiting for
    /// the answer, the message may have arrived.
    #[error("no connection to NATS, or the node has left the cluster")]
    Disconnected,
    /// The message or its answer is larger than the server allows. The size includes what this crate adds.
    #[error("the message or its answer has {size} bytes, and NATS allows {limit} (`max_payload`)")]
    TooLarge {
        /// The size of the message or the answer.
        size: usize,
        /// The limit of the server.
        limit: usize,
    },
    /// The outbox or the mailbox of the connection is full.
    #[error("the outbox or the mailbox of the connection is full")]
    Full,
    /// The other node is already answering as many questions as it may: 1,024 at a time.
    #[error("node {node:?} is already answering as many questions as it may; try again")]
    Busy {
        /// The node.
        node: String,
    },
    /// The other node does not understand the message, or panicked while handling it.
    #[error("node {node:?} refused the message: {why}")]
    Refused {
        /// The node.
        node: String,
        /// Its reason.
        why: String,
    },
    /// The message or its answer cannot be written or read in the format of the cluster.
    #[error("cannot encode or decode the message")]
    Format(#[source] BoxError),
}

/// Why a message was not sent to other nodes. Delivery to members on this node is not affected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// There is no connection to NATS at the moment, or the node has left the cluster.
    #[error("no connection to NATS, or the node has left the cluster")]
    Disconnected,
    /// Messages are published faster than NATS accepts them.
    #[error("{queued} bytes are waiting to be sent to NATS, and {limit} are allowed; see `ClusterBuilder::queue`")]
    Full {
        /// The bytes that wait.
        queued: usize,
        /// The limit.
        limit: usize,
    },
    /// The message is larger than the server allows.
    #[error("the message has {size} bytes, and NATS allows {limit} (`max_payload`)")]
    TooLarge {
        /// The size of the message.
        size: usize,
        /// The limit of the server.
        limit: usize,
    },
    /// Messages that were accepted before may not have arrived: the connection was lost, they waited for too long, or the server
    /// refused them. Returned by the first [`flush`](crate::Cluster::flush) after the loss.
    #[error(
        "{messages} messages may not have arrived: the connection to NATS was lost, they waited for too long, or NATS \
         refused them; see `ClusterInfo`"
    )]
    Lost {
        /// Their number.
        messages: u64,
    },
    /// The name of the topic is too long.
    #[error("the name takes up {length} bytes in a NATS subject, and {limit} are allowed")]
    NameTooLong {
        /// The length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// The message cannot be written in the format of the cluster.
    #[error("cannot encode the message")]
    Format(#[source] BoxError),
}
