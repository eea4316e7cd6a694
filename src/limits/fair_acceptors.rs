//! Whether acceptors take turns when they wait for permits.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;

use super::Limits;

/// The number of listeners of a pool that have a socket for each acceptor. While there is one, acceptors of all listeners that
/// wait for permits take turns.
#[derive(Debug, Default)]
pub(super) struct FairAcceptors(AtomicUsize);

impl FairAcceptors {
    pub(super) fn is_on(&self) -> bool {
        self.0.load(Relaxed) > 0
    }
}

/// A listener with a socket for each acceptor, counted until this is dropped.
pub(crate) struct FairAcceptorsGuard(Arc<Limits>);

impl Limits {
    /// Makes acceptors take turns until the guard is dropped.
    pub(crate) fn require_fair_acceptors(self: &Arc<Self>) -> FairAcceptorsGuard {
        self.fair_acceptors.0.fetch_add(1, Relaxed);
        FairAcceptorsGuard(self.clone())
    }
}

impl Drop for FairAcceptorsGuard {
    fn drop(&mut self) {
        self.0.fair_acceptors.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::super::listener::ConnectionKind;
    use super::super::ListenerLimits;
    use super::*;
    use crate::config::{Settings, SharedConfig};

    #[tokio::test(start_paused = true)]
    async fn acceptors_that_wait_take_turns_if_a_queue_depends_on_it() {
        for takes_turns in [false, true] {
            let settings = Settings { max_connections: 1, ..Settings::default() };
            let limits = Limits::new(SharedConfig::new(settings), None);
            let listener = ListenerLimits::new("public".into(), ConnectionKind::of::<(), ()>(), None, limits.clone());
            let fair = takes_turns.then(|| limits.require_fair_acceptors());
            let permit = listener.try_acquire().expect("the first permit");
            let (mut first, mut second) = (pin!(listener.acquire(0)), pin!(listener.acquire(1)));
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(first.as_mut().poll(cx).is_pending() && second.as_mut().poll(cx).is_pending());
            drop(permit);
            // Without turns, the first acceptor that looks takes the permit.
            let taken = second.as_mut().poll(cx);
            assert_eq!(taken.is_pending(), takes_turns);
            assert_eq!(first.as_mut().poll(cx).is_ready(), takes_turns);
            drop(taken);
            drop(fair);
        }
    }
}
