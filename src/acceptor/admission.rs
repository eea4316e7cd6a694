//! Admission of accepted peers: each is served, held, or refused, and counted once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tracing::{debug, error, info, warn};

use super::accept_error::kind_of;
use super::adopt::AdoptedLimits;
use super::hold::ToHold;
use super::refuse::{close_refused, policy};
use crate::config::{AtLimit, BacklogPolicy, Config};
use crate::handshake::HandshakeChain;
use crate::limits::{Check, Checked, Limits, PeerPermit, Permit, ReserveDescriptor};
use crate::listener::{Accepted, ForNewConnections, ListenerMode, ListenerService, ListenerState};
use crate::net::Address;
use crate::panic::{catch_panic, text_of};
use crate::registry::Registries;
use crate::telemetry::{AcceptErrorKind, ConnectionId, LogThrottle, PoolEvent, RefusalReason};

/// The state that all acceptors of a pool share.
pub(crate) struct AcceptorContext {
    pub(crate) name: Arc<str>,
    pub(crate) registries: Arc<Registries>,
    listeners: ArcSwap<Vec<Arc<ListenerState>>>,
    reserve: Option<ReserveDescriptor>,
    started: AtomicBool,
    stopping: AtomicBool,
    accept_error_log: LogThrottle,
    pub(super) limit_log: LogThrottle,
    refusal_log: LogThrottle,
    pub(super) panic_log: LogThrottle,
    pub(super) limits: Arc<Limits>,
    pub(super) adopted: Mutex<AdoptedLimits>,
}

impl AcceptorContext {
    pub(crate) fn new(
        name: Arc<str>,
        registries: Arc<Registries>,
        listeners: Vec<Arc<ListenerState>>,
        limits: Arc<Limits>,
        reserve: Option<ReserveDescriptor>,
    ) -> Arc<Self> {
        Arc::new(AcceptorContext {
            name,
            registries,
            listeners: ArcSwap::from_pointee(listeners),
            reserve,
            started: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            accept_error_log: LogThrottle::new(),
            limit_log: LogThrottle::new(),
            refusal_log: LogThrottle::new(),
            panic_log: LogThrottle::new(),
            limits,
            adopted: Mutex::default(),
        })
    }

    /// Records that all acceptors are ready. From now on, an acceptor that cannot open a listener for lack of a resource
    /// tries again.
    pub(crate) fn set_started(&self) {
        self.started.store(true, Release);
    }

    pub(super) fn is_started(&self) -> bool {
        self.started.load(Acquire)
    }

    /// Removes every listener because the pool closes. Each acceptor stops when its last listener is removed.
    pub(crate) fn stop(&self, backlog: BacklogPolicy) {
        self.stopping.store(true, Release);
        self.listeners().iter().for_each(|listener| listener.set_mode(ListenerMode::Removed(backlog)));
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Acquire)
    }

    pub(crate) fn listeners(&self) -> Vec<Arc<ListenerState>> {
        self.listeners.load().to_vec()
    }

    pub(crate) fn set_listeners(&self, listeners: Vec<Arc<ListenerState>>) {
        self.listeners.store(Arc::new(listeners));
    }

    /// The number of acceptors that the pool is to have.
    pub(super) fn acceptors(&self) -> usize {
        self.registries.slots_in_use()
    }

    /// Whether this slot has clearly more connections than the least loaded one, so that others should accept first.
    pub(super) fn is_ahead(&self, slot: usize) -> bool {
        self.registries.is_ahead(slot)
    }

    /// Admits a peer accepted with a permit, or holds or refuses one accepted because there was no permit.
    ///
    /// Everything that concerns one peer runs under a panic guard: a stream whose drop panics, for example, ends only that
    /// peer.
    pub(super) fn receive(
        self: &Arc<Self>,
        slot: usize,
        listener: &Arc<ListenerState>,
        accepted: Accepted,
        permit: Option<Permit>,
    ) {
        self.for_one_peer(listener, || self.receive_unguarded(slot, listener, accepted, permit));
    }

    pub(super) fn for_one_peer(&self, listener: &ListenerState, receive: impl FnOnce()) {
        if let Err(panic) = catch_panic(receive) {
            let listener = &**listener.limits.name();
            self.panic_log.log(|left_out| error!(listener, panic, left_out, "panic while a peer was received"));
        }
    }

    fn receive_unguarded(
        self: &Arc<Self>,
        slot: usize,
        listener: &Arc<ListenerState>,
        accepted: Accepted,
        permit: Option<Permit>,
    ) {
        match permit.or_else(|| listener.limits.try_acquire()) {
            Some(permit) => self.admit(slot, listener, accepted, permit, true),
            None if listener.denies(&accepted.peer) => self.refuse(slot, listener, accepted, RefusalReason::Denied),
            None => {
                let at_limit = listener.limits.limits().config().load().settings.at_limit;
                match at_limit {
                    AtLimit::Hold(_) => self.hold_at_limit(slot, listener, accepted),
                    _ => self.refuse(slot, listener, accepted, RefusalReason::Limit),
                }
            }
        }
    }

    /// Admits or refuses a peer from the backlog of a listener that closes.
    pub(super) fn receive_from_backlog(
        self: &Arc<Self>,
        slot: usize,
        listener: &Arc<ListenerState>,
        accepted: Accepted,
        backlog: BacklogPolicy,
    ) {
        let permit = if backlog == BacklogPolicy::Accept { listener.limits.try_acquire() } else { None };
        self.for_one_peer(listener, || match permit {
            Some(permit) => self.admit(slot, listener, accepted, permit, false),
            None => self.refuse(slot, listener, accepted, RefusalReason::Draining),
        });
    }

    /// Admits, holds or refuses a peer for which there is a permit. A held peer gives it back, so that others can use it.
    fn admit(
        self: &Arc<Self>,
        slot: usize,
        listener: &Arc<ListenerState>,
        accepted: Accepted,
        permit: Permit,
        may_be_held: bool,
    ) {
        let current = listener.current();
        let (peer_permit, wait) = match count_peer(listener, &current, &accepted.peer, may_be_held) {
            Ok(counted) => counted,
            Err(reason) => return self.refuse(slot, listener, accepted, reason),
        };
        let checked = match wait {
            Duration::ZERO => {
                let held = may_be_held.then_some(Duration::ZERO);
                current.limits.check_from(Check::ListenerRate, &accepted.peer, held)
            }
            wait => Checked::Held { wait, next: Check::ListenerRate, otherwise: RefusalReason::Rate },
        };
        match checked {
            Checked::Admitted => self.serve(slot, &current, accepted, permit, peer_permit),
            Checked::Refused(reason) => {
                drop(peer_permit);
                self.refuse(slot, listener, accepted, reason);
            }
            Checked::Held { wait, next, otherwise } => {
                drop(permit);
                self.hold(slot, listener, ToHold { accepted, peer_permit, wait, next, otherwise });
            }
        }
    }

    /// Holds a peer for which there is no permit. Meanwhile it counts for `max_per_peer`, so that a peer above that limit does
    /// not take the places of others.
    fn hold_at_limit(self: &Arc<Self>, slot: usize, listener: &Arc<ListenerState>, accepted: Accepted) {
        match count_peer(listener, &listener.current(), &accepted.peer, true) {
            Ok((peer_permit, wait)) => {
                let (next, otherwise) = (Check::ListenerRate, RefusalReason::Limit);
                self.hold(slot, listener, ToHold { accepted, peer_permit, wait, next, otherwise });
            }
            Err(reason) => self.refuse(slot, listener, accepted, reason),
        }
    }

    pub(super) fn serve(
        &self,
        slot: usize,
        listener: &ForNewConnections,
        accepted: Accepted,
        permit: Permit,
        peer_permit: PeerPermit,
    ) {
        let limits = listener.limits.limits();
        let config = limits.config().load_full();
        let handshake = if listener.steps.is_empty() {
            None
        } else {
            HandshakeChain::new(listener.steps.all().to_vec(), config.handshake_timeout(), limits.handshakes().clone())
        };
        self.start(slot, &listener.service, accepted, (permit.under(&listener.limits), peer_permit), handshake, config);
    }

    /// Registers a connection and passes it to its handler.
    pub(super) fn start(
        &self,
        slot: usize,
        service: &ListenerService,
        accepted: Accepted,
        (permit, peer_permit): (Permit, PeerPermit),
        handshake: Option<Box<HandshakeChain>>,
        config: Arc<Config>,
    ) -> ConnectionId {
        let Accepted { stream, peer } = accepted;
        let spawner = service.spawner();
        let timeouts = spawner.timeouts(&config);
        let guard = self.registries.of(slot).register(peer, permit, peer_permit, timeouts);
        let id = guard.state().id();
        spawner.spawn(stream, guard, handshake, config);
        id
    }

    pub(super) fn refuse(&self, slot: usize, state: &Arc<ListenerState>, accepted: Accepted, reason: RefusalReason) {
        let current = state.current();
        if reason == RefusalReason::Draining && matches!(state.mode(), ListenerMode::Removed(_)) {
            state.limits.count_unserved();
        }
        // Before its handshake the peer cannot read the message.
        self.turn_away(slot, current.limits.name(), accepted, reason, current.steps.is_empty());
    }

    /// Counts, reports and closes a refused peer. It is sent the refusal message first if it can read it.
    pub(super) fn turn_away(
        &self,
        slot: usize,
        listener: &str,
        accepted: Accepted,
        reason: RefusalReason,
        can_read: bool,
    ) {
        let Accepted { stream, peer } = accepted;
        self.registries.of(slot).count_refused(reason);
        debug!(%peer, listener, reason = reason.name(), "peer refused");
        let observers = &self.registries.shared().observers;
        observers.emit(|| PoolEvent::Refused { id: None, peer: &peer, listener, reason });
        self.refusal_log.log(|left_out| info!(%peer, listener, reason = reason.name(), left_out, "refusing peers"));
        let config = self.limits.config().load();
        let message = match reason {
            // Out of descriptors, none can be kept open until a message has arrived.
            RefusalReason::Denied | RefusalReason::Descriptors => Bytes::new(),
            _ if can_read => config.refusal_message.clone(),
            _ => Bytes::new(),
        };
        close_refused(stream, policy(&config.settings, reason), message, &self.limits);
    }

    /// Reports an accept error to the observers.
    pub(super) fn emit_accept_error(&self, error: &io::Error, slot: usize, state: &ListenerState) {
        if kind_of(error) != AcceptErrorKind::Connection {
            self.registries.shared().count_accept_error();
        }
        let listener = &*state.name();
        let observers = &self.registries.shared().observers;
        observers.emit(|| PoolEvent::AcceptError { listener, acceptor: slot, error, kind: kind_of(error) });
    }

    /// Reports and logs an accept error after which the acceptor pauses.
    pub(super) fn report_accept_error(&self, error: &io::Error, slot: usize, state: &ListenerState, pause: Duration) {
        self.emit_accept_error(error, slot, state);
        let listener = &*state.name();
        self.accept_error_log.log(|left_out| {
            warn!(
                error = text_of(error),
                listener,
                acceptor = slot,
                left_out,
                ?pause,
                "accept failed; retrying after a pause"
            );
        });
    }

    /// Reports and logs that an acceptor could not open its handle to a listener, after which it pauses.
    pub(super) fn report_open_error(&self, error: &io::Error, slot: usize, state: &ListenerState, pause: Duration) {
        self.emit_accept_error(error, slot, state);
        let listener = &**state.limits.name();
        self.accept_error_log.log(|left_out| {
            warn!(
                error = text_of(error),
                listener,
                acceptor = slot,
                left_out,
                ?pause,
                "opening the listener failed; retrying after a pause"
            );
        });
    }

    /// Uses the reserve descriptor to accept one peer and refuse it, when the process is out of descriptors. Returns false
    /// if the peer had to be left in the kernel's queue.
    pub(super) fn refuse_with_reserve(
        &self,
        error: &io::Error,
        slot: usize,
        listener: &Arc<ListenerState>,
        mut accept: impl FnMut() -> io::Result<Accepted>,
    ) -> bool {
        let Some(reserve) = self.reserve.as_ref().filter(|_| is_out_of_descriptors(error)) else { return false };
        let refused = reserve.release_during(|| match accept() {
            Ok(accepted) => {
                self.refuse(slot, listener, accepted, RefusalReason::Descriptors);
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        });
        reserve.refill();
        refused.unwrap_or(false)
    }
}

#[cfg(unix)]
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(not(unix))]
fn is_out_of_descriptors(error: &io::Error) -> bool {
    // WSAEMFILE
    error.raw_os_error() == Some(10024)
}

/// Checks the limits of a peer, and counts the peer. For a proxy, the peer that its header names is counted later. Also
/// returns how long the peer must be held for its rate.
fn count_peer(
    listener: &ListenerState,
    current: &ForNewConnections,
    peer: &Address,
    may_be_held: bool,
) -> Result<(PeerPermit, Duration), RefusalReason> {
    if !listener.allows(&current.steps, peer) {
        return Err(RefusalReason::Denied);
    }
    let is_proxy = listener.is_proxy(&current.steps, peer).ok_or(RefusalReason::Denied)?;
    current.limits.count_peer_to_hold(peer, is_proxy, may_be_held)
}
