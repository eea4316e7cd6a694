//! [`History`], the numbers of a pool over the last 1, 10 and 60 minutes, in rings of fixed size.

use std::collections::VecDeque;
use std::time::Duration;

use actix_acceptor::info::PoolInfo;
use actix_acceptor::telemetry::{CloseReason, Counts, Label, RefusalReason};
use serde::Serialize;
use serde_json::{json, Map, Value};

/// Minutes, and seconds per value.
const RINGS: [(u32, u32); 3] = [(1, 1), (10, 5), (60, 30)];

/// The numbers that only grow.
#[derive(Clone, Default)]
struct Totals {
    accepted: u64,
    refused: Counts<RefusalReason>,
    closed: Counts<CloseReason>,
    packets: u64,
    bytes_in: u64,
    bytes_out: u64,
    dropped: u64,
}

/// A value of a ring: what was counted in a step, and the greatest gauges.
#[derive(Clone, Default)]
struct Point {
    time_ms: u64,
    /// The time that has passed since the previous sample, summed.
    micros: u64,
    connections: u64,
    unsent: u64,
    handshakes: u64,
    held: u64,
    accepted: u64,
    packets: u64,
    bytes_in: u64,
    bytes_out: u64,
    dropped: u64,
    refused: [u32; 16],
    closed: [u32; 24],
}

struct Ring {
    minutes: u32,
    step: u32,
    points: VecDeque<Point>,
    /// How many samples the newest point contains.
    samples: u32,
}

/// The numbers per second, averaged over the last period.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Rates {
    pub(crate) seconds: f64,
    pub(crate) accepted: f64,
    pub(crate) refused: f64,
    pub(crate) closed: f64,
    pub(crate) packets: f64,
    pub(crate) bytes_in: f64,
    pub(crate) bytes_out: f64,
}

pub(crate) struct History {
    before: Totals,
    rings: [Ring; 3],
}

impl History {
    pub(crate) fn new(info: &PoolInfo) -> Self {
        let ring = |(minutes, step): (u32, u32)| {
            let points = VecDeque::with_capacity((minutes * 60 / step) as usize);
            Ring { minutes, step, points, samples: 0 }
        };
        History { before: Totals::of(info), rings: RINGS.map(ring) }
    }

    /// Adds the numbers of the time `passed` since the last call.
    pub(crate) fn add(&mut self, info: &PoolInfo, passed: Duration, time_ms: u64) {
        let totals = Totals::of(info);
        let sample = Point {
            time_ms,
            micros: (passed.as_micros() as u64).max(1),
            connections: info.connections,
            unsent: info.unsent,
            handshakes: info.handshakes as u64,
            held: info.held as u64,
            accepted: totals.accepted.saturating_sub(self.before.accepted),
            packets: totals.packets.saturating_sub(self.before.packets),
            bytes_in: totals.bytes_in.saturating_sub(self.before.bytes_in),
            bytes_out: totals.bytes_out.saturating_sub(self.before.bytes_out),
            dropped: totals.dropped.saturating_sub(self.before.dropped),
            refused: differences(&self.before.refused, &totals.refused),
            closed: differences(&self.before.closed, &totals.closed),
        };
        for ring in &mut self.rings {
            ring.add(&sample);
        }
        self.before = totals;
    }

    pub(crate) fn rates(&self) -> Rates {
        let Some(point) = self.rings[0].points.back() else { return Rates::default() };
        let sum = |counts: &[u32]| counts.iter().map(|count| u64::from(*count)).sum();
        Rates {
            seconds: point.micros as f64 / 1e6,
            accepted: point.per_second(point.accepted),
            refused: point.per_second(sum(&point.refused)),
            closed: point.per_second(sum(&point.closed)),
            packets: point.per_second(point.packets),
            bytes_in: point.per_second(point.bytes_in),
            bytes_out: point.per_second(point.bytes_out),
        }
    }

    /// The columns of a period. `None` if there is no ring of these minutes.
    pub(crate) fn columns(&self, minutes: u32) -> Option<Value> {
        let Ring { step, points, .. } = self.rings.iter().find(|ring| ring.minutes == minutes)?;
        let gauge = |of: fn(&Point) -> u64| -> Value { points.iter().map(of).collect() };
        let rate = |of: fn(&Point) -> u64| -> Value { points.iter().map(|p| p.per_second(of(p))).collect() };
        Some(json!({
            "minutes": minutes,
            "step": step,
            "times_ms": gauge(|point| point.time_ms),
            "connections": gauge(|point| point.connections),
            "unsent": gauge(|point| point.unsent),
            "handshakes": gauge(|point| point.handshakes),
            "held": gauge(|point| point.held),
            "accepted": rate(|point| point.accepted),
            "packets": rate(|point| point.packets),
            "bytes_in": rate(|point| point.bytes_in),
            "bytes_out": rate(|point| point.bytes_out),
            "dropped": rate(|point| point.dropped),
            "refused": by_reason::<RefusalReason>(points, |point| &point.refused),
            "closed": by_reason::<CloseReason>(points, |point| &point.closed),
        }))
    }
}

impl Ring {
    fn add(&mut self, sample: &Point) {
        if let Some(last) = self.points.back_mut().filter(|_| self.samples < self.step) {
            last.merge(sample);
            self.samples += 1;
            return;
        }
        if self.points.len() == (self.minutes * 60 / self.step) as usize {
            self.points.pop_front();
        }
        self.points.push_back(sample.clone());
        self.samples = 1;
    }
}

impl Point {
    fn merge(&mut self, sample: &Point) {
        self.time_ms = sample.time_ms;
        self.connections = self.connections.max(sample.connections);
        self.unsent = self.unsent.max(sample.unsent);
        self.handshakes = self.handshakes.max(sample.handshakes);
        self.held = self.held.max(sample.held);
        self.micros += sample.micros;
        self.accepted += sample.accepted;
        self.packets += sample.packets;
        self.bytes_in += sample.bytes_in;
        self.bytes_out += sample.bytes_out;
        self.dropped += sample.dropped;
        let counts = self.refused.iter_mut().zip(&sample.refused).chain(self.closed.iter_mut().zip(&sample.closed));
        counts.for_each(|(count, more)| *count = count.saturating_add(*more));
    }

    /// Rounded to a thousandth, so that the text is short.
    fn per_second(&self, count: u64) -> f64 {
        (count as f64 * 1e9 / self.micros as f64).round() / 1e3
    }
}

impl Totals {
    fn of(info: &PoolInfo) -> Self {
        Totals {
            accepted: info.accepted,
            refused: info.refused,
            closed: info.closed,
            packets: info.packets,
            bytes_in: info.bytes_in,
            bytes_out: info.bytes_out,
            dropped: info.dropped,
        }
    }
}

/// The growth of each count. Labels past the end are left out.
fn differences<L: Label, const N: usize>(before: &Counts<L>, after: &Counts<L>) -> [u32; N] {
    let mut differences = [0; N];
    for (difference, (label, count)) in differences.iter_mut().zip(after.iter()) {
        *difference = count.saturating_sub(before.get(label)).try_into().unwrap_or(u32::MAX);
    }
    differences
}

/// The rates of the reasons that occur.
fn by_reason<L: Label>(points: &VecDeque<Point>, of: fn(&Point) -> &[u32]) -> Value {
    let occurs = |at: &usize| points.iter().any(|point| of(point).get(*at).is_some_and(|count| *count > 0));
    let column = |at: usize| points.iter().map(|point| point.per_second(of(point)[at].into())).collect::<Value>();
    let labels = L::ALL.iter().enumerate().filter(|(at, _)| occurs(at));
    Value::Object(labels.map(|(at, label)| (label.name().to_owned(), column(at))).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(accepted: u64) -> Point {
        Point { accepted, connections: accepted, micros: 1_000_000, ..Point::default() }
    }

    #[test]
    fn every_reason_has_a_place() {
        let point = Point::default();
        assert!(CloseReason::ALL.len() <= point.closed.len() && RefusalReason::ALL.len() <= point.refused.len());
    }

    #[test]
    fn a_ring_keeps_its_period_in_steps() {
        let mut ring = Ring { minutes: 10, step: 5, points: VecDeque::new(), samples: 0 };
        (0..3_600).for_each(|n| ring.add(&point(n)));
        assert_eq!(ring.points.len(), 120);
        let last = ring.points.back().expect("a point");
        assert_eq!((last.connections, last.per_second(last.accepted)), (3_599, 3_597.0));
        assert_eq!(ring.points.front().map(|first| first.connections), Some(3_004));
    }

    /// The documentation states 80 KiB per pool.
    #[test]
    fn the_rings_of_a_pool_take_less_than_80_kib() {
        let points: usize = RINGS.iter().map(|(minutes, step)| (minutes * 60 / step) as usize).sum();
        assert!(points * size_of::<Point>() < 80 * 1024, "{} bytes", points * size_of::<Point>());
    }
}
