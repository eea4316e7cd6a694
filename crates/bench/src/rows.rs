//! The rows of the table: the work, the baselines, and the highest cost allowed.

use std::io;

use crate::callgrind::Callgrind;
use crate::load::{self, Load};
use crate::measure::{self, Contestant, Ratio};
use crate::operator::Call;
use crate::process::{self, Process};
use crate::servers::{Server, Wire};
use crate::table;
use crate::tls::Backend;

struct Row {
    name: &'static str,
    what: &'static str,
    work: Work,
    ours: Server,
    against: &'static [Baseline],
}

/// A baseline and the highest ratio allowed. `None`: for comparison only.
type Baseline = (Server, Option<f64>);

#[derive(Clone, Copy)]
enum Work {
    /// CPU per message with `in_flight` unanswered messages on each of 64 connections.
    Echo { in_flight: usize },
    /// CPU per short connection: connect, echo once, close.
    Short,
    /// Memory per idle connection that has echoed once. `bar` limits it in bytes, besides the ratio.
    Memory { connections: usize, bar: Option<f64> },
    /// The time of a call to a pool with that many connections, and the longest time allowed in nanoseconds.
    Call { call: Call, connections: usize, bar: f64 },
    /// Instructions in user space per message, with `in_flight` messages sent at once on each of 64 connections.
    Instructions { in_flight: usize },
}

const RAW: Wire = Wire::Raw;
const PACKETS: Wire = Wire::Packets;
const RUSTLS: Backend = Backend::Rustls;
const NATIVE: Backend = Backend::Native;

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
        work: Work::Memory { connections: IDLE, bar: Some(1300.0) },
        ours: Server::AllOn,
        against: &[(Server::Ours(RAW), None)],
    },
    Row {
        name: "memory",
        what: "resident memory per idle connection",
        work: Work::Memory { connections: IDLE, bar: Some(1300.0) },
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
        what: "time of `Pool::find` among 18,000 connections",
        work: Work::Call { call: Call::Find, connections: 18_000, bar: 1e3 },
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

const CONNECTIONS: usize = 64;
const IDLE: usize = 19_000;
const IDLE_SECURE: usize = 4_000;

/// Measures and prints the rows whose name contains one of `wanted`, or all rows if `wanted` is empty.
pub(crate) fn run(wanted: &[&str], quick: bool) -> io::Result<()> {
    let cores = process::cores();
    process::pin(cores.map(|(_, load)| load));
    let bench = Bench {
        rounds: if quick { 7 } else { 41 },
        core: cores.map(|(server, _)| server),
        descriptors: process::raise_descriptors()?,
    };
    if cores.is_none() {
        println!("note: server and load share one core");
    }
    table::head();
    let chosen = |row: &&Row| wanted.is_empty() || wanted.iter().any(|part| row.name.contains(part));
    for row in ROWS.iter().filter(chosen) {
        table::title(row.name, row.what);
        if let Err(error) = bench.row(row) {
            println!("  not measured: {error}");
        }
    }
    Ok(())
}

struct Bench {
    rounds: usize,
    core: Option<usize>,
    descriptors: usize,
}

impl Bench {
    fn row(&self, row: &Row) -> io::Result<()> {
        match row.work {
            Work::Echo { in_flight } => self.cpu(row, |server, process| {
                let mut load = Load::connect(process.place(), CONNECTIONS, server.wire().burst(64, in_flight))?;
                let turns = if in_flight == 1 { 60 } else { 50 };
                Ok(Box::new(move || {
                    load.turns(turns)?;
                    Ok(turns * CONNECTIONS * in_flight)
                }))
            }),
            Work::Short => self.cpu(row, |server, process| {
                let (place, burst) = (process.place(), server.wire().burst(64, 1));
                Ok(Box::new(move || load::short(place, burst.clone(), 480)))
            }),
            Work::Memory { connections, bar } => self.memory(row, connections, bar),
            Work::Call { call, connections, bar } => self.call(row, call, connections, bar),
            Work::Instructions { in_flight } => instructions(row, in_flight),
        }
    }

    fn cpu(&self, row: &Row, work: impl Fn(Server, &Process) -> io::Result<measure::Slice>) -> io::Result<()> {
        let contestant = |server: Server| {
            let process = Process::start(server, self.core)?;
            let slice = work(server, &process)?;
            Ok(Contestant::new(process, slice))
        };
        let servers = std::iter::once(row.ours).chain(row.against.iter().map(|(server, _)| *server));
        let mut contestants = servers.map(contestant).collect::<io::Result<Vec<_>>>()?;
        measure::interleave(&mut contestants, self.rounds)?;
        let [ours, theirs @ ..] = contestants.as_slice() else {
            return Ok(());
        };
        for ((server, bar), theirs) in row.against.iter().zip(theirs) {
            table::ratio(*server, &Ratio::between(ours, theirs), *bar);
        }
        Ok(())
    }

    fn call(&self, row: &Row, call: Call, connections: usize, bar: f64) -> io::Result<()> {
        let mut process = Process::start(row.ours, None)?;
        let _idle = Load::connect(process.place(), connections, row.ours.wire().burst(64, 1))?;
        let answer = process.ask(call.name())?;
        let took = answer.trim().parse().map_err(|_| io::Error::other("the server ended before it answered"))?;
        table::time(row.ours, took, bar);
        Ok(())
    }

    fn memory(&self, row: &Row, connections: usize, bar: Option<f64>) -> io::Result<()> {
        // 600: the other descriptors of both processes.
        let count = connections.min(self.descriptors.saturating_sub(600));
        if count < connections {
            println!("  note: only {count} connections: the descriptor limit allows no more");
        }
        let per_connection = |server: Server| {
            let process = Process::start(server, self.core)?;
            let open = |count| Load::connect(process.place(), count, server.wire().burst(64, 1));
            let _warm = open(100)?;
            let before = process.settled_resident()?;
            let _idle = open(count)?;
            let grown = process.settled_resident()?.saturating_sub(before);
            io::Result::Ok(grown as f64 / count as f64)
        };
        let ours = per_connection(row.ours)?;
        for (server, ratio_bar) in row.against {
            table::bytes(*server, per_connection(*server)?, ours, bar, *ratio_bar);
        }
        Ok(())
    }
}

fn instructions(row: &Row, in_flight: usize) -> io::Result<()> {
    let Some(callgrind) = Callgrind::find()? else {
        println!("  not measured: valgrind is not installed");
        return Ok(());
    };
    let ours = callgrind.per_message(row.ours, CONNECTIONS, in_flight)?;
    for (server, bar) in row.against {
        let theirs = callgrind.per_message(*server, CONNECTIONS, in_flight)?;
        table::instructions(*server, theirs, ours, *bar);
    }
    Ok(())
}
