//! A listener as the acceptors see it: what they are to do with its peers just now.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::{Accept, Transport};
use crate::handshake::Handshake;
use crate::limits::ListenerLimits;
use crate::net::Address;
use crate::registry::RegistryShared;
use crate::telemetry::PoolEvent;

/// What acceptors do with a listener's peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerMode {
    /// Take them.
    Accepting,
    /// Leave them in the kernel's queue.
    Paused,
    /// Take those that are queued, then let go of the port until it is open again.
    Closed(BacklogPolicy),
    /// The same, and for good.
    Removed(BacklogPolicy),
}

/// What happens to the peers that are in the kernel's queue when a port closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BacklogPolicy {
    /// They are accepted and served, as far as the limits allow; the others are refused.
    #[default]
    Accept,
    /// They are accepted and closed.
    Refuse,
    /// They are left to the kernel, which resets them.
    Drop,
}

/// One listener of a pool.
pub(crate) struct ListenerState {
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) limits: Arc<ListenerLimits>,
    /// What its peers go through before they are ready.
    pub(crate) steps: Vec<Arc<dyn Handshake>>,
    mode: watch::Sender<ListenerMode>,
    /// How many acceptors have a share of the port open.
    handles: watch::Sender<usize>,
    /// How many of them are taking peers.
    accepting: watch::Sender<usize>,
    /// Last, so that it is told of the end when the port is closed.
    events: ListenerEvents,
}

/// What observers think of the port.
struct ListenerEvents {
    is_open: AtomicBool,
    shared: OnceLock<Arc<RegistryShared>>,
    listener: Arc<str>,
    address: Address,
}

impl ListenerEvents {
    fn tell(&self, open: bool) {
        if self.is_open.swap(open, Relaxed) == open {
            return;
        }
        let (listener, address) = (&*self.listener, &self.address);
        if let Some(shared) = self.shared.get() {
            shared.observers.emit(|| match open {
                true => PoolEvent::ListenerStarted { listener, address },
                false => PoolEvent::ListenerStopped { listener, address },
            });
        }
    }
}

impl Drop for ListenerEvents {
    fn drop(&mut self) {
        self.tell(false);
    }
}

impl ListenerState {
    pub(crate) fn new(
        transport: Box<dyn Transport>,
        limits: Arc<ListenerLimits>,
        steps: Vec<Arc<dyn Handshake>>,
    ) -> Arc<Self> {
        let (listener, address) = (limits.name().clone(), transport.local_addr());
        let events = ListenerEvents { is_open: AtomicBool::new(false), shared: OnceLock::new(), listener, address };
        let (mode, handles) = (watch::Sender::new(ListenerMode::Accepting), watch::Sender::new(0));
        let accepting = watch::Sender::new(0);
        Arc::new(ListenerState { transport, limits, steps, mode, handles, accepting, events })
    }

    /// Tells every acceptor what to do. ListenerEvents the same again, they look at the limits anew.
    pub(crate) fn set_mode(&self, mode: ListenerMode) {
        self.mode.send_replace(mode);
    }

    pub(crate) fn mode(&self) -> ListenerMode {
        *self.mode.borrow()
    }

    /// Whether nothing that peers go through here keeps this one out from the start.
    pub(crate) fn allows(&self, peer: &Address) -> bool {
        self.steps.iter().all(|step| step.allows(peer))
    }

    /// Whether this peer would be kept out however much room there was.
    pub(crate) fn denies(&self, peer: &Address) -> bool {
        self.limits.denies(peer) || !self.allows(peer)
    }

    /// Waits until no acceptor takes peers, whatever it has open.
    pub(crate) async fn not_accepting(&self) {
        // The sender is here: it cannot be gone.
        let _ = self.accepting.subscribe().wait_for(|accepting| *accepting == 0).await;
    }

    /// Marks an acceptor as one that takes peers, until the mark is dropped.
    pub(crate) fn accepting(&self) -> AcceptingGuard<'_> {
        self.accepting.send_modify(|accepting| *accepting += 1);
        AcceptingGuard(self)
    }

    pub(crate) fn mode_changes(&self) -> watch::Receiver<ListenerMode> {
        self.mode.subscribe()
    }

    /// The port is open: the observers are told if that is news, and again when it is closed for good.
    pub(crate) fn emit_opened(&self, shared: &Arc<RegistryShared>) {
        self.events.shared.get_or_init(|| shared.clone());
        self.events.tell(true);
    }

    /// The port is closed for now.
    pub(crate) fn emit_closed(&self) {
        self.events.tell(false);
    }

    /// Waits until no acceptor has a share open.
    pub(crate) async fn no_handles(&self) {
        // The sender is here: it cannot be gone.
        let _ = self.handles.subscribe().wait_for(|handles| *handles == 0).await;
    }
}

/// An acceptor's share of the port, counted while it is open.
pub(crate) struct AcceptHandle {
    pub(crate) accept: Box<dyn Accept>,
    _count: HandleCount,
}

/// An acceptor that takes peers.
pub(crate) struct AcceptingGuard<'a>(&'a ListenerState);

impl Drop for AcceptingGuard<'_> {
    fn drop(&mut self) {
        self.0.accepting.send_modify(|accepting| *accepting -= 1);
    }
}

struct HandleCount(Arc<ListenerState>);

impl AcceptHandle {
    pub(crate) fn of(state: &Arc<ListenerState>) -> io::Result<Self> {
        state.handles.send_modify(|handles| *handles += 1);
        // HandleCount before it is open, and until it is closed: whoever waits for the port to be free finds it so.
        let counted = HandleCount(state.clone());
        Ok(AcceptHandle { accept: state.transport.share()?, _count: counted })
    }
}

impl Drop for HandleCount {
    fn drop(&mut self) {
        self.0.handles.send_modify(|handles| *handles -= 1);
    }
}
