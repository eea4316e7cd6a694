//! [`SocketWakers`]: the tasks that a signal to a socket's connection wakes. These are its reader, its writer, and the futures
//! that wait for the drain.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Wake, Waker};

use futures::task::AtomicWaker;
use tokio::sync::Notify;

use crate::panic::catch_panic;
use crate::registry::{ConnectionState, Signals};

#[derive(Debug, Default)]
pub(super) struct SocketWakers {
    pub(super) reader: AtomicWaker,
    pub(super) writer: AtomicWaker,
    signalled: Notify,
}

impl SocketWakers {
    /// Creates the wakers and registers them for the connection's signals.
    pub(super) fn register(state: &ConnectionState) -> Arc<Self> {
        let wakers = Arc::new(SocketWakers::default());
        state.set_waker(Waker::from(wakers.clone()));
        wakers
    }

    /// Resolves when any of these signals is set.
    pub(super) fn wait_for(
        self: &Arc<Self>,
        state: Arc<ConnectionState>,
        signals: Signals,
    ) -> impl Future<Output = ()> + use<> + 'static {
        let wakers = self.clone();
        async move {
            let mut signalled = pin!(wakers.signalled.notified());
            loop {
                signalled.as_mut().enable();
                if state.signals().intersects(signals) {
                    return;
                }
                signalled.as_mut().await;
                signalled.set(wakers.signalled.notified());
            }
        }
    }
}

impl Wake for SocketWakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The wakers may belong to a user-defined executor. One that panics must not end the caller.
        for wake in [&self.reader, &self.writer] {
            let _ = catch_panic(|| wake.wake());
        }
        let _ = catch_panic(|| self.signalled.notify_waiters());
    }
}
