//! What becomes of a peer that was accepted: served, held, or turned away; each of them is counted once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::refuse::turn_away;
use crate::handshake::HandshakeChain;
use crate::limits::ReserveDescriptor;
use crate::limits::{AtLimit, PeerPermit, Permit};
use crate::listener::Accepted;
use crate::listener::{BacklogPolicy, ListenerMode, ListenerState};
use crate::registry::{Arrival, Registries};
use crate::socket::Incoming;
use crate::telemetry::{LogThrottle, PoolEvent, RefusalReason};

/// Where an acceptor's work ends: takes an accepted socket over. The doors implement it.
pub(crate) trait ConnectionSpawner: Send + Sync + 'static {
    fn open(&self, incoming: Incoming);

    /// The shortest of the times that new connections begin with, in milliseconds; 0 for none.
    fn shortest_limit(&self) -> u32;
}

/// What all acceptors of a pool work with.
pub(crate) struct AcceptorContext {
    pub(crate) name: Arc<str>,
    pub(crate) spawner: Arc<dyn ConnectionSpawner>,
    pub(crate) registries: Arc<Registries>,
    states: RwLock<Vec<Arc<ListenerState>>>,
    reserve: Option<ReserveDescriptor>,
    leaving: AtomicBool,
    held: watch::Sender<usize>,
    accept_errors: LogThrottle,
    refusals: LogThrottle,
}

impl AcceptorContext {
    pub(crate) fn new(
        name: Arc<str>,
        spawner: Arc<dyn ConnectionSpawner>,
        registries: Arc<Registries>,
        states: Vec<Arc<ListenerState>>,
        reserve: Option<ReserveDescriptor>,
    ) -> Arc<Self> {
        let (accept_errors, refusals) = (LogThrottle::new(), LogThrottle::new());
        let states = RwLock::new(states);
        let (leaving, held) = (AtomicBool::new(false), watch::Sender::new(0));
        Arc::new(AcceptorContext { name, spawner, registries, states, reserve, leaving, held, accept_errors, refusals })
    }

    /// The pool is on its way out: every listener goes, and with the last one each acceptor.
    pub(crate) fn leave(&self, backlog_on_close: BacklogPolicy) {
        self.leaving.store(true, Release);
        self.states().iter().for_each(|state| state.set_mode(ListenerMode::Removed(backlog_on_close)));
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Acquire)
    }

    pub(crate) fn states(&self) -> Vec<Arc<ListenerState>> {
        self.states.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_listener_states(&self, states: Vec<Arc<ListenerState>>) {
        let gone = std::mem::replace(&mut *self.states.write().unwrap_or_else(PoisonError::into_inner), states);
        drop(gone);
    }

    /// How many peers are held.
    pub(crate) fn held(&self) -> watch::Receiver<usize> {
        self.held.subscribe()
    }

    /// Whether this place has clearly more connections than the least loaded one: then the others may go first.
    pub(super) fn is_ahead(&self, slot: usize) -> bool {
        let least = self.registries.least();
        self.registries.of(slot).live() > least + 8 + least / 8
    }

    /// A peer was accepted, with a permit in hand or for want of one.
    pub(super) fn receive(
        self: &Arc<Self>,
        slot: usize,
        state: &Arc<ListenerState>,
        accepted: Accepted,
        permit: Option<Permit>,
    ) {
        match permit.or_else(|| state.port.try_acquire()) {
            Some(permit) => self.admit(slot, state, accepted, permit),
            None if state.denies(&accepted.peer) => self.refuse(slot, state, accepted, RefusalReason::Denied),
            None => match state.port.limits().policy().at_limit {
                AtLimit::Hold(limit) => self.hold(slot, state, accepted, limit),
                _ => self.refuse(slot, state, accepted, RefusalReason::Limit),
            },
        }
    }

    /// A peer was found in the queue of a port that closes.
    pub(super) fn receive_last(
        &self,
        slot: usize,
        state: &Arc<ListenerState>,
        accepted: Accepted,
        backlog_on_close: BacklogPolicy,
    ) {
        let permit = if backlog_on_close == BacklogPolicy::Accept { state.port.try_acquire() } else { None };
        match permit {
            Some(permit) => self.admit(slot, state, accepted, permit),
            None => self.refuse(slot, state, accepted, RefusalReason::Draining),
        }
    }

    fn admit(&self, slot: usize, state: &Arc<ListenerState>, accepted: Accepted, permit: Permit) {
        if !state.allows(&accepted.peer) {
            return self.refuse(slot, state, accepted, RefusalReason::Denied);
        }
        let claims = state.steps.iter().any(|step| step.may_override_peer(&accepted.peer));
        match state.port.admit(&accepted.peer, claims) {
            Ok(peer_permit) => self.serve(slot, state, accepted, permit, peer_permit),
            Err(refusal) => self.refuse(slot, state, accepted, refusal),
        }
    }

    fn serve(
        &self,
        slot: usize,
        state: &Arc<ListenerState>,
        accepted: Accepted,
        permit: Permit,
        peer_permit: PeerPermit,
    ) {
        let Accepted { stream, peer } = accepted;
        let guard = self.registries.of(slot).open(Arrival {
            peer,
            port: state.port.clone(),
            permit,
            peer_permit,
            shortest_limit: self.spawner.shortest_limit(),
        });
        let limits = state.port.limits();
        let steps = match state.steps.is_empty() {
            true => None,
            false => {
                HandshakeChain::new(state.steps.clone(), limits.policy().handshake_timeout, limits.handshakes().clone())
            }
        };
        self.spawner.open(Incoming::new(stream, guard, steps));
    }

    fn refuse(&self, slot: usize, state: &Arc<ListenerState>, accepted: Accepted, refusal: RefusalReason) {
        let Accepted { stream, peer } = accepted;
        let (listener, reason) = (&**state.port.name(), refusal.name());
        self.registries.of(slot).refuse(refusal);
        if refusal == RefusalReason::Draining && matches!(state.mode(), ListenerMode::Removed(_)) {
            state.port.count_unserved();
        }
        debug!(%peer, listener, reason, "refused");
        self.registries.shared().observers.emit(|| PoolEvent::Refused {
            id: None,
            peer: &peer,
            listener,
            reason: refusal,
        });
        self.refusals.log(|left_out| info!(%peer, listener, reason, left_out, "peers are refused"));
        let policy = state.port.limits().policy();
        // Where there is a handshake nobody would understand it.
        let refusal_message = if state.steps.is_empty() { policy.refusal_message.clone() } else { Bytes::new() };
        match refusal {
            // For want of descriptors none can be kept until a refusal_message has arrived.
            RefusalReason::Denied | RefusalReason::Descriptors => turn_away(stream, AtLimit::Close, Bytes::new()),
            RefusalReason::Limit => turn_away(stream, policy.at_limit, refusal_message),
            _ => turn_away(stream, AtLimit::Close, refusal_message),
        }
    }

    /// Keeps a peer until there is room for it, or its time is over, or the port closes.
    fn hold(self: &Arc<Self>, slot: usize, state: &Arc<ListenerState>, accepted: Accepted, limit: Duration) {
        let room = |held: &mut usize| {
            let room = *held < state.port.limits().max_held();
            *held += usize::from(room);
            room
        };
        if !self.held.send_if_modified(room) {
            return self.refuse(slot, state, accepted, RefusalReason::Limit);
        }
        let held = HeldConnection { acceptors: self.clone(), state: state.clone(), slot, accepted: Some(accepted) };
        actix_rt::spawn(async move {
            let mut mode_changes = held.state.mode_changes();
            let refusal = tokio::select! {
                // Whoever leaves when the port has closed makes room for nobody.
                biased;
                _ = mode_changes.wait_for(|mode| matches!(mode, ListenerMode::Closed(_) | ListenerMode::Removed(_))) => RefusalReason::Draining,
                permit = held.state.port.acquire_queued(limit) => match permit {
                    Some(permit) => return held.let_in(permit),
                    None => RefusalReason::Limit,
                },
            };
            held.turn_away(refusal);
        });
    }

    /// Observers hear of every failure of `accept` but those that are one peer's.
    pub(super) fn tell(&self, error: &io::Error, slot: usize, state: &ListenerState) {
        let listener = &**state.port.name();
        self.registries.shared().observers.emit(|| PoolEvent::AcceptError { listener, acceptor: slot, error });
    }

    pub(super) fn log_error(&self, error: &io::Error, slot: usize, state: &ListenerState, pause: Duration) {
        self.tell(error, slot, state);
        let listener = &**state.port.name();
        self.accept_errors.log(|left_out| {
            warn!(%error, listener, acceptor = slot, left_out, ?pause, "cannot accept, trying again");
        });
    }

    /// Out of descriptors: one peer is told to go, with the one in reserve. False: it had to be left where it is.
    pub(super) fn use_reserve(
        &self,
        error: &io::Error,
        slot: usize,
        state: &Arc<ListenerState>,
        mut accept: impl FnMut() -> io::Result<Accepted>,
    ) -> bool {
        let Some(reserve) = self.reserve.as_ref().filter(|_| is_out_of_descriptors(error)) else { return false };
        let told = reserve.use_for(|| match accept() {
            Ok(accepted) => {
                self.refuse(slot, state, accepted, RefusalReason::Descriptors);
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        });
        reserve.refill();
        told.unwrap_or(false)
    }
}

#[cfg(unix)]
fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(not(unix))]
fn is_out_of_descriptors(error: &io::Error) -> bool {
    error.raw_os_error() == Some(10024)
}

/// A peer that waits for room. Dropped with its arbiter it is closed, and nobody counts it: it was neither let in nor
/// turned away.
struct HeldConnection {
    acceptors: Arc<AcceptorContext>,
    state: Arc<ListenerState>,
    slot: usize,
    accepted: Option<Accepted>,
}

impl HeldConnection {
    fn let_in(mut self, permit: Permit) {
        if let Some(accepted) = self.accepted.take() {
            self.acceptors.admit(self.slot, &self.state, accepted, permit);
        }
    }

    fn turn_away(mut self, refusal: RefusalReason) {
        if let Some(accepted) = self.accepted.take() {
            self.acceptors.refuse(self.slot, &self.state, accepted, refusal);
        }
    }
}

impl Drop for HeldConnection {
    fn drop(&mut self) {
        self.acceptors.held.send_modify(|held| *held -= 1);
    }
}
