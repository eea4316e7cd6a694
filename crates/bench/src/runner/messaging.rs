//! Measures the rows of connections that send messages to each other.

use std::io::{self, Read};
use std::time::Duration;

use super::Bench;
use crate::load::Load;
use crate::measure::{self, Contestant, Growth};
use crate::members::{self, Dialect, Members};
use crate::peer::Peer;
use crate::process::Process;
use crate::rows::Row;
use crate::servers::Server;
use crate::{storm, table};

/// Lines that a slice delivers at least: some tens of milliseconds of work.
const DELIVERIES: usize = 8_000;

const STORM: Duration = Duration::from_secs(3);

impl Bench {
    pub(super) fn fanout(&self, row: &Row, members: usize, lines: usize) -> io::Result<()> {
        // A burst takes longer than the slices of other rows.
        let rounds = if lines == 1 { self.rounds } else { self.rounds.div_ceil(3) };
        self.cpu(row, rounds, |server, process| {
            let mut members = Members::connect(process.place(), process.clock(), server.dialect(), members, lines)?;
            let times = DELIVERIES.div_ceil(members.deliveries());
            Ok(Box::new(move || (0..times).map(|_| members.publish()).sum()))
        })
    }

    pub(super) fn growth(&self, row: &Row, few: usize, many: usize, bar: f64) -> io::Result<()> {
        let sizes = [few, self.affordable(many)];
        for (theirs, _) in row.against {
            let mut contestants = Vec::new();
            for server in [row.ours, *theirs] {
                for count in sizes {
                    let process = Process::start(server, self.core)?;
                    let mut members = members::apart(&process, count)?;
                    let times = DELIVERIES.div_ceil(count);
                    let slice = move || (0..times).map(|_| members::publish_apart(&mut members)).sum();
                    contestants.push(Contestant::new(process, Box::new(slice)));
                }
            }
            measure::interleave(&mut contestants, self.rounds.div_ceil(3))?;
            if let [ours_few, ours_many, theirs_few, theirs_many] = contestants.as_slice() {
                table::growth(sizes, &Growth::between([ours_few, ours_many], [theirs_few, theirs_many]), bar);
            }
        }
        Ok(())
    }

    pub(super) fn wakes(&self, row: &Row, members: usize, bar: f64) -> io::Result<()> {
        let mut process = Process::start(row.ours, None)?;
        let mut load = members::subscribed(process.place(), Dialect::Verbs, members)?;
        let mut line = [0; 64];
        let mut counts = Vec::new();
        for _ in 0..self.rounds * 5 {
            process.clock().settled()?;
            let before = process.wakes()?;
            let arbiters: f64 = process.ask("publish")?.trim().parse().map_err(io::Error::other)?;
            load.iter_mut().try_for_each(|member| member.read_exact(&mut line))?;
            counts.push((process.wakes()? - before) as f64 / arbiters);
        }
        // The median: the watchdog wakes each arbiter as well, a few times a second.
        table::number(row.ours.label(), measure::median(&counts), bar);
        Ok(())
    }

    pub(super) fn storm(&self, row: &Row, members: usize, bar: f64) -> io::Result<()> {
        let storm = |server: Server| {
            let process = Process::start(server, self.core)?;
            storm::storm(&process, members, STORM)
        };
        let ours = storm(row.ours)?;
        for (server, _) in row.against {
            let theirs = storm(*server)?;
            table::times(*server, nanoseconds(theirs.p99), nanoseconds(ours.p99), bar);
            println!("  lines a second: {:.0} of theirs, {:.0} of ours", theirs.rate, ours.rate);
        }
        Ok(())
    }

    pub(super) fn stalled(&self, row: &Row, members: usize, len: usize, bar: f64) -> io::Result<()> {
        let process = Process::start(row.ours, self.core)?;
        let _stalled = members::subscribed(process.place(), Dialect::Verbs, members)?;
        let mut publisher = Peer::connect(process.place())?;
        let before = process.settled_resident()?;
        members::overfill(&mut publisher, members, len)?;
        let grown = process.settled_resident()?.saturating_sub(before);
        table::only_bytes(row.ours.label(), grown as f64 / members as f64, bar);
        Ok(())
    }

    pub(super) fn membership(&self, row: &Row, connections: usize, bar: f64) -> io::Result<()> {
        let count = self.affordable(connections);
        let process = Process::start(row.ours, self.core)?;
        let join = |load: &mut Load, request: &str| {
            load.groups().iter_mut().try_for_each(|group| members::ask(group, request.as_bytes(), b"joined\n"))
        };
        let open = |count| Load::connect(process.place(), count, b"e\n".to_vec());
        join(&mut open(100)?, "j\n")?;
        let mut idle = open(count)?;
        let mut before = process.settled_resident()?;
        // A single allocation may fit into a gap that the others of the connection have left.
        for (label, topics) in [("the first", 1..2), ("the next 3", 2..5)] {
            let joined = topics.len() * count;
            topics.clone().try_for_each(|topic| join(&mut idle, &format!("j{topic}\n")))?;
            let after = process.settled_resident()?;
            table::only_bytes(label, after.saturating_sub(before) as f64 / joined as f64, bar);
            before = after;
        }
        Ok(())
    }
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}
