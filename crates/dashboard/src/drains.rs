//! [`Drains`], what is known of a pool's drain, the blocks of its arbiters and its alarms, from its events.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use actix_acceptor::info::DrainReport;
use actix_acceptor::telemetry::PoolEvent;
use parking_lot::Mutex;
use serde::Serialize;

use crate::session::now_ms;

/// What the events of a pool have said.
#[derive(Default)]
pub(crate) struct Drains {
    drain: Mutex<Option<Drain>>,
    blocks: Mutex<BTreeMap<usize, Blocks>>,
    acceptors_stopped: AtomicU64,
    /// How often each alarm was raised.
    alarms: Mutex<BTreeMap<String, u64>>,
}

struct Drain {
    started: Instant,
    started_ms: u64,
    delay: Duration,
    grace: Option<Duration>,
    report: Option<DrainReport>,
}

/// The blocks of one arbiter.
#[derive(Clone, Copy, Default)]
pub(crate) struct Blocks {
    pub(crate) count: u64,
    /// In seconds.
    pub(crate) last: f64,
    pub(crate) last_ms: u64,
}

/// A drain, as responses show it. Durations are seconds.
#[derive(Debug, Serialize)]
pub(crate) struct DrainShown {
    started_ms: u64,
    delay: f64,
    grace: Option<f64>,
    remaining: Option<f64>,
    report: Option<DrainReport>,
}

impl Drains {
    pub(crate) fn observe(&self, event: &PoolEvent<'_>) {
        match event {
            PoolEvent::PoolDraining { delay, grace } => {
                let (started, started_ms) = (Instant::now(), now_ms());
                *self.drain.lock() = Some(Drain { started, started_ms, delay: *delay, grace: *grace, report: None });
            }
            PoolEvent::Blocked { acceptor: Some(acceptor), so_far, .. } => {
                let mut blocks = self.blocks.lock();
                let blocks = blocks.entry(*acceptor).or_default();
                *blocks = Blocks { count: blocks.count + 1, last: so_far.as_secs_f64(), last_ms: now_ms() };
            }
            PoolEvent::AcceptorStopped { .. } => drop(self.acceptors_stopped.fetch_add(1, Relaxed)),
            PoolEvent::Alarm { name, raised: true, .. } => {
                *self.alarms.lock().entry((*name).to_owned()).or_default() += 1;
            }
            _ => {}
        }
    }

    pub(crate) fn acceptors_stopped(&self) -> u64 {
        self.acceptors_stopped.load(Relaxed)
    }

    pub(crate) fn alarms(&self) -> BTreeMap<String, u64> {
        self.alarms.lock().clone()
    }

    pub(crate) fn blocks(&self, acceptor: usize) -> Option<Blocks> {
        self.blocks.lock().get(&acceptor).copied()
    }

    /// Whether the pool drained and the report is not known.
    pub(crate) fn lacks_report(&self) -> bool {
        self.drain.lock().as_ref().is_none_or(|drain| drain.report.is_none())
    }

    /// Keeps the report. If the start of the drain has not been seen, it began as long ago as it took.
    pub(crate) fn set_report(&self, report: DrainReport) {
        let mut drain = self.drain.lock();
        let unseen = || Drain {
            started: Instant::now(),
            started_ms: now_ms().saturating_sub(report.took.as_millis() as u64),
            delay: Duration::ZERO,
            grace: None,
            report: None,
        };
        drain.get_or_insert_with(unseen).report = Some(report);
    }

    pub(crate) fn shown(&self) -> Option<DrainShown> {
        let drain = self.drain.lock();
        let Drain { started, started_ms, delay, grace, report } = drain.as_ref()?;
        let (delay, grace) = (delay.as_secs_f64(), grace.map(|grace| grace.as_secs_f64()));
        let remaining = grace.filter(|_| report.is_none()).map(|grace| {
            let remaining = (delay + grace - started.elapsed().as_secs_f64()).max(0.0);
            (remaining * 10.0).round() / 10.0
        });
        Some(DrainShown { started_ms: *started_ms, delay, grace, remaining, report: *report })
    }
}
