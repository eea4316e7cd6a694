//! [`History`], the numbers of a pool over the last 1, 10 and 60 minutes, in rings of fixed size.

use std::collections::VecDeque;
use std::time::Duration;

use actix_acceptor::info::PoolInfo;
use actix_acceptor::telemetry::{CloseReason, Counts, Label, RefusalReason};
use serde::Serialize;
use serde_json::{json, Map, Value};

/// The time between two samples.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);
/// How late a sample may be, in milliseconds, before there is a gap.
const MAX_LATE_MS: u64 = 1_500;
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

/// A value of a ring: what was counted in a step, and the maximum of each gauge. A gap if `micros` is 0.
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
    pub(crate) fn new() -> Self {
        let ring = |(minutes, step): (u32, u32)| {
            let points = VecDeque::with_capacity((minutes * 60 / step) as usize);
            Ring { minutes, step, points, samples: 0 }
        };
        History { before: Totals::default(), rings: RINGS.map(ring) }
    }

    /// Begins at these numbers: what was counted before is not in the history.
    pub(crate) fn begin(&mut self, info: &PoolInfo) {
        self.before = Totals::of(info);
    }

    /// Adds the numbers of the time `passed` since the last call. `time_ms` is the time of day, which may have been set
    /// meanwhile.
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
        let gauge = |of: fn(&Point) -> u64| -> Value { points.iter().map(|p| p.unless_gap(of(p))).collect() };
        let rate = |of: fn(&Point) -> u64| -> Value { points.iter().map(|p| p.rate(of(p))).collect() };
        Some(json!({
            "minutes": minutes,
            "step": step,
            "times_ms": points.iter().map(|point| point.time_ms).collect::<Vec<_>>(),
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
        let (now, step_ms) = (sample.time_ms, u64::from(self.step) * 1_000);
        let before = self.points.back().map_or(now, |last| last.time_ms);
        if now + MAX_LATE_MS < before {
            // The clock was set back.
            self.points.iter_mut().for_each(|point| point.time_ms = point.time_ms.saturating_sub(before - now));
        }
        let late = now.saturating_sub(before + PERIOD.as_millis() as u64);
        if late >= step_ms.max(MAX_LATE_MS) {
            self.push(Point { time_ms: before + (now - before) / 2, ..Point::default() });
            self.samples = self.step;
        }
        if let Some(last) = self.points.back_mut().filter(|_| self.samples < self.step) {
            last.merge(sample);
            self.samples += 1;
        } else {
            self.push(sample.clone());
            self.samples = 1;
        }
        let period_ms = u64::from(self.minutes) * 60_000;
        while self.points.front().is_some_and(|first| first.time_ms + period_ms <= now) {
            self.points.pop_front();
        }
    }

    fn push(&mut self, point: Point) {
        if self.points.len() == (self.minutes * 60 / self.step) as usize {
            self.points.pop_front();
        }
        self.points.push_back(point);
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

    /// `None` if this is a gap.
    fn unless_gap<T>(&self, value: T) -> Option<T> {
        Some(value).filter(|_| self.micros > 0)
    }

    fn rate(&self, count: u64) -> Option<f64> {
        self.unless_gap(count).map(|count| self.per_second(count))
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
    let column = |at: usize| points.iter().map(|point| point.rate(of(point)[at].into())).collect::<Value>();
    let labels = L::ALL.iter().enumerate().filter(|(at, _)| occurs(at));
    Value::Object(labels.map(|(at, label)| (label.name().to_owned(), column(at))).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample of the second `at`.
    fn point(at: u64) -> Point {
        Point { time_ms: at * 1_000, accepted: at, connections: at, micros: 1_000_000, ..Point::default() }
    }

    fn ring(minutes: u32, step: u32) -> Ring {
        Ring { minutes, step, points: VecDeque::new(), samples: 0 }
    }

    /// The seconds of the points, and whether they are gaps.
    fn points(ring: &Ring) -> Vec<(u64, bool)> {
        ring.points.iter().map(|point| (point.time_ms / 1_000, point.micros == 0)).collect()
    }

    #[test]
    fn every_reason_has_a_place() {
        let point = Point::default();
        assert!(CloseReason::ALL.len() <= point.closed.len() && RefusalReason::ALL.len() <= point.refused.len());
    }

    #[test]
    fn a_ring_keeps_its_period_in_steps() {
        let mut ring = ring(10, 5);
        (0..3_600).for_each(|n| ring.add(&point(n)));
        assert_eq!(ring.points.len(), 120);
        let last = ring.points.back().expect("a point");
        assert_eq!((last.connections, last.per_second(last.accepted)), (3_599, 3_597.0));
        assert_eq!(ring.points.front().map(|first| first.connections), Some(3_004));
    }

    #[test]
    fn a_ring_is_bounded_however_often_there_are_samples() {
        let mut ring = ring(1, 1);
        (0..1_000).for_each(|_| ring.add(&point(7)));
        assert_eq!(ring.points.len(), 60);
    }

    #[test]
    fn time_without_samples_is_a_gap() {
        let (mut short, mut long) = (ring(1, 1), ring(60, 30));
        for at in (0..10).chain(50..60).chain([63]) {
            short.add(&point(at));
            long.add(&point(at));
        }
        let of = |times: std::ops::Range<u64>| times.map(|at| (at, false));
        let expected: Vec<_> =
            of(4..10).chain([(29, true)]).chain(of(50..60)).chain([(61, true), (63, false)]).collect();
        assert_eq!(points(&short), expected, "the last 60 seconds");
        // 10 samples are one value of 30 seconds, and the three seconds at the end are no gap.
        assert_eq!(points(&long), [(9, false), (29, true), (63, false)]);
    }

    #[test]
    fn a_clock_that_is_set_back_moves_the_values() {
        let mut ring = ring(1, 1);
        (100..110).chain(50..60).for_each(|at| ring.add(&point(at)));
        assert!(ring.points.make_contiguous().is_sorted_by_key(|point| point.time_ms));
        assert_eq!((points(&ring).len(), points(&ring).last()), (20, Some(&(59, false))));
    }

    /// The documentation states 80 KiB per pool.
    #[test]
    fn the_rings_of_a_pool_take_less_than_80_kib() {
        let points: usize = RINGS.iter().map(|(minutes, step)| (minutes * 60 / step) as usize).sum();
        assert!(points * size_of::<Point>() < 80 * 1024, "{} bytes", points * size_of::<Point>());
    }
}
