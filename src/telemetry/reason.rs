//! Why a connection closed, as a label.

use std::fmt;

use super::counts::{sealed, Label};

/// Why a connection closed: the label of a [`Closed`](crate::Closed), without the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum CloseReason {
    /// The program closed it gracefully: `Next::Stop`, `Close`, `Pool::close`, or an async fn that returned.
    Local,
    /// The peer left: FIN, RST, or a write to a closed socket.
    Peer,
    /// The peer was silent for as long as the idle timeout.
    Idle,
    /// A packet was started and not completed within the packet timeout.
    PacketTimeout,
    /// The peer accepted no bytes for as long as the send timeout.
    SendTimeout,
    /// A packet was longer than allowed.
    TooLong,
    /// The peer sent more packets than the packet rate allows.
    PacketRate,
    /// The connection reached its maximum age.
    MaxAge,
    /// The PROXY header or the TLS handshake failed or timed out.
    Handshake,
    /// The peer left a TLS connection without `close_notify`: its data may be incomplete.
    Truncated,
    /// An I/O error, a codec error, or an error returned by a callback.
    Error,
    /// A callback panicked.
    Panic,
    /// The connection ended after the pool notified it of the shutdown.
    Shutdown,
    /// Its outbox was full, because the peer reads too slowly.
    SlowConsumer,
    /// Another connection took over its name.
    Replaced,
    /// The program took the connection out of the pool: `Next::detach`, or `Socket::into_inner`.
    Detached,
    /// Ended from outside: by `Pool::kill`, at the deadline of a drain, or because its arbiter stopped.
    Killed,
}

const ALL: [CloseReason; 17] = [
    CloseReason::Local,
    CloseReason::Peer,
    CloseReason::Idle,
    CloseReason::PacketTimeout,
    CloseReason::SendTimeout,
    CloseReason::TooLong,
    CloseReason::PacketRate,
    CloseReason::MaxAge,
    CloseReason::Handshake,
    CloseReason::Truncated,
    CloseReason::Error,
    CloseReason::Panic,
    CloseReason::Shutdown,
    CloseReason::SlowConsumer,
    CloseReason::Replaced,
    CloseReason::Detached,
    CloseReason::Killed,
];

impl CloseReason {
    /// Every reason, in the order of declaration.
    pub const ALL: &'static [CloseReason] = &ALL;

    /// The reason in snake case, as logs and metrics show it.
    ///
    /// ```
    /// assert_eq!(actix_acceptor::telemetry::CloseReason::PacketTimeout.name(), "packet_timeout");
    /// assert_eq!(actix_acceptor::telemetry::CloseReason::Peer.to_string(), "peer");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            CloseReason::Local => "local",
            CloseReason::Peer => "peer",
            CloseReason::Idle => "idle",
            CloseReason::PacketTimeout => "packet_timeout",
            CloseReason::SendTimeout => "send_timeout",
            CloseReason::TooLong => "too_long",
            CloseReason::PacketRate => "packet_rate",
            CloseReason::MaxAge => "max_age",
            CloseReason::Handshake => "handshake",
            CloseReason::Truncated => "truncated",
            CloseReason::Error => "error",
            CloseReason::Panic => "panic",
            CloseReason::Shutdown => "shutdown",
            CloseReason::SlowConsumer => "slow_consumer",
            CloseReason::Replaced => "replaced",
            CloseReason::Detached => "detached",
            CloseReason::Killed => "killed",
        }
    }
}

impl Label for CloseReason {
    const ALL: &'static [Self] = &ALL;

    fn name(self) -> &'static str {
        CloseReason::name(self)
    }
}

impl fmt::Display for CloseReason {
    /// Writes the [`name`](CloseReason::name).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl sealed::Label for CloseReason {
    type Array = [u64; ALL.len()];

    fn index(self) -> usize {
        self as usize
    }
}
