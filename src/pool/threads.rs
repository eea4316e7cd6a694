//! The end of a pool's threads: the arbiters of its acceptors and the watchdog are joined before the pool has ended.

use std::future::Future;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::arbiter::AcceptorArbiter;
use super::{AcceptorPool, Placement};
use crate::time::is_paused;
use crate::watchdog::Watchdog;

/// How long to wait for the threads. Only threads that user code blocks take that long.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);
/// The time between two checks of the threads. As a rule, they end sooner.
const INTERVAL: Duration = Duration::from_millis(1);

/// The threads of a pool.
struct Threads {
    arbiters: Vec<AcceptorArbiter>,
    watchdog: Option<Watchdog>,
}

impl AcceptorPool {
    /// Waits for the threads, whose connections have ended. If a connection blocks its arbiter, does not wait.
    pub(super) fn end_threads(&mut self) -> impl Future<Output = ()> + 'static + use<> {
        let mut threads = Threads { arbiters: self.slots.take_arbiters(), watchdog: self.watchdog.take() };
        threads.watchdog.iter().for_each(Watchdog::end);
        let are_blocked = self.shared.registries().shared().unsettled() > 0;
        // On a paused clock the limit would pass at once.
        let is_frozen = self.slots.placement() == Placement::Current && is_paused();
        async move {
            if !are_blocked && !is_frozen {
                let _ = timeout(JOIN_TIMEOUT, async {
                    while !threads.join_finished() {
                        sleep(INTERVAL).await
                    }
                })
                .await;
            }
            threads.join_finished();
        }
    }
}

impl Threads {
    /// Joins the threads that have ended. Returns whether none is left.
    fn join_finished(&mut self) -> bool {
        self.arbiters.extract_if(.., |arbiter| arbiter.is_finished()).for_each(AcceptorArbiter::join);
        if let Some(watchdog) = self.watchdog.take_if(|watchdog| watchdog.is_finished()) {
            watchdog.join();
        }
        self.arbiters.is_empty() && self.watchdog.is_none()
    }
}
