//! Measures the row of the dashboard: one server, in three phases that take turns.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Bench;
use crate::dashboard::{Viewer, MOUNT, REMOVE};
use crate::load::Load;
use crate::measure::median;
use crate::peer::Peer;
use crate::process::Process;
use crate::rows::Row;
use crate::table;

/// What runs besides the pool, by phase.
const PHASES: [&str; 3] = ["no dashboard", "a dashboard, no viewer", "a dashboard, one viewer"];

/// Before a phase counts, and how long it counts.
const SETTLE: Duration = Duration::from_secs(2);
const TIME: Duration = Duration::from_secs(6);

/// The load sends some packets at a time, this often.
const TICK: Duration = Duration::from_micros(500);
/// The time between two packets of the probe.
const PROBE: Duration = Duration::from_millis(1);

/// What was measured in a phase.
struct Measured {
    /// The share of a core that the server used.
    cpu: f64,
    /// CPU time for each packet, in nanoseconds.
    per_packet: f64,
    /// The share of the server's CPU that was used by threads of the dashboard and its web server.
    threads: f64,
    packets: f64,
    p50: f64,
    p99: f64,
}

impl Bench {
    pub(super) fn dashboard(&self, row: &Row, connections: usize, packets: usize, bar: f64) -> io::Result<()> {
        let count = self.affordable(connections);
        let mut server = Process::start(row.ours, self.core)?;
        let mut load = Load::connect(server.place(), count, vec![b'.'; 64])?;
        let mut probe = Peer::connect(server.place())?;
        let shared = Shared { threads: server.threads()?.into_keys().collect(), ..Shared::default() };
        let mut measured: [Vec<Measured>; 3] = Default::default();
        std::thread::scope(|scope| {
            let works = [
                scope.spawn(|| shared.until_over(|| send(load.groups(), packets, &shared))),
                scope.spawn(|| shared.until_over(|| ask(&mut probe, &shared))),
            ];
            let result = self.phases(&mut server, count / 2, &shared, &mut measured);
            shared.is_over.store(true, Relaxed);
            let ended = works.map(|work| work.join().unwrap_or_else(|_| Err(io::Error::other("the load panicked"))));
            ended.into_iter().collect::<io::Result<()>>().and(result)
        })?;
        for (phase, measured) in PHASES.iter().zip(&measured) {
            let of = |figure: fn(&Measured) -> f64| median(&measured.iter().map(figure).collect::<Vec<_>>());
            let cpu = format!("{:.2} % of a core, {:.0} packets/s", of(|one| one.cpu) * 100.0, of(|one| one.packets));
            let times = format!("p50 {:.0} us, p99 {:.0} us", of(|one| one.p50), of(|one| one.p99));
            table::figure(phase, &format!("{cpu}, {times}"));
        }
        let [without, rest @ ..] = &measured;
        for (phase, with) in PHASES[1..].iter().zip(rest) {
            let ratios: Vec<f64> =
                with.iter().zip(without).map(|(with, without)| with.per_packet / without.per_packet).collect();
            let tails: Vec<f64> = with.iter().zip(without).map(|(with, without)| with.p99 / without.p99).collect();
            let threads: Vec<f64> = with.iter().map(|with| 1.0 + with.threads).collect();
            table::change(&format!("{phase}: its threads"), &threads, Some(bar));
            table::change(&format!("{phase}: CPU"), &ratios, Some(bar));
            table::change(&format!("{phase}: p99"), &tails, None);
        }
        Ok(())
    }

    /// Runs the phases in turn, in another order each time.
    fn phases(
        &self,
        server: &mut Process,
        shown: usize,
        shared: &Shared,
        measured: &mut [Vec<Measured>; 3],
    ) -> io::Result<()> {
        for round in 0..self.rounds.div_ceil(3) {
            for turn in 0..PHASES.len() {
                let phase = if round % 2 == 0 { turn } else { PHASES.len() - 1 - turn };
                let port = server.ask(if phase == 0 { REMOVE } else { MOUNT })?;
                let port = port.trim().parse().map_err(|_| io::Error::other("the server has ended"))?;
                let viewer = if phase == 2 { Some(Viewer::start(port, shown)?) } else { None };
                sleep(SETTLE);
                measured[phase].push(shared.measure(server)?);
                if let Some(viewer) = viewer {
                    let updates = viewer.end()?;
                    let least = (SETTLE + TIME).as_secs() as usize - 2;
                    if updates < least {
                        return Err(io::Error::other(format!("the viewer got {updates} updates instead of {least}")));
                    }
                }
            }
        }
        Ok(())
    }
}

/// What the threads of the load have done.
#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    packets: AtomicUsize,
    /// The times of the probe in nanoseconds.
    times: Mutex<Vec<u64>>,
    /// The threads of the server that belong to the pool.
    threads: HashSet<OsString>,
}

impl Shared {
    fn until_over(&self, mut work: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        while !self.is_over.load(Relaxed) {
            work()?;
        }
        Ok(())
    }

    fn times(&self) -> Vec<u64> {
        std::mem::take(&mut *self.times.lock().unwrap_or_else(|error| error.into_inner()))
    }

    /// The CPU time of the threads that do not belong to the pool.
    fn others(&self, server: &Process) -> io::Result<Duration> {
        let threads = server.threads()?;
        Ok(threads.iter().filter(|(thread, _)| !self.threads.contains(*thread)).map(|(_, time)| *time).sum())
    }

    fn measure(&self, server: &Process) -> io::Result<Measured> {
        let (before, cpu, began) = (self.packets.load(Relaxed), server.clock().cpu()?, Instant::now());
        let threads = self.others(server)?;
        self.times();
        sleep(TIME);
        let packets = (self.packets.load(Relaxed) - before) as f64;
        let cpu = server.clock().cpu()?.saturating_sub(cpu).as_secs_f64();
        let threads = self.others(server)?.saturating_sub(threads).as_secs_f64() / cpu;
        let (passed, mut times) = (began.elapsed().as_secs_f64(), self.times());
        times.sort_unstable();
        let at = |share: usize| times.get(times.len() * share / 100).map_or(f64::NAN, |time| *time as f64 / 1e3);
        let (cpu, per_packet) = (cpu / passed, cpu * 1e9 / packets);
        Ok(Measured { cpu, per_packet, threads, packets: packets / passed, p50: at(50), p99: at(99) })
    }
}

/// Sends a packet over each connection in turn, `packets` a second, and reads what comes back.
fn send(groups: &mut [Vec<Peer>; 2], packets: usize, shared: &Shared) -> io::Result<()> {
    let at_once = (packets as f64 * TICK.as_secs_f64()) as usize;
    let mut next = Instant::now();
    let mut packet = [b'.'; 64];
    for peers in groups.iter_mut().flat_map(|group| group.chunks_mut(at_once)) {
        peers.iter_mut().try_for_each(|peer| peer.write_all(&packet))?;
        // The server answers the last one last.
        peers.iter_mut().rev().try_for_each(|peer| peer.read_exact(&mut packet))?;
        shared.packets.fetch_add(peers.len(), Relaxed);
        // What is late is made up for, so that the rate stays the same.
        next += TICK.mul_f64(peers.len() as f64 / at_once as f64);
        sleep(next.saturating_duration_since(Instant::now()));
        if shared.is_over.load(Relaxed) {
            break;
        }
    }
    Ok(())
}

/// Sends one packet, and notes after which time it came back.
fn ask(peer: &mut Peer, shared: &Shared) -> io::Result<()> {
    let (mut packet, began) = ([b'.'; 64], Instant::now());
    peer.write_all(&packet)?;
    peer.read_exact(&mut packet)?;
    let time = began.elapsed().as_nanos() as u64;
    shared.times.lock().unwrap_or_else(|error| error.into_inner()).push(time);
    sleep(PROBE);
    Ok(())
}
