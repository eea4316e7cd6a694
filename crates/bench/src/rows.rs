//! The rows of the table: the work, the baselines, and the highest cost allowed.

use crate::cluster::Measure;
use crate::operator::Call;
use crate::servers::{Server, Wire};
use crate::tls::Backend;

mod cluster;
mod dashboard;
mod messaging;
mod shared;

pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) work: Work,
    pub(crate) ours: Server,
    pub(crate) against: &'static [Baseline],
}

/// A baseline and the highest ratio allowed. `None`: for comparison only.
pub(crate) type Baseline = (Server, Option<f64>);

#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// CPU per message with `in_flight` unanswered messages on each of 64 connections.
    Echo { in_flight: usize },
    /// CPU per short connection: connect, echo once, close.
    Short,
    /// Memory per idle connection that has echoed once. `bar` limits it in bytes, besides the ratio.
    Memory { connections: usize, bar: Option<f64> },
    /// The time of a call to a pool with that many connections, and the longest time allowed in nanoseconds.
    Call { call: Call, connections: usize, bar: f64 },
    /// The same for few and for many connections. `ratio` limits the time of as many look-ups among the many, against the
    /// time among the few.
    Constant { call: Call, few: usize, many: usize, bar: f64, ratio: f64 },
    /// Instructions in user space per message, with `in_flight` messages sent at once on each of 64 connections.
    Instructions { in_flight: usize },
    /// CPU per line and member, if one client publishes `lines` lines in one write.
    Fanout { members: usize, lines: usize },
    /// How that cost for one line grows from few to many members. `bar` limits our growth against theirs.
    Growth { few: usize, many: usize, bar: f64 },
    /// The times that an event loop is woken by one line that another thread publishes.
    Wakes { members: usize, bar: f64 },
    /// The time within which 99 of 100 echoes are answered during a storm, and the longest time allowed in nanoseconds.
    Storm { members: usize, bar: f64 },
    /// Resident memory per member that never reads, if lines of `len` bytes are published.
    Stalled { members: usize, len: usize, bar: f64 },
    /// Resident memory per membership of an idle connection.
    Membership { connections: usize, bar: f64 },
    /// CPU of a server that answers `packets` a second, with a dashboard and with a viewer. `bar` limits the ratio.
    Dashboard { connections: usize, packets: usize, bar: f64 },
    /// What a cluster of nodes costs.
    Cluster(Measure),
}

const RAW: Wire = Wire::Raw;
const PACKETS: Wire = Wire::Packets;
const RUSTLS: Backend = Backend::Rustls;
const NATIVE: Backend = Backend::Native;

/// Every row, in the order of the table.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(messaging::ROWS).chain(shared::ROWS).chain(cluster::ROWS).chain(dashboard::ROWS)
}

const ROWS: &[Row] = &[
    Row {
        name: "echo-1",
        what: "CPU per 64 B message, 64 connections, 1 in flight on each",
        work: Work::Echo { in_flight: 1 },
        ours: Server::Ours(RAW),
        against: &[(Server::Tokio, Some(1.05)), (Server::Idiom(RAW), None)],
    },
    Row {
        name: "echo-16",
        what: "the same, 16 in flight",
        work: Work::Echo { in_flight: 16 },
        ours: Server::Ours(RAW),
        against: &[(Server::Tokio, None), (Server::Idiom(RAW), None)],
    },
    Row {
        name: "packets-1",
        what: "CPU per 64 B packet with a length prefix of 2 bytes, 64 connections, 1 in flight on each",
        work: Work::Echo { in_flight: 1 },
        ours: Server::Ours(PACKETS),
        against: &[(Server::Framed, None), (Server::Idiom(PACKETS), None)],
    },
    Row {
        name: "packets-16",
        what: "the same, 16 in flight",
        work: Work::Echo { in_flight: 16 },
        ours: Server::Ours(PACKETS),
        against: &[(Server::Framed, Some(0.80)), (Server::Idiom(PACKETS), None)],
    },
    Row {
        name: "short",
        what: "CPU per short connection: connect, echo 64 B, close",
        work: Work::Short,
        ours: Server::Ours(RAW),
        against: &[(Server::Tokio, Some(1.10)), (Server::Idiom(RAW), None)],
    },
    Row {
        name: "all-on-echo",
        what:
            "CPU per 64 B message, 64 connections, 1 in flight: every limit, alarm and observer switched on, against none",
        work: Work::Echo { in_flight: 1 },
        ours: Server::AllOn,
        against: &[(Server::Ours(RAW), None), (Server::Tokio, None)],
    },
    Row {
        name: "all-on-short",
        what: "the same per short connection",
        work: Work::Short,
        ours: Server::AllOn,
        against: &[(Server::Ours(RAW), None), (Server::Tokio, None)],
    },
    Row {
        name: "all-on-memory",
        what: "the same, resident memory per idle connection",
        work: Work::Memory { connections: IDLE, bar: Some(1050.0) },
        ours: Server::AllOn,
        against: &[(Server::Ours(RAW), None)],
    },
    Row {
        name: "memory",
        what: "resident memory per idle connection",
        work: Work::Memory { connections: IDLE, bar: Some(1050.0) },
        ours: Server::Ours(RAW),
        against: &[(Server::Tokio, None), (Server::Framed, None), (Server::Idiom(RAW), None)],
    },
    Row {
        name: "instructions-echo",
        what: "instructions in user space per 64 B message, 64 connections, 1 in flight on each",
        work: Work::Instructions { in_flight: 1 },
        ours: Server::Ours(RAW),
        against: &[(Server::Tokio, Some(1.50))],
    },
    Row {
        name: "instructions-packets",
        what: "the same per 64 B packet with a length prefix of 2 bytes, 16 in flight",
        work: Work::Instructions { in_flight: 16 },
        ours: Server::Ours(PACKETS),
        against: &[(Server::Framed, Some(0.45))],
    },
    Row {
        name: "tls-echo-rustls",
        what: "CPU per 64 B message with TLS by rustls, 64 connections, 1 in flight on each",
        work: Work::Echo { in_flight: 1 },
        ours: Server::OursTls(RUSTLS),
        against: &[(Server::TokioTls(RUSTLS), Some(1.05))],
    },
    Row {
        name: "tls-echo-native",
        what: "the same with native-tls",
        work: Work::Echo { in_flight: 1 },
        ours: Server::OursTls(NATIVE),
        against: &[(Server::TokioTls(NATIVE), Some(1.05))],
    },
    Row {
        name: "tls-handshake-rustls",
        what: "CPU per short connection with TLS by rustls: connect, full handshake, echo 64 B, close",
        work: Work::Short,
        ours: Server::OursTls(RUSTLS),
        against: &[(Server::TokioTls(RUSTLS), Some(1.05))],
    },
    Row {
        name: "tls-handshake-native",
        what: "the same with native-tls",
        work: Work::Short,
        ours: Server::OursTls(NATIVE),
        against: &[(Server::TokioTls(NATIVE), Some(1.05))],
    },
    Row {
        name: "tls-memory-rustls",
        what: "resident memory per idle connection with TLS by rustls",
        work: Work::Memory { connections: IDLE_SECURE, bar: None },
        ours: Server::OursTls(RUSTLS),
        against: &[(Server::TokioTls(RUSTLS), Some(1.00))],
    },
    Row {
        name: "tls-memory-native",
        what: "the same with native-tls",
        work: Work::Memory { connections: IDLE_SECURE, bar: None },
        ours: Server::OursTls(NATIVE),
        against: &[(Server::TokioTls(NATIVE), Some(1.00))],
    },
    Row {
        name: "tls-instructions-rustls",
        what: "instructions in user space per 64 B message with TLS by rustls, 64 connections, 1 in flight on each",
        work: Work::Instructions { in_flight: 1 },
        ours: Server::OursTls(RUSTLS),
        against: &[(Server::TokioTls(RUSTLS), Some(1.05))],
    },
    Row {
        name: "tls-instructions-native",
        what: "the same with native-tls",
        work: Work::Instructions { in_flight: 1 },
        ours: Server::OursTls(NATIVE),
        against: &[(Server::TokioTls(NATIVE), Some(1.05))],
    },
    Row {
        name: "find",
        what: "time of `Pool::find` among 10 and among 18,000 connections",
        work: Work::Constant { call: Call::Find, few: 10, many: 18_000, bar: 1e3, ratio: 1.5 },
        ours: Server::Operator,
        against: &[],
    },
    Row {
        name: "list",
        what: "time of `Pool::list` of 18,000 connections",
        work: Work::Call { call: Call::List, connections: 18_000, bar: 5e6 },
        ours: Server::Operator,
        against: &[],
    },
    Row {
        name: "notify_all",
        what: "time of `Pool::notify_all` to 18,000 connections",
        work: Work::Call { call: Call::NotifyAll, connections: 18_000, bar: 5e6 },
        ours: Server::Operator,
        against: &[],
    },
    Row {
        name: "drain",
        what: "time of `Pool::drain` of 16,000 connections",
        work: Work::Call { call: Call::Drain, connections: 0, bar: 50e6 },
        ours: Server::Operator,
        against: &[],
    },
];

const IDLE: usize = 19_000;
const IDLE_SECURE: usize = 4_000;
