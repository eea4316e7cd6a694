//! The information that a pool reports: counters, acceptors, listeners, and the result of a drain.
//!
//! Their format with feature `serde` is described at [`info`](crate::info).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::{Rate, SuspendMode};
use crate::listener::ListenerOptions;
use crate::net::Address;
use crate::telemetry::{CloseReason, Counts, HandshakeFailure, RefusalReason};

/// The state of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Status {
    /// Accepting connections.
    Running,
    /// Not accepting until it is resumed. Live connections stay open.
    Suspended(SuspendMode),
    /// Stopping: see [`Pool::drain`](crate::Pool::drain).
    Draining,
    /// Stopped.
    Ended,
}

#[cfg(all(unix, feature = "sd-notify"))]
impl<A> super::Pool<A> {
    /// A receiver of the state, which has seen the current one.
    pub(crate) fn status_changes(&self) -> tokio::sync::watch::Receiver<Status> {
        self.shared.status_changes()
    }
}

/// Counters and state of a pool.
///
/// Consistent per acceptor: accepted = refused + connections + closed.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct PoolInfo {
    /// The state of the pool.
    pub status: Status,
    /// Live connections, including those that are [exempt](crate::Pool::exempt).
    pub connections: u64,
    /// The connection limit in force. It is below the setting if the limit of open files allows fewer.
    pub max_connections: usize,
    /// Peers accepted so far, including those refused after accept.
    pub accepted: u64,
    /// Peers refused so far, by reason.
    pub refused: Counts<RefusalReason>,
    /// Connections closed so far, by reason.
    pub closed: Counts<CloseReason>,
    /// Failures of `accept` so far, and of acceptors to open a listener. Errors that concern one peer are not counted.
    pub accept_errors: u64,
    /// Peers that are held: at the limit ([`AtLimit::Hold`](crate::limits::AtLimit::Hold)), above a rate
    /// ([`AtRate::Hold`](crate::limits::AtRate::Hold)), or by the overload hook. Not yet counted as accepted.
    pub held: usize,
    /// Acceptors that wait at a connection limit, with [`AtLimit::Wait`](crate::limits::AtLimit::Wait). New peers of their
    /// listeners wait in the kernel's queue.
    pub waiting_acceptors: usize,
    /// Handshakes that failed so far, by kind: TLS, PROXY headers and user-defined steps. The sum is the number of connections
    /// closed with [`CloseReason::Handshake`].
    pub handshake_failures: Counts<HandshakeFailure>,
    /// Handshakes in progress, at most [`max_handshakes`](crate::Builder::max_handshakes). A handshake that waits for the first
    /// byte of its peer is not counted.
    pub handshakes: usize,
    /// Bytes received so far by all connections, including closed ones.
    pub bytes_in: u64,
    /// Bytes sent so far by all connections, including closed ones.
    pub bytes_out: u64,
    /// Packets delivered so far to callbacks, including those of closed connections.
    pub packets: u64,
    /// Bytes that are queued for all live connections and not yet handed to the kernel: the sum of
    /// [`ConnectionInfo::unsent`](crate::ConnectionInfo::unsent).
    pub unsent: u64,
    /// How often an arbiter was blocked for longer than the limit of the [`watchdog`](crate::Builder::watchdog).
    pub blocked: u64,
    /// Closures of [`Conn::blocking`](crate::Conn::blocking) that run now, including those whose connection has ended.
    pub blocking_running: usize,
    /// Closures of [`Conn::blocking`](crate::Conn::blocking) in the queue, because
    /// [`max_blocking`](crate::Builder::max_blocking) others run.
    pub blocking_queued: usize,
    /// The number of replies that were left out so far because an outbox had no room for them.
    pub dropped: u64,
    /// The earliest expiry of the certificates that the listeners present. For one listener, see
    /// [`ListenerInfo::certificate_expires`].
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub certificate_expires: Option<SystemTime>,
    /// The acceptor slots in use.
    pub acceptors: Vec<AcceptorInfo>,
}

/// One acceptor slot of a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct AcceptorInfo {
    /// The slot's number, counted from 0. A restarted acceptor keeps it.
    pub id: usize,
    /// Live connections on the slot's arbiter.
    pub connections: u64,
    /// How often the acceptor was restarted.
    pub restarts: u64,
}

/// One listener of a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ListenerInfo {
    /// Its name, as reported by its connections.
    pub name: Arc<str>,
    /// The address it is bound to.
    pub address: Address,
    /// Live connections accepted by it, without those that are [exempt](crate::Pool::exempt).
    pub connections: usize,
    /// Its own connection limit, in addition to the pool's.
    pub max_connections: Option<usize>,
    /// Whether its acceptors wait at its connection limit or the pool's, or have done so within the last second. With other
    /// policies than [`AtLimit::Wait`](crate::limits::AtLimit::Wait) it is always `false`: see
    /// [there](crate::limits::AtLimit#signs) for their signs.
    pub is_at_limit: bool,
    /// Its own rate of new connections, in addition to the pool's.
    pub accept_rate: Option<Rate>,
    /// The options of its socket that are in force.
    pub options: ListenerOptions,
    /// Whether its peers use TLS from the first packet on.
    pub tls: bool,
    /// The earliest expiry of the certificates it presents. `None` without TLS, or if the TLS backend does not report it.
    #[cfg_attr(feature = "serde", serde(with = "humantime_serde"))]
    pub certificate_expires: Option<SystemTime>,
}

impl ListenerInfo {
    /// The address as a URL: `tls://127.0.0.1:7878` with TLS, else as [`Address::url`].
    pub fn url(&self) -> String {
        match (&self.address, self.tls) {
            (Address::Tcp(address), true) => format!("tls://{address}"),
            (address, _) => address.url(),
        }
    }
}

/// What [`Pool::set_listeners`](crate::Pool::set_listeners) changed, as the names of listeners. The default name of a
/// listener is its address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ListenersChanged {
    /// Listeners that were opened.
    pub added: Vec<String>,
    /// Listeners that were closed.
    pub removed: Vec<String>,
    /// Listeners that stayed open and got another name, limit, handshake or option. The names are the new ones.
    pub changed: Vec<String>,
    /// Listeners that stayed open as they were.
    pub unchanged: Vec<String>,
}

impl ListenersChanged {
    /// Whether nothing was opened, closed or changed.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// A drain in progress, as [`Pool::draining`](crate::Pool::draining) returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Draining {
    /// How long the pool will continue to accept: what is left of the [delay](crate::Drain::delay). Zero once it is over.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds"))]
    pub delay_left: Duration,
    /// The time until the connections that are left are ended, the delay included; zero once they are being ended. `None` if
    /// there is no limit. A later call of [`Pool::drain`](crate::Pool::drain) can shorten it. During the delay, and while
    /// the acceptors handle the kernel's queue, it is an estimate: the grace period begins when the connections are notified,
    /// which a blocked arbiter delays by up to 1 second.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::optional_seconds"))]
    pub time_left: Option<Duration>,
    /// The report so far.
    pub report: DrainReport,
}

/// The result of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DrainReport {
    /// Connections that were alive when all were notified. One that waits for a future is notified after the wait, if that
    /// ends before the deadline.
    pub asked: usize,
    /// Connections that ended by themselves before the deadline.
    pub finished: usize,
    /// Connections that were ended at the deadline.
    pub forced: usize,
    /// Peers refused because they were still held, or in the kernel's queue, when the listening sockets closed.
    pub unserved: usize,
    /// Connections closed since the drain started, by reason.
    pub closed: Counts<CloseReason>,
    /// The duration from the start of the drain to the end of the pool.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds"))]
    pub took: Duration,
}
