//! [`ListenerState`], a listener of a running pool, shared by its acceptors.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::error;

use super::own_sockets::Assignment;
use super::{Accept, ListenerService, OpenTransport, Steps};
use crate::config::BacklogPolicy;
use crate::handshake::{Handshake, HandshakeInfo, Step};
use crate::limits::{Env, FairAcceptorsGuard, ListenerLimits};
use crate::net::Address;
use crate::panic::{catch_panic, Guarded};
use crate::registry::RegistryShared;
use crate::telemetry::{LogThrottle, PoolEvent, SpanOf};

/// What acceptors do with the connections of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerMode {
    /// Accept them.
    Accepting,
    /// Leave them in the kernel's queue.
    Paused,
    /// Handle the connections in the queue by this policy, then close the handle until the listener is open again.
    Closed(BacklogPolicy),
    /// As `Closed`, permanently.
    Removed(BacklogPolicy),
}

/// A listener of a running pool.
pub(crate) struct ListenerState {
    pub(crate) transport: OpenTransport,
    /// The permits and counts, which stay the same ones.
    pub(crate) limits: Arc<ListenerLimits>,
    current: ArcSwap<ForNewConnections>,
    /// The steps of the transport, which do not change.
    transport_steps: Guarded<Vec<Arc<dyn Handshake>>>,
    mode: watch::Sender<ListenerMode>,
    /// How many acceptors have a handle open.
    handles: watch::Sender<usize>,
    /// How many acceptors are accepting.
    accepting: watch::Sender<usize>,
    panics: LogThrottle,
    _fair_acceptors: Option<FairAcceptorsGuard>,
    /// Dropped after the transport: it reports that this is closed.
    events: ListenerEvents,
    /// Dropped last: [`closed`](Self::closed) resolves then.
    alive: watch::Sender<()>,
}

/// What a new connection gets. It is replaced as a whole.
pub(crate) struct ForNewConnections {
    /// The limits of the listener, with its current name and kind of connections.
    pub(crate) limits: Arc<ListenerLimits>,
    pub(crate) service: Arc<ListenerService>,
    pub(crate) steps: Guarded<Steps>,
}

/// Reports to the observers when the listener opens and closes.
struct ListenerEvents {
    is_open: AtomicBool,
    shared: OnceLock<Arc<RegistryShared>>,
    listener: ArcSwap<ListenerLimits>,
    address: Address,
}

impl ListenerEvents {
    /// Emits the event of the new state, if the state has changed. The span is open from before the first event until after the
    /// second.
    fn set_open(&self, open: bool) {
        if self.is_open.swap(open, Relaxed) == open {
            return;
        }
        let limits = self.listener.load_full();
        let (listener, address) = (&**limits.name(), &self.address);
        if open {
            self.open_span(&limits);
            self.emit(PoolEvent::ListenerStarted { listener, address });
        } else {
            self.emit(PoolEvent::ListenerStopped { listener, address });
            limits.set_span(None);
        }
    }

    /// Opens the span of the listener, if the listener is open and has none.
    fn open_span(&self, limits: &ListenerLimits) {
        let Some(shared) = self.shared.get().filter(|_| self.is_open.load(Relaxed) && limits.span().is_none()) else {
            return;
        };
        let of = SpanOf::Listener { listener: limits.name(), address: &self.address };
        let span = shared.observers.open_span(&of, shared.observers.pool_span().as_deref());
        if span.is_some() {
            limits.set_span(span);
        }
        if !self.is_open.load(Relaxed) {
            // Closed meanwhile, by another thread.
            limits.set_span(None);
        }
    }

    /// Sets the limits for new connections. A listener with another name gets another span. Returns the previous limits.
    fn set_limits(&self, limits: &Arc<ListenerLimits>) -> Arc<ListenerLimits> {
        let before = self.listener.swap(limits.clone());
        if before.name() == limits.name() {
            limits.set_span(before.span());
        }
        self.open_span(limits);
        before
    }

    /// Emits the event of a change, if the listener is open.
    fn changed(&self, limits: &ListenerLimits, before: &ListenerLimits) {
        if self.is_open.load(Relaxed) {
            let (listener, previous) = (&**limits.name(), &**before.name());
            self.emit(PoolEvent::ListenerChanged { listener, previous, address: &self.address });
        }
    }

    fn emit(&self, event: PoolEvent<'_>) {
        if let Some(shared) = self.shared.get() {
            shared.observers.emit(|| event);
        }
    }
}

impl Drop for ListenerEvents {
    fn drop(&mut self) {
        self.set_open(false);
    }
}

impl ListenerState {
    pub(super) fn new(
        transport: OpenTransport,
        limits: Arc<ListenerLimits>,
        env: Option<Env>,
        service: Arc<ListenerService>,
        proxy: Option<Step>,
        added: Vec<Step>,
    ) -> Arc<Self> {
        // `limits` lives as long as the listener. A value that may be replaced must not, so another `ListenerLimits` owns it.
        let for_new = match env {
            None => limits.clone(),
            env => limits.replaced(limits.name().clone(), service.kind, env),
        };
        let events = ListenerEvents {
            is_open: AtomicBool::new(false),
            shared: OnceLock::new(),
            listener: ArcSwap::new(for_new.clone()),
            address: transport.local_addr(),
        };
        let transport_steps = Guarded::new(transport.handshake());
        let steps = Guarded::new(Steps::new(proxy, &transport_steps, added));
        let fair_acceptors = transport.has_own_sockets().then(|| limits.limits().require_fair_acceptors());
        Arc::new(ListenerState {
            transport,
            current: ArcSwap::from_pointee(ForNewConnections { limits: for_new, service, steps }),
            limits,
            transport_steps,
            mode: watch::Sender::new(ListenerMode::Accepting),
            handles: watch::Sender::new(0),
            accepting: watch::Sender::new(0),
            panics: LogThrottle::new(),
            _fair_acceptors: fair_acceptors,
            events,
            alive: watch::Sender::new(()),
        })
    }

    /// The values for a connection that is accepted now.
    pub(crate) fn current(&self) -> Arc<ForNewConnections> {
        self.current.load_full()
    }

    pub(crate) fn name(&self) -> Arc<str> {
        self.current.load().limits.name().clone()
    }

    pub(super) fn transport_steps(&self) -> &[Arc<dyn Handshake>] {
        &self.transport_steps
    }

    /// Sets another name, value, service and other steps for new connections. The observers are called if these differ in effect.
    pub(super) fn replace(
        &self,
        name: Arc<str>,
        env: Option<Env>,
        service: Arc<ListenerService>,
        steps: Guarded<Steps>,
        is_changed: bool,
    ) {
        let limits = self.limits.replaced(name, service.kind, env);
        // First, so that each new connection finds the span of its listener.
        let before = self.events.set_limits(&limits);
        self.current.store(Arc::new(ForNewConnections { limits: limits.clone(), service, steps }));
        if is_changed {
            self.events.changed(&limits, &before);
        }
        before.set_span(None);
    }

    /// Sets the mode and wakes every acceptor. Setting the same mode makes acceptors re-read the limits.
    pub(crate) fn set_mode(&self, mode: ListenerMode) {
        self.mode.send_replace(mode);
    }

    /// The address that it listens on, read once when it was opened.
    pub(crate) fn address(&self) -> &Address {
        &self.events.address
    }

    /// The information that each handshake step reports. A step that panics is left out.
    pub(crate) fn handshake_infos(&self) -> Vec<HandshakeInfo> {
        let listener = &*self.name();
        let info = |step: &Arc<dyn Handshake>| {
            catch_panic(|| step.info()).unwrap_or_else(|panic| {
                self.panics.log(|left_out| error!(listener, panic, left_out, "`Handshake::info` panicked"));
                HandshakeInfo::default()
            })
        };
        self.current().steps.all().iter().map(info).collect()
    }

    /// Closes the listener until it is resumed. A panic becomes an error.
    pub(crate) fn suspend(&self) -> io::Result<()> {
        catch_panic(|| self.transport.suspend()).unwrap_or_else(panicked)
    }

    /// Opens the listener again. A panic becomes an error.
    pub(crate) fn resume(&self) -> io::Result<()> {
        catch_panic(|| self.transport.resume()).unwrap_or_else(panicked)
    }

    pub(crate) fn mode(&self) -> ListenerMode {
        *self.mode.borrow()
    }

    /// Whether every one of these steps allows this peer.
    pub(crate) fn allows(&self, steps: &Steps, peer: &Address) -> bool {
        steps.all().iter().all(|step| self.catch_panic(|| step.allows(peer)).unwrap_or(false))
    }

    /// Whether one of these steps may report another peer in place of this one. `None` if a step panics.
    pub(crate) fn is_proxy(&self, steps: &Steps, peer: &Address) -> Option<bool> {
        for step in steps.all() {
            if self.catch_panic(|| step.may_override_peer(peer))? {
                return Some(true);
            }
        }
        Some(false)
    }

    fn catch_panic<R>(&self, call: impl FnOnce() -> R) -> Option<R> {
        let result = catch_panic(call);
        result
            .map_err(|panic| {
                let listener = &*self.name();
                self.panics
                    .log(|left_out| error!(listener, panic, left_out, "a handshake step panicked; peer refused"));
            })
            .ok()
    }

    /// Whether an access rule or a handshake step refuses this peer, regardless of any limit.
    pub(crate) fn denies(&self, peer: &Address) -> bool {
        self.limits.denies(peer) || !self.allows(&self.current.load().steps, peer)
    }

    /// Waits until no acceptor is accepting. Handles may still be open.
    pub(crate) async fn not_accepting(&self) {
        // Cannot fail: `self` owns the sender.
        let _ = self.accepting.subscribe().wait_for(|accepting| *accepting == 0).await;
    }

    /// Marks an acceptor as accepting until the guard is dropped.
    pub(crate) fn accepting(&self) -> AcceptingGuard<'_> {
        self.accepting.send_modify(|accepting| *accepting += 1);
        AcceptingGuard(self)
    }

    pub(crate) fn mode_changes(&self) -> watch::Receiver<ListenerMode> {
        self.mode.subscribe()
    }

    /// Reports to the observers that the listener is open, unless it already was. From then on dropping the listener
    /// reports that it is closed.
    pub(crate) fn emit_opened(&self, shared: &Arc<RegistryShared>) {
        self.events.shared.get_or_init(|| shared.clone());
        self.events.set_open(true);
    }

    /// Opens the span of an open listener that has none, after an observer was added.
    pub(crate) fn open_span(&self) {
        self.events.open_span(&self.events.listener.load());
    }

    /// Reports to the observers that the listener is closed for now.
    pub(crate) fn emit_closed(&self) {
        self.events.set_open(false);
    }

    /// Resolves when the transport is closed for good: the state has been dropped. The future does not keep it.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + 'static + use<> {
        let mut alive = self.alive.subscribe();
        async move { while alive.changed().await.is_ok() {} }
    }

    /// Waits until no acceptor has a handle open.
    pub(crate) async fn no_handles(&self) {
        // Cannot fail: `self` owns the sender.
        let _ = self.handles.subscribe().wait_for(|handles| *handles == 0).await;
    }
}

fn panicked(text: String) -> io::Result<()> {
    Err(io::Error::other(format!("the transport panicked: {text}")))
}

/// One acceptor's handle of a listener, counted while it is open.
pub(crate) struct AcceptHandle {
    pub(crate) accept: Guarded<Box<dyn Accept>>,
    /// If acceptors have sockets of their own: those of this acceptor.
    own: Option<Assignment>,
    // Dropped after `accept`.
    count: HandleCount,
}

/// An acceptor that is accepting.
pub(crate) struct AcceptingGuard<'a>(&'a ListenerState);

impl Drop for AcceptingGuard<'_> {
    fn drop(&mut self) {
        self.0.accepting.send_modify(|accepting| *accepting -= 1);
    }
}

struct HandleCount(Arc<ListenerState>);

impl AcceptHandle {
    /// Opens the handle of the acceptor in this slot, of a pool with this number of acceptors.
    pub(crate) fn of(state: &Arc<ListenerState>, slot: usize, acceptors: usize) -> io::Result<Self> {
        let count = HandleCount::new(state);
        let (accept, own) = match state.transport.with_own_sockets() {
            None => (state.transport.share()?, None),
            Some(tcp) => tcp.share_own(slot, acceptors).map(|(accept, own)| (accept, Some(own)))?,
        };
        Ok(AcceptHandle { accept: Guarded::new(accept), own, count })
    }

    /// Opens a handle of the queues of all acceptors, those of this slot first, to empty them. `None` if all acceptors share
    /// one queue, or if the listener is closed.
    pub(crate) fn of_all_queues(state: &Arc<ListenerState>, slot: usize) -> Option<Self> {
        let count = HandleCount::new(state);
        let accept = state.transport.with_own_sockets()?.all_queues(slot)?;
        Some(AcceptHandle { accept: Guarded::new(accept), own: None, count })
    }

    /// Whether no other acceptor may accept the peers of this one.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Whether the acceptor has other sockets by now.
    pub(crate) fn is_outdated(&self, slot: usize, acceptors: usize) -> bool {
        let (Some(own), Some(tcp)) = (&self.own, self.count.0.transport.with_own_sockets()) else { return false };
        *own != tcp.assignment(slot, acceptors)
    }
}

impl HandleCount {
    /// Counted from before the handle opens until after it closes, so that the address is free once the count is zero.
    fn new(state: &Arc<ListenerState>) -> Self {
        state.handles.send_modify(|handles| *handles += 1);
        HandleCount(state.clone())
    }
}

impl Drop for HandleCount {
    fn drop(&mut self) {
        self.0.handles.send_modify(|handles| *handles -= 1);
    }
}
