//! [`Drains`], what the events of a pool say about its drain, the blocks of its arbiters, and its alarms.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use actix_acceptor::info::{DrainReport, Draining};
use actix_acceptor::telemetry::PoolEvent;
use parking_lot::Mutex;
use serde::Serialize;

use crate::session::now_ms;

/// What the events of a pool have said.
#[derive(Default)]
pub(crate) struct Drains {
    drain: Mutex<Drain>,
    blocks: Mutex<BTreeMap<usize, Blocks>>,
    acceptors_stopped: AtomicU64,
    /// How often each alarm was raised.
    alarms: Mutex<BTreeMap<String, u64>>,
}

#[derive(Clone, Copy, Default)]
struct Drain {
    /// `None` if it began before the pool was added.
    started_ms: Option<u64>,
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
    delay_left: Option<f64>,
    remaining: Option<f64>,
    so_far: Option<DrainReport>,
    report: Option<DrainReport>,
}

impl Drains {
    pub(crate) fn observe(&self, event: &PoolEvent<'_>) {
        match event {
            PoolEvent::PoolDraining { .. } => self.drain.lock().started_ms = Some(now_ms()),
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

    /// Whether the report of the drain is not known.
    pub(crate) fn lacks_report(&self) -> bool {
        self.drain.lock().report.is_none()
    }

    pub(crate) fn set_report(&self, report: DrainReport) {
        self.drain.lock().report = Some(report);
    }

    /// The drain of a pool, whatever started it.
    pub(crate) fn shown(&self, draining: Option<Draining>) -> Option<DrainShown> {
        let Drain { started_ms, report } = *self.drain.lock();
        let draining = draining.filter(|_| report.is_none());
        let so_far = draining.map(|draining| draining.report);
        let took = report.or(so_far)?.took;
        let tenths = |time: Duration| (time.as_secs_f64() * 10.0).round() / 10.0;
        Some(DrainShown {
            // If the pool was added later, the duration of the drain shows when it began.
            started_ms: started_ms.unwrap_or_else(|| now_ms().saturating_sub(took.as_millis() as u64)),
            delay_left: draining.map(|draining| tenths(draining.delay_left)),
            remaining: draining.and_then(|draining| draining.time_left).map(tenths),
            so_far,
            report,
        })
    }
}
