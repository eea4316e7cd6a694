//! The rate of a publisher, and the CPU time of all that takes part.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::{answered, ask, ratios, Bench, Team, NODES};
use crate::brokers::Nats;
use crate::callgrind::Callgrind;
use crate::cluster::{self, Program};
use crate::measure::median;
use crate::peer::Peer;
use crate::process::Process;
use crate::table;

/// What a team has needed in each round.
#[derive(Default)]
struct Figures {
    /// Lines a second.
    rates: Vec<f64>,
    /// Nanoseconds of CPU time for each line: of the publisher, of the server, and of all nodes together.
    publisher: Vec<f64>,
    server: Vec<f64>,
    nodes: Vec<f64>,
}

impl Bench {
    pub(super) fn publish(&self, members: usize, lines: usize, counts: bool, bar: Option<f64>) -> io::Result<()> {
        let nats = Nats::start()?;
        let mut plain = Team::start(Program::Plain, &nats, if counts { 0 } else { members })?;
        if counts {
            plain.count()?;
        }
        let mut ours = Team::start(Program::Node, &nats, members)?;
        let expected: Vec<u8> = cluster::lines(lines).flatten().collect();
        let mut figures = [Figures::default(), Figures::default()];
        for round in 0..=self.rounds {
            for at in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                let (team, lines) = (if at == 0 { &mut plain } else { &mut ours }, lines as f64);
                let cost = team.publish(&nats, &expected)?;
                // The first round is a warm-up.
                if round > 0 {
                    let figures = &mut figures[at];
                    let each = |time: Duration| time.as_nanos() as f64 / lines;
                    figures.rates.push(lines / cost.wall.as_secs_f64());
                    figures.publisher.push(each(cost.publisher));
                    figures.server.push(each(cost.server));
                    figures.nodes.push(each(cost.nodes));
                }
            }
        }
        let [theirs, ours] = figures;
        table::rate("async-nats", median(&theirs.rates), median(&ours.rates), ratios(&ours.rates, &theirs.rates), bar);
        for (label, of) in [
            ("  CPU: nodes", (|figures: &Figures| &figures.nodes) as fn(&Figures) -> &Vec<f64>),
            ("  publisher", |figures| &figures.publisher),
            ("  NATS", |figures| &figures.server),
        ] {
            table::cost(label, median(of(&theirs)), median(of(&ours)));
        }
        Ok(())
    }
}

/// Lines of the two runs, the difference of which counts.
const FEW: usize = 2_000;
const MANY: usize = 12_000;

/// Lines published at once.
const BURST: usize = 1_000;

/// Measures the publisher and one of the nodes. The bars are the highest ratios allowed.
pub(super) fn instructions(publisher: f64, node: f64) -> io::Result<()> {
    let Some(callgrind) = Callgrind::find()? else {
        println!("  not measured: valgrind is not installed");
        return Ok(());
    };
    let nats = Nats::start()?;
    let run = |program: Program, lines: usize| {
        let run_of = |name: &str| format!("{}-{name}-{lines}", program.name());
        let mut team = Team::start_by(usize::from(program == Program::Node), |name| match name {
            "publisher" | "0" => {
                cluster::start_under(callgrind.command(&run_of(name))?, program, Some(&nats.url), &run_of(name))
            }
            _ => cluster::start(program, Some(&nats.url), &run_of(name)),
        })?;
        if program == Program::Plain {
            team.count()?;
        }
        let expected: Vec<u8> = cluster::lines(BURST).flatten().collect();
        (0..lines / BURST).try_for_each(|_| team.publish(&nats, &expected).map(drop))?;
        let Team { publisher, nodes, .. } = team;
        publisher.finish()?;
        nodes.into_iter().try_for_each(Process::finish)?;
        io::Result::Ok([callgrind.counted(&run_of("publisher"))?, callgrind.counted(&run_of("0"))?])
    };
    let each = |program: Program| {
        let (few, many) = (run(program, FEW)?, run(program, MANY)?);
        io::Result::Ok([0, 1].map(|at: usize| many[at].saturating_sub(few[at]) as f64 / (MANY - FEW) as f64))
    };
    let (theirs, ours) = (each(Program::Plain)?, each(Program::Node)?);
    table::instructions("publisher", theirs[0], ours[0], Some(publisher));
    table::instructions("node", theirs[1], ours[1], Some(node));
    Ok(())
}

/// The time of a round, and the CPU time of the processes.
struct Cost {
    wall: Duration,
    publisher: Duration,
    server: Duration,
    nodes: Duration,
}

impl Team {
    /// Lets the nodes count instead of having members. The connections ask them for their counts.
    fn count(&mut self) -> io::Result<()> {
        for (node, members) in self.nodes.iter().zip(&mut self.members) {
            let mut peer = Peer::connect(node.place())?;
            ask(&mut peer, "c")?;
            *members = vec![peer];
        }
        self.counts = true;
        Ok(())
    }

    fn publish(&mut self, nats: &Nats, expected: &[u8]) -> io::Result<Cost> {
        let clocks: Vec<_> =
            [&self.publisher, &nats.process].into_iter().chain(&self.nodes).map(|of| of.clock()).collect();
        let before = clocks.iter().map(|clock| clock.settled()).collect::<io::Result<Vec<_>>>()?;
        let lines = expected.len() / cluster::LINE;
        let began = Instant::now();
        writeln!(self.to_publisher, "p {lines}")?;
        if self.counts {
            for peer in self.members.iter_mut().flatten() {
                ask(peer, &format!("u {lines}"))?;
            }
        } else {
            let mut received = vec![0; expected.len()];
            for member in self.members.iter_mut().flatten() {
                member.read_exact(&mut received)?;
                if received != expected {
                    return Err(io::Error::other("a member got something else than was published"));
                }
            }
        }
        let wall = began.elapsed();
        let answer = answered(&mut self.to_publisher)?;
        if answer != "published" {
            return Err(io::Error::other(answer));
        }
        let mut spent = Vec::with_capacity(2 + NODES);
        for (clock, before) in clocks.iter().zip(before) {
            spent.push(clock.settled()?.saturating_sub(before));
        }
        Ok(Cost { wall, publisher: spent[0], server: spent[1], nodes: spent[2..].iter().sum() })
    }
}
