//! The numbers of a drain: how much time is left, and its report.

use std::time::Duration;

use tokio::time::Instant;

use super::{DrainReport, Draining, PoolState, Status};
use crate::telemetry::{CloseReason, Counts};

/// The parts of a drain's report that are not in the counts of the registries.
#[derive(Default)]
pub(super) struct DrainStats {
    /// When the drain started, and the connections closed until then.
    pub(super) started: Option<(Instant, Counts<CloseReason>)>,
    /// When the delay was set, and the grace period that begins after it.
    plan: Option<(Instant, Duration, Option<Duration>)>,
    unserved: usize,
    pub(super) took: Option<Duration>,
}

impl DrainStats {
    fn delay_left(&self) -> Option<Duration> {
        self.plan.map(|(set, delay, _)| delay.saturating_sub(set.elapsed()))
    }
}

impl PoolState {
    /// Marks the pool as draining, reports that, and starts the counts of its report.
    pub(super) fn start_drain(&self, delay: Duration, grace: Option<Duration>) {
        self.set_status(Status::Draining);
        let closed = self.closed_counts();
        let mut stats = self.drain_stats.lock();
        if stats.started.is_none() {
            stats.started = Some((Instant::now(), closed));
            stats.plan = Some((Instant::now(), delay, grace));
            drop(stats);
            self.emit_draining(delay, grace);
        }
    }

    /// Records that the delay of the drain is over in `delay` at the latest, and the grace period that begins after it.
    pub(super) fn hasten_drain(&self, delay: Duration, grace: Option<Duration>) {
        let mut stats = self.drain_stats.lock();
        let delay = stats.delay_left().map_or(delay, |left| left.min(delay));
        stats.plan = Some((Instant::now(), delay, grace));
    }

    pub(super) fn draining(&self) -> Option<Draining> {
        if self.status() != Status::Draining {
            return None;
        }
        let report = self.report();
        let is_notified = self.registries().all().iter().any(|registry| registry.is_draining());
        if is_notified {
            let time_left = self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
            return Some(Draining { delay_left: Duration::ZERO, time_left, report });
        }
        let stats = self.drain_stats.lock();
        let (delay_left, grace) = (stats.delay_left().unwrap_or_default(), stats.plan.and_then(|(_, _, grace)| grace));
        Some(Draining { delay_left, time_left: grace.and_then(|grace| delay_left.checked_add(grace)), report })
    }

    pub(super) fn count_unserved(&self, peers: usize) {
        self.drain_stats.lock().unserved += peers;
    }

    pub(super) fn report(&self) -> DrainReport {
        let mut report = DrainReport::default();
        for drain in self.registries().all().iter().filter_map(|registry| registry.drain_progress()) {
            report.asked += drain.asked;
            report.forced += drain.forced;
        }
        report.finished = report.asked.saturating_sub(report.forced);
        let closed = self.closed_counts();
        let stats = self.drain_stats.lock();
        report.unserved = stats.unserved;
        if let Some((started, closed_before)) = &stats.started {
            report.took = stats.took.unwrap_or_else(|| started.elapsed());
            report.closed = closed.since(closed_before);
        }
        report
    }

    fn closed_counts(&self) -> Counts<CloseReason> {
        let mut closed = Counts::default();
        for registry in self.registries().all() {
            closed += registry.closed();
        }
        closed
    }
}
