//! The last events of the pools, and what viewers did.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::Arc;

use actix_acceptor::telemetry::{CloseReason, Observer, PoolEvent};
use parking_lot::Mutex;
use serde::Serialize;

use crate::drains::Drains;
use crate::session::now_ms;
use crate::text::clean;

/// How many events are kept.
pub(crate) const KEPT: usize = 200;
/// How many events of a kind are kept per second.
const PER_SECOND: u32 = 10;
/// How many characters of a text are kept.
const MAX_TEXT: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
}

#[derive(Debug, Serialize)]
pub(crate) struct EventRecord {
    pub(crate) seq: u64,
    pub(crate) time_ms: u64,
    pub(crate) pool: Option<String>,
    pub(crate) kind: &'static str,
    pub(crate) level: Level,
    pub(crate) text: String,
    pub(crate) connection: Option<u64>,
    pub(crate) left_out: u32,
}

/// The last events, of all pools.
pub(crate) struct Events {
    kept: Mutex<Kept>,
    kinds: [Kind; KINDS.len()],
}

#[derive(Default)]
struct Kept {
    last: u64,
    records: VecDeque<Arc<EventRecord>>,
}

#[derive(Default)]
struct Kind {
    /// Events of the current second.
    count: AtomicU32,
    left_out: AtomicU32,
}

const KINDS: [&str; 25] = [
    "action",
    "sign_in",
    "pool_started",
    "pool_suspended",
    "pool_resumed",
    "settings_changed",
    "pool_draining",
    "pool_ended",
    "listener_started",
    "listener_changed",
    "listener_stopped",
    "acceptor_started",
    "acceptor_stopped",
    "accept_error",
    "peer_held",
    "peer_released",
    "refused",
    "connection_started",
    "limit_reached",
    "limit_cleared",
    "handshake_failed",
    "replies_dropped",
    "connection_stopped",
    "blocked",
    "alarm",
];

/// An event before it is recorded. The text is made only if it is.
struct New<'a> {
    pool: Option<&'a str>,
    kind: &'static str,
    level: Level,
    connection: Option<u64>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Events { kept: Mutex::default(), kinds: std::array::from_fn(|_| Kind::default()) }
    }

    /// Begins another second.
    pub(crate) fn next_second(&self) {
        self.kinds.iter().for_each(|kind| kind.count.store(0, Relaxed));
    }

    /// Those after a number, the oldest first, and the number of the last one.
    pub(crate) fn after(&self, seq: u64) -> (Vec<Arc<EventRecord>>, u64) {
        let kept = self.kept.lock();
        (kept.records.iter().filter(|record| record.seq > seq).cloned().collect(), kept.last)
    }

    /// The number of the last one.
    pub(crate) fn last(&self) -> u64 {
        self.kept.lock().last
    }

    /// What a viewer did.
    pub(crate) fn record(&self, kind: &'static str, pool: Option<&str>, level: Level, text: &str) {
        self.add(New { pool, kind, level, connection: None }, || text.to_owned());
    }

    fn add(&self, new: New<'_>, text: impl FnOnce() -> String) {
        let Some(kind) = KINDS.iter().position(|kind| *kind == new.kind).map(|at| &self.kinds[at]) else { return };
        // First a read: a second with a great number of events writes only one of the two counters.
        if kind.count.load(Relaxed) >= PER_SECOND || kind.count.fetch_add(1, Relaxed) >= PER_SECOND {
            kind.left_out.fetch_add(1, Relaxed);
            return;
        }
        let New { pool, kind: name, level, connection } = new;
        let (text, pool, left_out) =
            (clean(&text(), MAX_TEXT), pool.map(str::to_owned), kind.left_out.swap(0, Relaxed));
        let mut kept = self.kept.lock();
        kept.last += 1;
        let record =
            EventRecord { seq: kept.last, time_ms: now_ms(), pool, kind: name, level, text, connection, left_out };
        if kept.records.len() == KEPT {
            kept.records.pop_front();
        }
        kept.records.push_back(Arc::new(record));
    }
}

/// Records the events of a pool.
pub(crate) struct Recorder {
    pub(crate) events: Arc<Events>,
    pub(crate) drains: Arc<Drains>,
    pub(crate) pool: String,
}

impl Observer for Recorder {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        self.drains.observe(event);
        let add = |kind, level, id: Option<actix_acceptor::ConnectionId>, text: &dyn Fn() -> String| {
            let connection = id.map(|id| id.get());
            self.events.add(New { pool: Some(&self.pool), kind, level, connection }, text);
        };
        match event {
            PoolEvent::PoolStarted => add("pool_started", Level::Info, None, &|| "the pool has started".to_owned()),
            PoolEvent::PoolSuspended { mode } => {
                add("pool_suspended", Level::Warn, None, &|| format!("the pool is suspended ({mode:?})"))
            }
            PoolEvent::PoolResumed => add("pool_resumed", Level::Info, None, &|| "the pool accepts again".to_owned()),
            PoolEvent::SettingsChanged { changed } => {
                add("settings_changed", Level::Info, None, &|| format!("settings changed: {changed}"))
            }
            PoolEvent::PoolDraining { delay, grace } => add("pool_draining", Level::Warn, None, &|| match grace {
                Some(grace) => format!("the pool is draining: delay {delay:?}, grace {grace:?}"),
                None => format!("the pool is draining: delay {delay:?}, no limit"),
            }),
            PoolEvent::PoolEnded { outcome, forced, took, .. } => {
                let level = if outcome.is_ok() { Level::Info } else { Level::Error };
                add("pool_ended", level, None, &|| match outcome {
                    Ok(()) => {
                        format!("the pool has ended after {took:.1?}; connections ended at the deadline: {forced}")
                    }
                    Err(error) => format!("the pool has failed: {error}"),
                })
            }
            PoolEvent::ListenerStarted { listener, address } => {
                add("listener_started", Level::Info, None, &|| format!("listener {listener} is open on {address}"))
            }
            PoolEvent::ListenerChanged { listener, address, .. } => {
                add("listener_changed", Level::Info, None, &|| format!("listener {listener} on {address} has changed"))
            }
            PoolEvent::ListenerStopped { listener, address } => {
                add("listener_stopped", Level::Info, None, &|| format!("listener {listener} on {address} is closed"))
            }
            PoolEvent::AcceptorStarted { acceptor } => {
                add("acceptor_started", Level::Info, None, &|| format!("acceptor {acceptor} has started"))
            }
            PoolEvent::AcceptorStopped { acceptor, exit } => {
                add("acceptor_stopped", Level::Warn, None, &|| format!("acceptor {acceptor} has ended: {exit}"))
            }
            PoolEvent::AcceptError { listener, error, .. } => {
                add("accept_error", Level::Warn, None, &|| format!("accept failed at {listener}: {error}"))
            }
            PoolEvent::PeerHeld { peer, listener, reason } => {
                add("peer_held", Level::Info, None, &|| format!("{peer} is held at {listener}: {reason}"))
            }
            PoolEvent::PeerReleased { peer, listener, held } => {
                add("peer_released", Level::Info, None, &|| format!("{peer} was held at {listener} for {held:.1?}"))
            }
            PoolEvent::Refused { id, peer, listener, reason } => {
                add("refused", Level::Warn, *id, &|| format!("{peer} was refused at {listener}: {reason}"))
            }
            PoolEvent::ConnectionStarted { id, peer, listener } => {
                add("connection_started", Level::Info, Some(*id), &|| {
                    format!("connection {id} of {peer} started at {listener}")
                })
            }
            PoolEvent::LimitReached { listener, scope, limit } => add("limit_reached", Level::Warn, None, &|| {
                format!("{listener} is at the limit of the {scope}: {limit}")
            }),
            PoolEvent::LimitCleared { listener } => {
                add("limit_cleared", Level::Info, None, &|| format!("{listener} is below the limit"))
            }
            PoolEvent::HandshakeFailed { id, peer, error, .. } => {
                add("handshake_failed", Level::Warn, Some(*id), &|| format!("the handshake of {peer} failed: {error}"))
            }
            PoolEvent::RepliesDropped { id, peer, replies, .. } => {
                add("replies_dropped", Level::Warn, Some(*id), &|| format!("{replies} replies to {peer} were left out"))
            }
            PoolEvent::ConnectionStopped { id, peer, reason, detail, .. } => {
                add("connection_stopped", level_of(*reason), Some(*id), &|| match detail {
                    Some(detail) => format!("connection {id} of {peer} ended: {reason}: {detail}"),
                    None => format!("connection {id} of {peer} ended: {reason}"),
                })
            }
            PoolEvent::Blocked { acceptor, id, so_far } => add("blocked", Level::Warn, *id, &|| {
                let at = acceptor.map(|acceptor| format!(" of acceptor {acceptor}")).unwrap_or_default();
                let by = id.map(|id| format!(" by connection {id}")).unwrap_or_default();
                format!("the arbiter{at} is blocked{by}, {so_far:.1?} so far")
            }),
            PoolEvent::Alarm { name, raised, connections } => {
                let (level, what) = if *raised { (Level::Warn, "raised") } else { (Level::Info, "cleared") };
                add("alarm", level, None, &|| format!("alarm {name} {what} at {connections} connections"))
            }
            _ => {}
        }
    }
}

fn level_of(reason: CloseReason) -> Level {
    match reason {
        CloseReason::Panic => Level::Error,
        CloseReason::Error | CloseReason::SlowConsumer | CloseReason::SendTimeout | CloseReason::Handshake => {
            Level::Warn
        }
        _ => Level::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_per_kind_and_in_total() {
        let events = Events::new();
        for _ in 0..100 {
            events.record("refused", Some("0"), Level::Warn, "a\nb");
            events.record("action", None, Level::Info, &"x".repeat(10_000));
        }
        let (records, last) = events.after(0);
        assert_eq!((records.len() as u32, last), (2 * PER_SECOND, 2 * u64::from(PER_SECOND)));
        assert!(records
            .iter()
            .all(|record| record.text.chars().count() <= MAX_TEXT + 1 && !record.text.contains('\n')));
        events.next_second();
        events.record("refused", Some("0"), Level::Warn, "c");
        assert_eq!(events.after(last).0[0].left_out, 100 - PER_SECOND);
        for _ in 0..100 {
            events.next_second();
            (0..PER_SECOND).for_each(|_| events.record("alarm", None, Level::Info, "d"));
        }
        assert_eq!(events.after(0).0.len(), KEPT);
    }
}
