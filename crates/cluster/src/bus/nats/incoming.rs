//! What has arrived and waits to be passed on, which is bounded in bytes.
//!
//! The client drops what a subscription has no room for, and does not count it reliably. So a task per subscription moves messages
//! here at once, and one task passes them on.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::warn;

use crate::bus::OnMessage;
use crate::counters::{Counters, Throttle};

/// What a message takes up beside its payload.
const OVERHEAD: usize = 64;

pub(super) struct Incoming {
    sender: mpsc::UnboundedSender<Arrived>,
    bytes: AtomicUsize,
    limit: usize,
    counters: Arc<Counters>,
    overflows: Throttle,
}

struct Arrived {
    on_message: Arc<OnMessage>,
    payload: Bytes,
}

impl Incoming {
    /// A queue, and the task that empties it.
    pub(super) fn new(limit: usize, counters: Arc<Counters>) -> (Arc<Self>, impl Future<Output = ()> + Send) {
        let (sender, mut queue) = mpsc::unbounded_channel::<Arrived>();
        let overflows = Throttle::new(Duration::from_secs(10));
        let incoming = Arc::new(Incoming { sender, bytes: AtomicUsize::new(0), limit, counters, overflows });
        let shared = incoming.clone();
        let task = async move {
            while let Some(Arrived { on_message, payload }) = queue.recv().await {
                let cost = payload.len() + OVERHEAD;
                on_message(payload);
                shared.bytes.fetch_sub(cost, Relaxed);
            }
        };
        (incoming, task)
    }

    pub(super) fn push(&self, on_message: &Arc<OnMessage>, payload: Bytes) {
        let cost = payload.len() + OVERHEAD;
        // One message has room in any case.
        let queued = self.bytes.fetch_add(cost, Relaxed);
        if queued > 0 && queued + cost > self.limit {
            self.bytes.fetch_sub(cost, Relaxed);
            self.counters.overflowed.fetch_add(1, Relaxed);
            if let Some(left_out) = self.overflows.allow() {
                warn!(
                    queued,
                    limit = self.limit,
                    left_out,
                    "messages of other nodes arrive faster than they are handled"
                );
            }
            return;
        }
        self.counters.received.fetch_add(1, Relaxed);
        let _ = self.sender.send(Arrived { on_message: on_message.clone(), payload });
    }
}
