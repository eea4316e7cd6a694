//! Measures the rows and prints them.

use std::io;

use crate::callgrind::Callgrind;
use crate::load::{self, Load};
use crate::measure::{self, Contestant, Ratio};
use crate::operator::Call;
use crate::process::{self, Process};
use crate::rows::{self, Row, Work};
use crate::servers::Server;
use crate::table;

mod cluster;
mod dashboard;
mod messaging;

/// Connections that send messages at the same time.
const CONNECTIONS: usize = 64;

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
    for row in rows::all().filter(chosen) {
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
            Work::Echo { in_flight } => self.cpu(row, self.rounds, |server, process| {
                let mut load = Load::connect(process.place(), CONNECTIONS, server.wire().burst(64, in_flight))?;
                let turns = if in_flight == 1 { 60 } else { 50 };
                Ok(Box::new(move || {
                    load.turns(turns)?;
                    Ok(turns * CONNECTIONS * in_flight)
                }))
            }),
            Work::Short => self.cpu(row, self.rounds, |server, process| {
                let (place, burst) = (process.place(), server.wire().burst(64, 1));
                Ok(Box::new(move || load::short(place, burst.clone(), 480)))
            }),
            Work::Memory { connections, bar } => self.memory(row, connections, bar),
            Work::Call { call, connections, bar } => self.call(row, call, connections, bar),
            Work::Constant { call, few, many, bar, ratio } => self.constant(row, call, [few, many], bar, ratio),
            Work::Instructions { in_flight } => instructions(row, in_flight),
            Work::Fanout { members, lines } => self.fanout(row, members, lines),
            Work::Growth { few, many, bar } => self.growth(row, few, many, bar),
            Work::Wakes { members, bar } => self.wakes(row, members, bar),
            Work::Storm { members, bar } => self.storm(row, members, bar),
            Work::Stalled { members, len, bar } => self.stalled(row, members, len, bar),
            Work::Membership { connections, bar } => self.membership(row, connections, bar),
            Work::Dashboard { connections, packets, bar } => self.dashboard(row, connections, packets, bar),
            Work::Cluster(measure) => self.cluster(measure),
        }
    }

    fn cpu(
        &self,
        row: &Row,
        rounds: usize,
        work: impl Fn(Server, &Process) -> io::Result<measure::Slice>,
    ) -> io::Result<()> {
        let contestant = |server: Server| {
            let process = Process::start(server, self.core)?;
            let slice = work(server, &process)?;
            Ok(Contestant::new(process, slice))
        };
        let servers = std::iter::once(row.ours).chain(row.against.iter().map(|(server, _)| *server));
        let mut contestants = servers.map(contestant).collect::<io::Result<Vec<_>>>()?;
        measure::interleave(&mut contestants, rounds)?;
        let [ours, theirs @ ..] = contestants.as_slice() else {
            return Ok(());
        };
        for ((server, bar), theirs) in row.against.iter().zip(theirs) {
            table::ratio(*server, &Ratio::between(ours, theirs), *bar);
        }
        Ok(())
    }

    fn call(&self, row: &Row, call: Call, connections: usize, bar: f64) -> io::Result<()> {
        let mut pool = Operated::start(row.ours, connections)?;
        table::time(row.ours.label(), pool.time(call.name())?, bar);
        Ok(())
    }

    fn constant(&self, row: &Row, call: Call, [few, many]: [usize; 2], bar: f64, ratio: f64) -> io::Result<()> {
        let (name, many) = (call.name(), self.affordable(many));
        let all_of_few = Operated::start(row.ours, few)?.time(name)?;
        let mut pool = Operated::start(row.ours, many)?;
        let all_of_many = pool.time(name)?;
        // As many as in the small pool: what is looked up stays in the caches of the processor there, too.
        let few_of_many = pool.time(&format!("{name} {few}"))?;
        table::time(&format!("{few}"), all_of_few, bar);
        table::time(&format!("{many}"), all_of_many, bar);
        table::time(&format!("{few} of {many}"), few_of_many, bar);
        table::number("growth", few_of_many / all_of_few, ratio);
        Ok(())
    }

    /// The connections that this process has descriptors for, at most `wanted`.
    fn affordable(&self, wanted: usize) -> usize {
        // 600: the other descriptors of both processes.
        let count = wanted.min(self.descriptors.saturating_sub(600));
        if count < wanted {
            println!("  note: only {count} connections: the descriptor limit allows no more");
        }
        count
    }

    fn memory(&self, row: &Row, connections: usize, bar: Option<f64>) -> io::Result<()> {
        let count = self.affordable(connections);
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

/// A pool with idle connections, which measures the calls of an operator.
struct Operated {
    // Declared before `process`: the connections are closed before the server is killed.
    _idle: Load,
    process: Process,
}

impl Operated {
    fn start(server: Server, connections: usize) -> io::Result<Self> {
        let process = Process::start(server, None)?;
        let _idle = Load::connect(process.place(), connections, server.wire().burst(64, 1))?;
        Ok(Self { _idle, process })
    }

    /// Nanoseconds that the call takes.
    fn time(&mut self, call: &str) -> io::Result<f64> {
        let answer = self.process.ask(call)?;
        answer.trim().parse().map_err(|_| io::Error::other("the server ended before it answered"))
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
        table::instructions(server.label(), theirs, ours, *bar);
    }
    Ok(())
}
