//! Peers that are held: at the connection limit, above a rate, or by the overload hook.

use std::sync::Arc;
use std::time::Duration;

use super::held_peer::HeldPeer;
use super::AcceptorContext;
use crate::config::AtLimit;
use crate::limits::{Check, Checked, HeldPermit, PeerPermit, Permit};
use crate::listener::{Accepted, ListenerMode, ListenerState};
use crate::telemetry::RefusalReason;

/// A peer that is to be held. It has passed its own limits, and counts for them.
pub(super) struct ToHold {
    pub(super) accepted: Accepted,
    pub(super) peer_permit: PeerPermit,
    /// How long it waits before it needs a permit.
    pub(super) wait: Duration,
    /// The check that follows.
    pub(super) next: Check,
    /// Why it is refused if it cannot be held.
    pub(super) otherwise: RefusalReason,
}

/// A held peer. If its arbiter stops, it is dropped without being counted as admitted or refused.
struct HeldConnection {
    context: Arc<AcceptorContext>,
    listener: Arc<ListenerState>,
    slot: usize,
    accepted: Accepted,
    peer_permit: PeerPermit,
    peer: HeldPeer,
    /// Declared last: the socket is closed before the place is given back.
    _permit: HeldPermit,
}

impl AcceptorContext {
    /// Holds a peer until it is admitted or refused, or the listener closes.
    pub(super) fn hold(self: &Arc<Self>, slot: usize, listener: &Arc<ListenerState>, to_hold: ToHold) {
        let ToHold { accepted, peer_permit, wait, next, otherwise } = to_hold;
        let Some(permit) = listener.limits.limits().try_hold() else {
            drop(peer_permit);
            return self.refuse(slot, listener, accepted, otherwise);
        };
        let (context, listener) = (self.clone(), listener.clone());
        let peer = HeldPeer::new(self.registries.shared(), &accepted.peer, &listener.name(), otherwise);
        let held = HeldConnection { context, listener, slot, accepted, peer_permit, peer, _permit: permit };
        actix_rt::spawn(async move {
            let mut mode = held.listener.mode_changes();
            let outcome = tokio::select! {
                // A permit that becomes free after the listener has closed must not go to a held peer.
                biased;
                _ = mode.wait_for(|mode| matches!(mode, ListenerMode::Closed(_) | ListenerMode::Removed(_))) => {
                    Err(RefusalReason::Draining)
                }
                outcome = held.passes(wait, next) => outcome,
            };
            match outcome {
                Ok(permit) => held.serve(permit),
                Err(reason) => held.refuse(reason),
            }
        });
    }
}

impl HeldConnection {
    /// Waits until the peer has passed all checks, and returns its permit.
    async fn passes(&self, mut wait: Duration, mut next: Check) -> Result<Permit, RefusalReason> {
        loop {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let permit = self.permit().await.ok_or(RefusalReason::Limit)?;
            // The rules and the handshake steps may have changed.
            let (current, peer) = (self.listener.current(), &self.accepted.peer);
            if self.listener.limits.denies(peer) || !self.listener.allows(&current.steps, peer) {
                return Err(RefusalReason::Denied);
            }
            match current.limits.check_from(next, peer, Some(self.peer.since.elapsed())) {
                Checked::Admitted => return Ok(permit),
                Checked::Refused(reason) => return Err(reason),
                Checked::Held { wait: again, next: then, .. } => (wait, next) = (again, then),
            }
        }
    }

    /// Takes a permit, or waits for one if [`AtLimit`] allows it.
    async fn permit(&self) -> Option<Permit> {
        let limits = &self.listener.limits;
        let at_limit = limits.limits().config().load().settings.at_limit;
        match at_limit {
            AtLimit::Wait => limits.acquire_queued(self.slot, None).await,
            AtLimit::Hold(limit) => limits.acquire_queued(self.slot, Some(limit)).await,
            AtLimit::Close | AtLimit::Reset => limits.try_acquire(),
        }
    }

    fn serve(self, permit: Permit) {
        let HeldConnection { context, listener, slot, accepted, peer_permit, peer, _permit } = self;
        drop(peer);
        context.for_one_peer(&listener, || context.serve(slot, &listener.current(), accepted, permit, peer_permit));
    }

    fn refuse(self, reason: RefusalReason) {
        let HeldConnection { context, listener, slot, accepted, peer_permit, peer, _permit } = self;
        drop((peer, peer_permit));
        context.for_one_peer(&listener, || context.refuse(slot, &listener, accepted, reason));
    }
}
