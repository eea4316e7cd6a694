//! Measures the rows of a cluster.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::Bench;
use crate::brokers::Nats;
use crate::cluster::{self, Measure, Program};
use crate::measure::median;
use crate::peer::Peer;
use crate::process::{self, Clock, Process};
use crate::table;

mod publish;

const NODES: usize = 3;

impl Bench {
    pub(super) fn cluster(&self, measure: Measure) -> io::Result<()> {
        // The processes of a cluster share all cores, and so does the load.
        process::unpin();
        let measured = match measure {
            Measure::Publish { members, lines, counts, bar } => self.publish(members, lines, counts, bar),
            Measure::Instructions { publisher, node } => publish::instructions(publisher, node),
            Measure::Latency => self.latency(),
            Measure::Names => self.names(),
            Measure::Idle => self.idle(),
            Measure::Memory { topics, names } => memory(topics, names),
        };
        process::pin(process::cores().map(|(_, load)| load));
        measured
    }

    fn latency(&self) -> io::Result<()> {
        let nats = Nats::start()?;
        let mut teams = [Team::start(Program::Plain, &nats, 1)?, Team::start(Program::Node, &nats, 1)?];
        let mut times = [Vec::new(), Vec::new()];
        let mut server = [Duration::ZERO; 2];
        for round in 0..self.rounds {
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for at in order {
                let before = nats.process.clock().settled()?;
                teams[at].paced(LINES_OF_A_ROUND, &mut times[at])?;
                server[at] += nats.process.clock().settled()?.saturating_sub(before);
            }
        }
        times.iter_mut().for_each(|times| times.sort_unstable());
        let each = |cpu: Duration| cpu.as_nanos() as f64 / (self.rounds * LINES_OF_A_ROUND) as f64;
        table::cost("CPU of NATS", each(server[0]), each(server[1]));
        let [theirs, ours] = times;
        for (label, share) in [("p50", 50), ("p99", 99)] {
            let at = |times: &[u64]| times[times.len() * share / 100] as f64;
            table::cost(label, at(&theirs), at(&ours));
            table::figure(&format!("{label}, added"), &format!("{:+.1} us", (at(&ours) - at(&theirs)) / 1e3));
        }
        Ok(())
    }

    fn names(&self) -> io::Result<()> {
        let nats = Nats::start()?;
        // Ours first: it makes the buckets.
        let ours = cluster::start(Program::Node, Some(&nats.url), "a")?;
        let theirs = cluster::start(Program::Plain, Some(&nats.url), "b")?;
        let mut peers = [Peer::connect(theirs.place())?, Peer::connect(ours.place())?];
        let clocks = [theirs.clock(), ours.clock()];
        for (call, label) in [("r", "register"), ("w", "whereis")] {
            for at_once in [1, 64] {
                let count = if at_once == 1 { 200 } else { 1_000 };
                let (mut rates, mut cpu) = ([Vec::new(), Vec::new()], [Duration::ZERO; 2]);
                let mut server = [Duration::ZERO; 2];
                let rounds = self.rounds.div_ceil(3);
                for round in 0..=rounds {
                    for at in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                        let (node, nats) = (clocks[at], nats.process.clock());
                        let before = (node.cpu()?, nats.cpu()?);
                        let answer = ask(&mut peers[at], &format!("{call} {count} {at_once}"))?;
                        let took: f64 = answer.parse().map_err(|_| io::Error::other(answer.clone()))?;
                        if round == 0 {
                            // A warm-up.
                            continue;
                        }
                        rates[at].push(count as f64 * 1e9 / took);
                        cpu[at] += node.settled()?.saturating_sub(before.0);
                        server[at] += nats.settled()?.saturating_sub(before.1);
                    }
                }
                let [theirs, ours] = &rates;
                let label = if at_once == 1 { label.to_owned() } else { format!("{label}, {at_once}") };
                table::rate(&label, median(theirs), median(ours), ratios(ours, theirs), None);
                let each = |cpu: Duration| cpu.as_nanos() as f64 / (rounds * count) as f64;
                table::cost("  CPU", each(cpu[0]), each(cpu[1]));
                table::cost("  CPU of NATS", each(server[0]), each(server[1]));
            }
        }
        Ok(())
    }

    fn idle(&self) -> io::Result<()> {
        let time = Duration::from_secs(if self.rounds < 20 { 6 } else { 20 });
        let nats = Nats::start()?;
        let start = |node: usize| cluster::start(Program::Node, Some(&nats.url), &node.to_string());
        let nodes = (0..NODES).map(start).collect::<io::Result<Vec<Process>>>()?;
        let alone = cluster::start(Program::Node, None, "alone")?;
        let plain = cluster::start(Program::Plain, Some(&nats.url), "plain")?;
        let mut clocks: Vec<Clock> = nodes.iter().map(Process::clock).collect();
        clocks.extend([alone.clock(), plain.clock(), nats.process.clock()]);
        let settle = |clock: &Clock| clock.settled();
        let before = clocks.iter().map(settle).collect::<io::Result<Vec<_>>>()?;
        std::thread::sleep(time);
        let after = clocks.iter().map(|clock| clock.cpu()).collect::<io::Result<Vec<_>>>()?;
        let shares =
            before.iter().zip(&after).map(|(before, after)| after.saturating_sub(*before).div_f64(time.as_secs_f64()));
        let shares: Vec<f64> = shares.map(|share| share.as_secs_f64() * 100.0).collect();
        let percent = |share: f64| format!("{share:.3} % of a core");
        let labels = ["a node", "a node of `Cluster::local`", "a client of async-nats", "NATS, for all of them"];
        let shares = [median(&shares[..NODES]), shares[NODES], shares[NODES + 1], shares[NODES + 2]];
        for (label, share) in labels.into_iter().zip(shares) {
            table::figure(label, &percent(share));
        }
        Ok(())
    }
}

const LINES_OF_A_ROUND: usize = 100;

fn memory(topics: usize, names: usize) -> io::Result<()> {
    let nats = Nats::start()?;
    let node = cluster::start(Program::Node, Some(&nats.url), "a")?;
    let alone = cluster::start(Program::Node, None, "alone")?;
    let resident = || io::Result::Ok([&node, &alone, &nats.process].map(Process::settled_resident));
    let figures = || -> io::Result<[f64; 3]> {
        let [node, alone, nats] = resident()?;
        Ok([node? as f64, alone? as f64, nats? as f64])
    };
    let mut peers = [Peer::connect(node.place())?, Peer::connect(alone.place())?];
    // One of each makes what is made once.
    ask(&mut peers[0], "r 1 1")?;
    let first = figures()?;
    table::figure("a node", &format!("{:.1} MiB", first[0] / MIB));
    table::figure("a node of `Cluster::local`", &format!("{:.1} MiB", first[1] / MIB));
    let began = Instant::now();
    ask(&mut peers[0], &format!("t {topics}"))?;
    let took = began.elapsed();
    ask(&mut peers[1], &format!("t {topics}"))?;
    let second = figures()?;
    let each = |at: usize, before: &[f64; 3], after: &[f64; 3], count: usize| {
        format!("{:.0} B", (after[at] - before[at]) / count as f64)
    };
    table::figure("subscribed a second", &format!("{:.0}", topics as f64 / took.as_secs_f64()));
    table::figure("a topic with a member", &each(0, &first, &second, topics));
    table::figure("  of `Cluster::local`", &each(1, &first, &second, topics));
    table::figure("  in NATS", &each(2, &first, &second, topics));
    let stored = nats.stored()?;
    ask(&mut peers[0], &format!("r {names} 64"))?;
    let third = figures()?;
    table::figure("a name", &each(0, &second, &third, names));
    table::figure("  in NATS", &each(2, &second, &third, names));
    table::figure("  on the disk of NATS", &format!("{} B", nats.stored()?.saturating_sub(stored) / names as u64));
    Ok(())
}

const MIB: f64 = 1024.0 * 1024.0;

/// The least, the median and the greatest ratio of the rounds.
fn ratios(ours: &[f64], theirs: &[f64]) -> [f64; 3] {
    let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |at: usize| ratios.get(at).copied().unwrap_or(f64::NAN);
    [at(0), median(&ratios), at(ratios.len().saturating_sub(1))]
}

/// A publisher, the nodes, and the members of each node.
struct Team {
    // Declared before the processes: the connections are closed before they are killed.
    to_publisher: Peer,
    members: Vec<Vec<Peer>>,
    publisher: Process,
    nodes: Vec<Process>,
    /// The nodes have no members, and count the lines.
    counts: bool,
}

impl Team {
    fn start(program: Program, nats: &Nats, members: usize) -> io::Result<Self> {
        Self::start_by(members, |name| cluster::start(program, Some(&nats.url), &format!("{}-{name}", program.name())))
    }

    fn start_by(members: usize, start: impl Fn(&str) -> io::Result<Process>) -> io::Result<Self> {
        let nodes = (0..NODES).map(|node| start(&format!("{node}"))).collect::<io::Result<Vec<_>>>()?;
        let publisher = start("publisher")?;
        let to_publisher = Peer::connect(publisher.place())?;
        let join = |node: &Process| {
            let mut peers = Vec::with_capacity(members);
            for _ in 0..members {
                let mut peer = Peer::connect(node.place())?;
                ask(&mut peer, "j")?;
                peers.push(peer);
            }
            io::Result::Ok(peers)
        };
        let members = nodes.iter().map(join).collect::<io::Result<Vec<_>>>()?;
        Ok(Team { to_publisher, members, publisher, nodes, counts: false })
    }

    /// Publishes lines one after the other, and adds the nanoseconds until each has arrived at a member.
    fn paced(&mut self, lines: usize, times: &mut Vec<u64>) -> io::Result<()> {
        writeln!(self.to_publisher, "l {lines}")?;
        let mut line = [0; cluster::LINE];
        for _ in 0..lines {
            self.members[0][0].read_exact(&mut line)?;
            times.push(cluster::age(&line)?);
        }
        for member in self.members.iter_mut().flatten().skip(1) {
            member.read_exact(&mut vec![0; lines * cluster::LINE])?;
        }
        answered(&mut self.to_publisher).map(drop)
    }
}

/// Sends a request and returns the answer.
fn ask(peer: &mut Peer, request: &str) -> io::Result<String> {
    writeln!(peer, "{request}")?;
    answered(peer)
}

fn answered(peer: &mut Peer) -> io::Result<String> {
    let mut answer = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        peer.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    Ok(String::from_utf8_lossy(&answer).trim().to_owned())
}
