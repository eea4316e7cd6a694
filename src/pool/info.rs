//! What is told of a pool: in numbers, by listener, and at the end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::SuspendMode;
use crate::net::Address;
use crate::telemetry::{CloseReason, Counts, RefusalReason};

/// What a pool is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It takes peers.
    Running,
    /// It takes no new peers for now; connections go on.
    Suspended(SuspendMode),
    /// It is on its way out.
    Draining,
    /// It is over.
    Ended,
}

/// A pool in numbers, consistent per acceptor: accepted = refused + connections + closed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolInfo {
    /// What it is doing.
    pub status: Status,
    /// Live connections, those that are exempted included.
    pub connections: u64,
    /// The limit in force.
    pub max_connections: usize,
    /// Peers accepted so far, those refused afterwards included.
    pub accepted: u64,
    /// Peers refused so far, per reason.
    pub refused: Counts<RefusalReason>,
    /// Connections closed so far, per reason.
    pub closed: Counts<CloseReason>,
    /// Bytes received so far, over all connections, those already closed included.
    pub bytes_in: u64,
    /// Bytes sent so far.
    pub bytes_out: u64,
    /// How often an arbiter was blocked for longer than the [`watchdog`](crate::Builder::watchdog)'s limit.
    pub blocked: u64,
    /// When the first of the certificates that its listeners show expires; each listener tells
    /// [its own](ListenerInfo::certificate_expires).
    pub certificate_expires: Option<SystemTime>,
    /// Its acceptors.
    pub acceptors: Vec<AcceptorInfo>,
}

/// One place of a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AcceptorInfo {
    /// The place's number, counted from 0: the same for an acceptor and its successors.
    pub id: usize,
    /// Live connections on its arbiter.
    pub connections: u64,
    /// How often the acceptor was replaced.
    pub restarts: u64,
}

/// One listener of a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenerInfo {
    /// Its name, as its connections tell it.
    pub name: Arc<str>,
    /// What it is bound to.
    pub address: Address,
    /// Live connections that came by it and count.
    pub connections: usize,
    /// Its own limit, beside the pool's.
    pub max_connections: Option<usize>,
    /// Whether its peers speak TLS from the first packet on.
    pub tls: bool,
    /// When the first of the certificates that it shows expires; `None` without TLS, and where the back end does not tell.
    pub certificate_expires: Option<SystemTime>,
}

impl ListenerInfo {
    /// The address with its kind in front: `tls://127.0.0.1:7000` with TLS, else as [`Address::url`].
    pub fn url(&self) -> String {
        match (&self.address, self.tls) {
            (Address::Tcp(address), true) => format!("tls://{address}"),
            (address, _) => address.url(),
        }
    }
}

/// How the end of a pool went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Connections that were there to be told to shut down; one that waits for a future is told afterwards, if that is
    /// before the deadline.
    pub asked: usize,
    /// Those that ended by themselves before the deadline.
    pub finished: usize,
    /// Those that were ended at the deadline.
    pub forced: usize,
    /// Peers that were held, or in the kernel's queue, when the ports closed, and were turned away.
    pub unserved: usize,
    /// Connections that ended since the drain began, per reason.
    pub closed: Counts<CloseReason>,
    /// How long it took, from the word to the end.
    pub took: Duration,
}
