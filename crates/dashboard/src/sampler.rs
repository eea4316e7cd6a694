//! The thread that reads the numbers of the pools once a second.
//!
//! It is independent of the runtimes of the web server, so the history has no gaps while no worker runs, and a blocked worker does not
//! delay it.

use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use serde_json::{json, value::to_value};

use crate::history::PERIOD;
use crate::process::ProcessReport;
use crate::report::PoolReport;
use crate::session::now_ms;
use crate::shared::Shared;

/// At most this many events are in one update.
const MAX_EVENTS: usize = 50;

/// Ends the thread when it is dropped.
#[derive(Debug)]
pub(crate) struct Sampler {
    _end: SyncSender<()>,
}

impl Sampler {
    /// # Panics
    /// If the system starts no thread.
    pub(crate) fn start(shared: &Arc<Shared>) -> Self {
        let (end, ended) = sync_channel(0);
        let began = Instant::now();
        for watched in &shared.pools {
            let info = watched.sample();
            watched.history.lock().begin(&info);
        }
        let shared = Arc::downgrade(shared);
        let thread = std::thread::Builder::new().name("dashboard".to_owned());
        thread.spawn(move || run(&shared, &ended, began)).expect("a thread for the dashboard");
        Sampler { _end: end }
    }
}

fn run(shared: &Weak<Shared>, ended: &Receiver<()>, began: Instant) {
    let (mut last, mut seq, mut last_event) = (began, 0, 0);
    while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        let Some(shared) = shared.upgrade() else { return };
        let (now, time_ms) = (Instant::now(), now_ms());
        let passed = now - last;
        last = now;
        seq += 1;
        for watched in &shared.pools {
            let info = watched.sample();
            watched.history.lock().add(&info, passed, time_ms);
            watched.drop_old_lists();
        }
        let viewers = shared.viewers.len();
        if viewers > 0 {
            let message = update(&shared, seq, &mut last_event, viewers);
            shared.viewers.send(&message, |session| shared.keys.is_valid(session));
        } else {
            last_event = shared.events.last();
        }
    }
}

/// The update that all viewers receive.
fn update(shared: &Shared, seq: u64, last_event: &mut u64, viewers: usize) -> Bytes {
    let (mut events, last) = shared.events.after(*last_event);
    *last_event = last;
    events.drain(..events.len().saturating_sub(MAX_EVENTS));
    let pools: Vec<_> = shared.pools.iter().map(|watched| PoolReport::new(watched)).collect();
    let data = json!({
        "seq": seq,
        "time_ms": now_ms(),
        "pools": to_value(pools).unwrap_or_default(),
        "process": ProcessReport::read(),
        "events": events,
        "viewers": viewers,
    });
    message("update", Some(seq), &data)
}

/// A server-sent event. JSON has no line feeds.
pub(crate) fn message(event: &str, id: Option<u64>, data: &serde_json::Value) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("event: {event}\n{id}data: {data}\n\n").into()
}
