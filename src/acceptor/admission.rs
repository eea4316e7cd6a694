//! What becomes of a peer that was accepted: served, held, or turned away; each of them is counted once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::inlet::{BacklogPolicy, Inlet, Mode};
use super::refuse::turn_away;
use super::reserve::Reserve;
use crate::limits::{AtLimit, Guest, Permit};
use crate::socket::{Incoming, Steps};
use crate::table::{Arrival, Tables};
use crate::telemetry::{Complaints, PoolEvent, RefusalReason};
use crate::transport::Accepted;

/// Where an acceptor's work ends: takes an accepted socket over. The doors implement it.
pub(crate) trait Seam: Send + Sync + 'static {
    fn open(&self, incoming: Incoming);

    /// The shortest of the times that new connections begin with, in milliseconds; 0 for none.
    fn shortest_limit(&self) -> u32;
}

/// What all acceptors of a pool work with.
pub(crate) struct Crew {
    pub(crate) name: Arc<str>,
    pub(crate) seam: Arc<dyn Seam>,
    pub(crate) tables: Arc<Tables>,
    inlets: RwLock<Vec<Arc<Inlet>>>,
    reserve: Option<Reserve>,
    leaving: AtomicBool,
    held: watch::Sender<usize>,
    troubles: Complaints,
    refusals: Complaints,
}

impl Crew {
    pub(crate) fn new(
        name: Arc<str>,
        seam: Arc<dyn Seam>,
        tables: Arc<Tables>,
        inlets: Vec<Arc<Inlet>>,
        reserve: Option<Reserve>,
    ) -> Arc<Self> {
        let (troubles, refusals) = (Complaints::new(), Complaints::new());
        let inlets = RwLock::new(inlets);
        let (leaving, held) = (AtomicBool::new(false), watch::Sender::new(0));
        Arc::new(Crew { name, seam, tables, inlets, reserve, leaving, held, troubles, refusals })
    }

    /// The pool is on its way out: every listener goes, and with the last one each acceptor.
    pub(crate) fn leave(&self, backlog_on_close: BacklogPolicy) {
        self.leaving.store(true, Release);
        self.inlets().iter().for_each(|inlet| inlet.set_mode(Mode::Gone(backlog_on_close)));
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Acquire)
    }

    pub(crate) fn inlets(&self) -> Vec<Arc<Inlet>> {
        self.inlets.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_inlets(&self, inlets: Vec<Arc<Inlet>>) {
        let gone = std::mem::replace(&mut *self.inlets.write().unwrap_or_else(PoisonError::into_inner), inlets);
        drop(gone);
    }

    /// How many peers are held.
    pub(crate) fn held(&self) -> watch::Receiver<usize> {
        self.held.subscribe()
    }

    /// Whether this place has clearly more connections than the least loaded one: then the others may go first.
    pub(super) fn is_ahead(&self, place: usize) -> bool {
        let least = self.tables.least();
        self.tables.of(place).live() > least + 8 + least / 8
    }

    /// A peer was accepted, with a permit in hand or for want of one.
    pub(super) fn receive(
        self: &Arc<Self>,
        place: usize,
        inlet: &Arc<Inlet>,
        accepted: Accepted,
        permit: Option<Permit>,
    ) {
        match permit.or_else(|| inlet.port.try_permit()) {
            Some(permit) => self.admit(place, inlet, accepted, permit),
            None if inlet.denies(&accepted.peer) => self.refuse(place, inlet, accepted, RefusalReason::Denied),
            None => match inlet.port.limits().policy().at_limit {
                AtLimit::Hold(limit) => self.hold(place, inlet, accepted, limit),
                _ => self.refuse(place, inlet, accepted, RefusalReason::Limit),
            },
        }
    }

    /// A peer was found in the queue of a port that closes.
    pub(super) fn receive_last(
        &self,
        place: usize,
        inlet: &Arc<Inlet>,
        accepted: Accepted,
        backlog_on_close: BacklogPolicy,
    ) {
        let permit = if backlog_on_close == BacklogPolicy::Accept { inlet.port.try_permit() } else { None };
        match permit {
            Some(permit) => self.admit(place, inlet, accepted, permit),
            None => self.refuse(place, inlet, accepted, RefusalReason::Draining),
        }
    }

    fn admit(&self, place: usize, inlet: &Arc<Inlet>, accepted: Accepted, permit: Permit) {
        if !inlet.allows(&accepted.peer) {
            return self.refuse(place, inlet, accepted, RefusalReason::Denied);
        }
        let claims = inlet.steps.iter().any(|step| step.may_override_peer(&accepted.peer));
        match inlet.port.admit(&accepted.peer, claims) {
            Ok(guest) => self.serve(place, inlet, accepted, permit, guest),
            Err(refusal) => self.refuse(place, inlet, accepted, refusal),
        }
    }

    fn serve(&self, place: usize, inlet: &Arc<Inlet>, accepted: Accepted, permit: Permit, guest: Guest) {
        let Accepted { stream, peer } = accepted;
        let seat = self.tables.of(place).open(Arrival {
            peer,
            port: inlet.port.clone(),
            permit,
            guest,
            shortest_limit: self.seam.shortest_limit(),
        });
        let limits = inlet.port.limits();
        let steps = match inlet.steps.is_empty() {
            true => None,
            false => Steps::new(inlet.steps.clone(), limits.policy().handshake_timeout, limits.handshakes().clone()),
        };
        self.seam.open(Incoming::new(stream, seat, steps));
    }

    fn refuse(&self, place: usize, inlet: &Arc<Inlet>, accepted: Accepted, refusal: RefusalReason) {
        let Accepted { stream, peer } = accepted;
        let (listener, reason) = (&**inlet.port.name(), refusal.name());
        self.tables.of(place).refuse(refusal);
        if refusal == RefusalReason::Draining && matches!(inlet.mode(), Mode::Gone(_)) {
            inlet.port.turn_away();
        }
        debug!(%peer, listener, reason, "refused");
        self.tables.common().observers.tell(|| PoolEvent::Refused { id: None, peer: &peer, listener, reason: refusal });
        self.refusals.complain(|left_out| info!(%peer, listener, reason, left_out, "peers are refused"));
        let policy = inlet.port.limits().policy();
        // Where there is a handshake nobody would understand it.
        let refusal_message = if inlet.steps.is_empty() { policy.refusal_message.clone() } else { Bytes::new() };
        match refusal {
            // For want of descriptors none can be kept until a refusal_message has arrived.
            RefusalReason::Denied | RefusalReason::Descriptors => turn_away(stream, AtLimit::Close, Bytes::new()),
            RefusalReason::Limit => turn_away(stream, policy.at_limit, refusal_message),
            _ => turn_away(stream, AtLimit::Close, refusal_message),
        }
    }

    /// Keeps a peer until there is room for it, or its time is over, or the port closes.
    fn hold(self: &Arc<Self>, place: usize, inlet: &Arc<Inlet>, accepted: Accepted, limit: Duration) {
        let room = |held: &mut usize| {
            let room = *held < inlet.port.limits().max_held();
            *held += usize::from(room);
            room
        };
        if !self.held.send_if_modified(room) {
            return self.refuse(place, inlet, accepted, RefusalReason::Limit);
        }
        let held = Held { crew: self.clone(), inlet: inlet.clone(), place, accepted: Some(accepted) };
        actix_rt::spawn(async move {
            let mut orders = held.inlet.orders();
            let refusal = tokio::select! {
                // Whoever leaves when the port has closed makes room for nobody.
                biased;
                _ = orders.wait_for(|mode| matches!(mode, Mode::Shut(_) | Mode::Gone(_))) => RefusalReason::Draining,
                permit = held.inlet.port.in_line(limit) => match permit {
                    Some(permit) => return held.let_in(permit),
                    None => RefusalReason::Limit,
                },
            };
            held.turn_away(refusal);
        });
    }

    /// Observers hear of every failure of `accept` but those that are one peer's.
    pub(super) fn tell(&self, error: &io::Error, place: usize, inlet: &Inlet) {
        let listener = &**inlet.port.name();
        self.tables.common().observers.tell(|| PoolEvent::AcceptError { listener, acceptor: place, error });
    }

    pub(super) fn complain(&self, error: &io::Error, place: usize, inlet: &Inlet, pause: Duration) {
        self.tell(error, place, inlet);
        let listener = &**inlet.port.name();
        self.troubles.complain(|left_out| {
            warn!(%error, listener, acceptor = place, left_out, ?pause, "cannot accept, trying again");
        });
    }

    /// Out of descriptors: one peer is told to go, with the one in reserve. False: it had to be left where it is.
    pub(super) fn use_reserve(
        &self,
        error: &io::Error,
        place: usize,
        inlet: &Arc<Inlet>,
        mut accept: impl FnMut() -> io::Result<Accepted>,
    ) -> bool {
        let Some(reserve) = self.reserve.as_ref().filter(|_| is_out_of_descriptors(error)) else { return false };
        let told = reserve.lend(|| match accept() {
            Ok(accepted) => {
                self.refuse(place, inlet, accepted, RefusalReason::Descriptors);
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
struct Held {
    crew: Arc<Crew>,
    inlet: Arc<Inlet>,
    place: usize,
    accepted: Option<Accepted>,
}

impl Held {
    fn let_in(mut self, permit: Permit) {
        if let Some(accepted) = self.accepted.take() {
            self.crew.admit(self.place, &self.inlet, accepted, permit);
        }
    }

    fn turn_away(mut self, refusal: RefusalReason) {
        if let Some(accepted) = self.accepted.take() {
            self.crew.refuse(self.place, &self.inlet, accepted, refusal);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.crew.held.send_modify(|held| *held -= 1);
    }
}
