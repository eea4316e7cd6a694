//! CPU per message of servers that work in turn, and the ratio between two servers.

use std::io;
use std::time::{Duration, Instant};

use crate::process::Process;

/// Gives a server one slice of work. Returns the number of messages or connections.
pub(crate) type Slice = Box<dyn FnMut() -> io::Result<usize>>;

/// A server, its work, and the cost of each round.
pub(crate) struct Contestant {
    // Declared before `process`: the connections are closed before the server is killed.
    slice: Slice,
    process: Process,
    round: Round,
    costs: Vec<f64>,
    busy: Vec<f64>,
}

impl Contestant {
    pub(crate) fn new(process: Process, slice: Slice) -> Self {
        Self { slice, process, round: Round::default(), costs: Vec::new(), busy: Vec::new() }
    }

    fn work(&mut self) -> io::Result<()> {
        let (cpu, wall) = (self.process.clock().cpu()?, Instant::now());
        self.round.messages += (self.slice)()?;
        self.round.wall += wall.elapsed();
        self.round.cpu += self.process.clock().settled()?.saturating_sub(cpu);
        Ok(())
    }

    fn end_round(&mut self) {
        let round = std::mem::take(&mut self.round);
        let cpu = round.cpu.as_secs_f64();
        self.costs.push(cpu * 1e9 / round.messages as f64);
        self.busy.push((cpu / round.wall.as_secs_f64()).min(1.0));
    }
}

/// The sums over the slices of one round.
#[derive(Default)]
struct Round {
    messages: usize,
    cpu: Duration,
    wall: Duration,
}

/// Slices in a round. Many short slices spread a disturbance of the machine over all contestants.
const SLICES: usize = 8;

/// Gives each contestant its slices in turn, every second time in the opposite order (A B C, C B A, ...). The slice
/// before the first round is a warm-up and does not count.
pub(crate) fn interleave(contestants: &mut [Contestant], rounds: usize) -> io::Result<()> {
    for contestant in contestants.iter_mut() {
        (contestant.slice)()?;
        contestant.process.clock().settled()?;
    }
    for _ in 0..rounds {
        for _ in 0..SLICES / 2 {
            contestants.iter_mut().try_for_each(Contestant::work)?;
            contestants.iter_mut().rev().try_for_each(Contestant::work)?;
        }
        contestants.iter_mut().for_each(Contestant::end_round);
    }
    Ok(())
}

/// The cost of this library against the cost of a baseline.
pub(crate) struct Ratio {
    /// Nanoseconds of CPU per message, the median of the rounds.
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    /// The median, the least and the greatest of the ratios of the rounds.
    pub(crate) ratio: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    /// The share of the time for which the server ran. If it is far below 1, the load was too slow.
    pub(crate) ours_busy: f64,
    pub(crate) theirs_busy: f64,
}

impl Ratio {
    pub(crate) fn between(ours: &Contestant, theirs: &Contestant) -> Self {
        let pairs = ours.costs.iter().zip(&theirs.costs);
        let ratios = sorted(pairs.map(|(ours, theirs)| ours / theirs));
        Self {
            ours: median(&ours.costs),
            theirs: median(&theirs.costs),
            ratio: median(&ratios),
            lowest: ratios.first().copied().unwrap_or(f64::NAN),
            highest: ratios.last().copied().unwrap_or(f64::NAN),
            ours_busy: median(&ours.busy),
            theirs_busy: median(&theirs.busy),
        }
    }
}

/// How much the cost of a message grows from few connections to many, for this library and for a baseline.
pub(crate) struct Growth {
    pub(crate) few: Ratio,
    pub(crate) many: Ratio,
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    /// The median, the least and the greatest of our growth against theirs in each round.
    pub(crate) ratio: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Growth {
    /// Each pair: with few and with many connections.
    pub(crate) fn between(ours: [&Contestant; 2], theirs: [&Contestant; 2]) -> Self {
        let growths = |[few, many]: [&Contestant; 2]| -> Vec<f64> {
            few.costs.iter().zip(&many.costs).map(|(few, many)| many / few).collect()
        };
        let both = (growths(ours), growths(theirs));
        let ratios = sorted(both.0.iter().zip(&both.1).map(|(ours, theirs)| ours / theirs));
        Self {
            few: Ratio::between(ours[0], theirs[0]),
            many: Ratio::between(ours[1], theirs[1]),
            ours: median(&both.0),
            theirs: median(&both.1),
            ratio: median(&ratios),
            lowest: ratios.first().copied().unwrap_or(f64::NAN),
            highest: ratios.last().copied().unwrap_or(f64::NAN),
        }
    }
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    let figures = sorted(figures.iter().copied());
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}
