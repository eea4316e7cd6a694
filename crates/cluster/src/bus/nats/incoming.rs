//! The queue of messages that have arrived and wait to be handled, bounded in bytes.
//!
//! The client drops what a subscription has no room for, and does not count it reliably. So a task per subscription moves messages
//! here at once, and one task passes them on.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::{error, warn};

use crate::bus::OnMessage;
use crate::counters::{Counters, Throttle};

/// What a message takes up beside its subject and payload, about.
pub(super) const OVERHEAD: usize = 64;

pub(super) struct Incoming {
    sender: mpsc::UnboundedSender<Arrived>,
    room: Arc<Room>,
    counters: Arc<Counters>,
}

/// What is waiting, messages and requests together.
#[derive(Debug)]
struct Room {
    bytes: AtomicUsize,
    limit: usize,
    overflows: Throttle,
}

/// The part of the room that a message takes up, until it is dropped.
pub(super) struct Place {
    room: Arc<Room>,
    cost: usize,
}

struct Arrived {
    on_message: Arc<OnMessage>,
    payload: Bytes,
    place: Place,
}

impl Incoming {
    /// A queue, and the task that empties it.
    pub(super) fn new(limit: usize, counters: Arc<Counters>) -> (Arc<Self>, impl Future<Output = ()> + Send) {
        let (sender, mut queue) = mpsc::unbounded_channel::<Arrived>();
        let room = Room { bytes: AtomicUsize::new(0), limit, overflows: Throttle::new(Duration::from_secs(10)) };
        let task = async move {
            while let Some(Arrived { on_message, payload, place }) = queue.recv().await {
                // A panic of one must not end all of them.
                if catch_unwind(AssertUnwindSafe(|| on_message(payload))).is_err() {
                    error!("panic while a message of another node was handled");
                }
                drop(place);
            }
        };
        (Arc::new(Incoming { sender, room: Arc::new(room), counters }), task)
    }

    pub(super) fn push(&self, on_message: &Arc<OnMessage>, payload: Bytes) {
        if let Some(place) = self.place(payload.len()) {
            self.counters.received.fetch_add(1, Relaxed);
            let _ = self.sender.send(Arrived { on_message: on_message.clone(), payload, place });
        }
    }

    /// A place for a message of this length. Counted as an overflow if there is no room.
    pub(super) fn place(&self, length: usize) -> Option<Place> {
        let (room, cost) = (&self.room, length + OVERHEAD);
        let place = Place { room: room.clone(), cost };
        let queued = room.bytes.fetch_add(cost, Relaxed);
        // One message has room in any case.
        if queued == 0 || queued + cost <= room.limit {
            return Some(place);
        }
        self.counters.overflowed.fetch_add(1, Relaxed);
        if let Some(left_out) = room.overflows.allow() {
            let limit = room.limit;
            warn!(queued, limit, left_out, "messages from other nodes arrive faster than they are handled");
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.bytes.fetch_sub(self.cost, Relaxed);
    }
}
