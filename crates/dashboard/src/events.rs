//! The last events of the pools, and what viewers did.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

use actix_acceptor::telemetry::{CloseReason, Observer, PoolEvent};
use parking_lot::Mutex;
use serde::Serialize;

use crate::drains::Drains;
use crate::session::now_ms;
use crate::text::clean;

/// How many events are kept of each pool, and how many that belong to no pool.
pub(crate) const KEPT: usize = 200;
/// How many events of a kind and pool are kept per second.
const PER_SECOND: u64 = 10;
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
#[derive(Default)]
pub(crate) struct Events(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    last: u64,
    /// By pool, so that one with many events does not hide those of others.
    records: BTreeMap<Option<String>, VecDeque<Arc<EventRecord>>>,
}

/// The limit on the events of one pool, or on those that belong to no pool.
#[derive(Default)]
pub(crate) struct Limit([Kind; KINDS.len()]);

#[derive(Default)]
struct Kind {
    /// The current second, and in the lower 16 bits its events.
    second: AtomicU64,
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
    /// Those after a number, the oldest first, and the number of the last one.
    pub(crate) fn after(&self, seq: u64) -> (Vec<Arc<EventRecord>>, u64) {
        let kept = self.0.lock();
        let all = kept.records.values().flatten();
        let mut after: Vec<_> = all.filter(|record| record.seq > seq).cloned().collect();
        after.sort_unstable_by_key(|record| record.seq);
        (after, kept.last)
    }

    /// The number of the last one.
    pub(crate) fn last(&self) -> u64 {
        self.0.lock().last
    }

    /// What a viewer did.
    pub(crate) fn record(&self, limit: &Limit, kind: &'static str, pool: Option<&str>, level: Level, text: &str) {
        self.add(limit, New { pool, kind, level, connection: None }, || text.to_owned());
    }

    fn add(&self, limit: &Limit, new: New<'_>, text: impl FnOnce() -> String) {
        let New { pool, kind, level, connection } = new;
        let Some(limit) = KINDS.iter().position(|other| *other == kind).map(|at| &limit.0[at]) else { return };
        if !limit.allows(now_ms() / 1_000) {
            limit.left_out.fetch_add(1, Relaxed);
            return;
        }
        let (text, pool, left_out) =
            (clean(&text(), MAX_TEXT), pool.map(str::to_owned), limit.left_out.swap(0, Relaxed));
        let mut kept = self.0.lock();
        kept.last += 1;
        let seq = kept.last;
        let records = kept.records.entry(pool.clone()).or_default();
        if records.len() == KEPT {
            records.pop_front();
        }
        records.push_back(Arc::new(EventRecord {
            seq,
            time_ms: now_ms(),
            pool,
            kind,
            level,
            text,
            connection,
            left_out,
        }));
    }
}

impl Kind {
    fn allows(&self, second: u64) -> bool {
        let current = self.second.load(Relaxed);
        if current >> 16 == second {
            // First a read: a second with a great number of events writes only the number of those that are left out.
            return current & 0xffff < PER_SECOND && self.second.fetch_add(1, Relaxed) & 0xffff < PER_SECOND;
        }
        let begun = self.second.compare_exchange(current, second << 16 | 1, Relaxed, Relaxed);
        begun.is_ok() || self.second.fetch_add(1, Relaxed) & 0xffff < PER_SECOND
    }
}

/// Records the events of a pool.
pub(crate) struct Recorder {
    pub(crate) events: Arc<Events>,
    pub(crate) limit: Limit,
    pub(crate) drains: Arc<Drains>,
    pub(crate) pool: String,
}

impl Observer for Recorder {
    fn observe(&self, _: &str, event: &PoolEvent<'_>) {
        self.drains.observe(event);
        let add = |kind, level, id: Option<actix_acceptor::ConnectionId>, text: &dyn Fn() -> String| {
            let connection = id.map(|id| id.get());
            self.events.add(&self.limit, New { pool: Some(&self.pool), kind, level, connection }, text);
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
    fn events_are_limited_per_kind_and_second() {
        let limit = Limit::default();
        for second in [7, 8, 100] {
            let allowed = |kind: usize| (0..100).filter(|_| limit.0[kind].allows(second)).count() as u64;
            assert_eq!((allowed(0), allowed(1)), (PER_SECOND, PER_SECOND), "{second}");
        }
    }

    #[test]
    fn events_of_one_pool_do_not_hide_those_of_others() {
        let (events, quiet) = (Events::default(), Limit::default());
        events.record(&quiet, "pool_started", Some("1"), Level::Info, "a\nb");
        for _ in 0..1_000 {
            // A new limit is another second.
            events.record(&Limit::default(), "refused", Some("0"), Level::Warn, &"x".repeat(10_000));
        }
        let (records, last) = events.after(0);
        assert_eq!((records.len(), last), (1 + KEPT, 1_001));
        assert_eq!((records[0].seq, records[0].text.as_str()), (1, "a\\nb"));
        assert!(records.is_sorted_by_key(|record| record.seq));
        assert!(records.iter().all(|record| record.text.chars().count() <= MAX_TEXT + 1));
    }

    #[test]
    fn events_that_are_left_out_are_counted() {
        let (events, limit) = (Events::default(), Limit::default());
        for _ in 0..100 {
            events.record(&limit, "refused", Some("0"), Level::Warn, "a");
        }
        let kept = events.after(0).0.len() as u32;
        let at = KINDS.iter().position(|kind| *kind == "refused").expect("a kind");
        limit.0[at].second.store(0, Relaxed);
        events.record(&limit, "refused", Some("0"), Level::Warn, "b");
        let counted: u32 = events.after(0).0.iter().map(|record| record.left_out).sum();
        assert_eq!(counted, 100 - kept);
    }
}
