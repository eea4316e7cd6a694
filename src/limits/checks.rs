//! The checks of a new peer: it is admitted, held or refused.

use std::sync::Arc;
use std::time::Duration;

use super::listener::{ListenerLimits, PeerPermit};
use super::verdict::Verdict;
use crate::net::Address;
use crate::telemetry::RefusalReason;

/// The shortest time for which the hook holds a peer: a shorter one would call it in a busy loop.
const MIN_HOLD: Duration = Duration::from_millis(1);

/// The checks against the limits of the listener and the pool, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Check {
    ListenerRate,
    PoolRate,
    Overload,
}

/// The result of the checks.
#[derive(Debug)]
pub(crate) enum Checked {
    Admitted,
    Refused(RefusalReason),
    /// The peer is to be held for this time, and checked from `next` on. If it cannot be held, it is refused for this reason.
    Held {
        wait: Duration,
        next: Check,
        otherwise: RefusalReason,
    },
}

impl ListenerLimits {
    /// Checks the peer against its own limits and counts it. Returns how long it must be held for its rate, if it
    /// `may_be_held`.
    ///
    /// `claims` is true for a proxy, which is not counted. The peer that it names is counted by
    /// [`admit_claimed`](Self::admit_claimed).
    pub(crate) fn count_peer_to_hold(
        self: &Arc<Self>,
        peer: &Address,
        claims: bool,
        may_be_held: bool,
    ) -> Result<(PeerPermit, Duration), RefusalReason> {
        let config = self.limits().config().load();
        let max_wait = if may_be_held { config.settings.at_rate.max_wait() } else { Duration::ZERO };
        let (ip, wait) = self.limits().register_peer(&config.settings, peer, !claims, max_wait)?;
        Ok((PeerPermit::new(self, ip), wait))
    }

    /// Checks a peer, which has passed its own limits, against those of the listener and the pool, without holding it.
    pub(crate) fn check_pool(&self, peer: &Address) -> Result<(), RefusalReason> {
        match self.check_from(Check::ListenerRate, peer, None) {
            Checked::Admitted => Ok(()),
            Checked::Refused(reason) | Checked::Held { otherwise: reason, .. } => Err(reason),
        }
    }

    /// Checks a peer, which has passed its own limits and the checks before this one. `held` is how long it has been held
    /// so far; `None` if it may not be held.
    pub(crate) fn check_from(&self, first: Check, peer: &Address, held: Option<Duration>) -> Checked {
        let limits = self.limits();
        let settings = &limits.config().load().settings;
        // How much longer it may be held for rates.
        let left = held.map_or(Duration::ZERO, |held| settings.at_rate.max_wait().saturating_sub(held));
        let refused = Checked::Refused(RefusalReason::Rate);
        let wait_for_token = |wait, next| Checked::Held { wait, next, otherwise: RefusalReason::Rate };
        if first <= Check::ListenerRate {
            match self.reserve_token(left) {
                Some(Duration::ZERO) => {}
                Some(wait) => return wait_for_token(wait, Check::PoolRate),
                None => return refused,
            }
        }
        if first <= Check::PoolRate {
            match limits.reserve_token(settings, left) {
                Some(Duration::ZERO) => {}
                Some(wait) => return wait_for_token(wait, Check::Overload),
                None => return refused,
            }
        }
        match limits.verdict(peer, self.name(), held.unwrap_or_default()) {
            Verdict::Admit => Checked::Admitted,
            Verdict::Refuse => Checked::Refused(RefusalReason::Overload),
            Verdict::Hold(_) if held.is_none() => Checked::Refused(RefusalReason::Overload),
            Verdict::Hold(wait) => {
                let (wait, next) = (wait.max(MIN_HOLD), Check::Overload);
                Checked::Held { wait, next, otherwise: RefusalReason::Overload }
            }
        }
    }
}
