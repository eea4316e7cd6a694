//! A registry and its connections, reduced to what other threads use: signals, outboxes, groups, wake-ups.

#![allow(dead_code, unused_imports, reason = "the library asks for more than the models do")]

#[path = "../../src/registry/acks.rs"]
mod acks;
#[path = "../../src/registry/deferred.rs"]
mod deferred;
#[path = "../../src/registry/entries.rs"]
mod entries;
#[path = "../../src/registry/format.rs"]
mod format;
#[path = "../../src/registry/groups.rs"]
mod groups;
#[path = "../../src/registry/messaging.rs"]
mod messaging;
#[path = "../../src/registry/outbox.rs"]
mod outbox;
#[path = "../../src/registry/signals.rs"]
mod signals;
#[path = "../../src/registry/wake.rs"]
mod wake;

use std::any::TypeId;
use std::future::poll_fn;
use std::sync::atomic::Ordering::*;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use deferred::Deferred;
pub(crate) use deferred::DeferredReplies;
pub(crate) use entries::Entries;
pub(crate) use format::{Format, Formats};
pub(crate) use groups::{Group, GroupChange};
pub(crate) use messaging::OutboxLimit;
pub(crate) use outbox::{OutboxQueue, Payload, Pushed, Segment};
use signals::AtomicSignals;
pub(crate) use signals::Signals;
pub(crate) use wake::Batch;

use crate::config::{Settings, SlowConsumer};
use crate::sync::{AtomicBool, Mutex, OnceBox};
use crate::telemetry::ConnectionId;

/// Wakes connections, as the task of an arbiter.
pub(crate) async fn run_wakes(registry: Arc<Registry>) {
    wake::run_wakes(registry).await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionPhase {
    Handshaking,
    Open,
    Waiting,
    Closing,
}

pub(crate) struct ConnectionState {
    id: ConnectionId,
    messaging: messaging::Messaging,
    signals: AtomicSignals,
    arbiter: OnceBox<Arc<Arbiter>>,
    is_woken: AtomicBool,
}

impl ConnectionState {
    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(super) fn has_replies_of(&self, _: TypeId) -> bool {
        true
    }

    pub(crate) fn signals(&self) -> Signals {
        self.signals.get()
    }

    pub(super) fn add_signals(&self, signals: Signals) -> bool {
        self.signals.set(signals)
    }

    pub(super) fn signal(&self, signals: Signals) -> bool {
        let is_new = self.add_signals(signals);
        self.wake();
        is_new
    }

    pub(super) fn set_signals(&self, signals: Signals) {
        self.signals.set(signals);
    }

    pub(crate) fn clear(&self, signals: Signals) {
        self.signals.clear(signals);
    }

    pub(super) fn wake(&self) {
        if let Some(arbiter) = self.arbiter.get() {
            self.is_woken.swap(true, AcqRel);
            arbiter.0.notify();
        }
    }

    /// Whether it was woken since the last call.
    pub(crate) fn take_wake_up(&self) -> bool {
        self.is_woken.swap(false, AcqRel)
    }

    /// As `set_waker` of the library.
    pub(crate) fn set_arbiter(&self, arbiter: &Arc<Arbiter>) {
        self.arbiter.get_or_init(|| Box::new(arbiter.clone()));
        self.signals.set(Signals::empty());
    }

    /// Clears these signals. Returns false if none of them was set.
    pub(crate) fn take_signals(&self, signals: Signals) -> bool {
        let is_set = self.signals().intersects(signals);
        if is_set {
            self.clear(signals);
        }
        is_set
    }

    /// Takes what is in the outbox, as it does in its turn, and has it written.
    pub(crate) fn take_outbox(&self) -> Vec<Vec<u8>> {
        let Some(outbox) = self.outbox() else { return Vec::new() };
        let mut taken = Vec::new();
        while let Some(segment) = outbox.pop(usize::MAX) {
            let bytes = match segment {
                Segment::Copied(bytes) => bytes.to_vec(),
                Segment::Shared(bytes) => bytes.to_vec(),
                Segment::Reply(reply, estimate) => {
                    let bytes = reply.downcast::<Vec<u8>>().unwrap();
                    outbox.encoded(estimate, bytes.len());
                    *bytes
                }
                Segment::Marked(_) => unreachable!("no model asks for an acknowledgement"),
            };
            outbox.wrote(bytes.len(), 0);
            taken.push(bytes);
        }
        taken
    }

    pub(crate) fn pending(&self) -> usize {
        self.outbox().map_or(0, OutboxQueue::pending)
    }
}

impl std::fmt::Debug for ConnectionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.id.fmt(f)
    }
}

pub(crate) struct Registry {
    unwoken: AtomicSignals,
    unwoken_list: Mutex<wake::WakeList>,
    wake_list: Notify,
    deferred: Deferred,
    shared: Arc<RegistryShared>,
}

pub(crate) struct RegistryShared {
    outbox_limit: OutboxLimit,
}

impl RegistryShared {
    /// The number of replies that were left out.
    pub(crate) fn dropped(&self) -> u64 {
        self.outbox_limit.dropped()
    }
}

impl Registry {
    /// A registry whose connections have outboxes of this size.
    pub(crate) fn new(outbox: usize, slow_consumer: SlowConsumer) -> Arc<Self> {
        Arc::new(Registry {
            unwoken: AtomicSignals::default(),
            unwoken_list: Mutex::default(),
            wake_list: Notify::default(),
            deferred: Deferred::default(),
            shared: Arc::new(RegistryShared { outbox_limit: OutboxLimit::new(&Settings { outbox, slow_consumer }) }),
        })
    }

    pub(crate) fn report_group(&self, _: ConnectionId, _: GroupChange<'_>) {}

    pub(crate) fn shared(&self) -> &Arc<RegistryShared> {
        &self.shared
    }

    /// A connection that is ready.
    pub(crate) fn connect(self: &Arc<Self>, id: u64) -> ConnectionGuard {
        let state = ConnectionState {
            id: ConnectionId(id),
            messaging: messaging::Messaging::default(),
            signals: AtomicSignals::default(),
            arbiter: OnceBox::default(),
            is_woken: AtomicBool::new(false),
        };
        state.set_phase(ConnectionPhase::Open);
        ConnectionGuard { registry: self.clone(), state: Arc::new(state) }
    }

    /// Whether the arbiter was woken since the last call.
    pub(crate) fn take_wake_up(&self) -> bool {
        std::mem::take(&mut self.wake_list.0.lock().0)
    }

    fn for_each(&self, _: impl FnMut(&Arc<ConnectionState>)) {}

    fn wake_tick(&self) {}
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registry(..)")
    }
}

/// As tokio's, for one task that waits.
#[derive(Default)]
struct Notify(Mutex<(bool, Option<Waker>)>);

impl Notify {
    fn notify_one(&self) {
        let waker = {
            let mut notified = self.0.lock();
            notified.0 = true;
            notified.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    async fn notified(&self) {
        poll_fn(|cx| {
            let mut notified = self.0.lock();
            if std::mem::take(&mut notified.0) {
                return Poll::Ready(());
            }
            notified.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A thread that connections and tasks run on. It sleeps until one of them is woken.
pub(crate) struct Arbiter(loom::sync::Notify);

impl Arbiter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Arbiter(loom::sync::Notify::new()))
    }

    pub(crate) fn sleep(&self) {
        self.0.wait();
    }
}

impl Wake for Arbiter {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Ends its connection as that of the library does.
pub(crate) struct ConnectionGuard {
    registry: Arc<Registry>,
    state: Arc<ConnectionState>,
}

impl ConnectionGuard {
    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        &self.state
    }

    pub(crate) fn begin_closing(&self) {
        self.registry.flush_deferred();
        self.state.begin_closing();
        self.state.leave_groups(&self.registry);
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.state.leave_groups(&self.registry);
        self.state.discard_outbox();
    }
}
