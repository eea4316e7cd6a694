//! [`SocketWakers`]: the tasks that a signal to a socket's connection wakes. These are its reader, its writer, those that wait
//! for pushes, and the futures that wait for its end.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::sync::Arc;
use std::task::{Wake, Waker};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::panic::catch_panic;
use crate::registry::{ConnectionState, Signals};

#[derive(Debug, Default)]
pub(super) struct SocketWakers {
    pub(super) reader: AtomicWaker,
    pub(super) writer: AtomicWaker,
    signalled: Notify,
    /// The tasks that wait for pushes.
    pushes: Mutex<Vec<Arc<AtomicWaker>>>,
    /// A close of the connection was requested through the pool's handle.
    close_requested: AtomicBool,
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
        self.wait_until(move |_| state.signals().intersects(signals))
    }

    /// Resolves when the pool drains or ends the connection, or when its owner was asked to close it.
    pub(super) fn wait_for_end(
        self: &Arc<Self>,
        state: Arc<ConnectionState>,
    ) -> impl Future<Output = ()> + use<> + 'static {
        let signals = Signals::DRAIN | Signals::CLOSE | Signals::CLOSE_REQUESTED;
        self.wait_until(move |wakers| state.signals().intersects(signals) || wakers.is_close_requested())
    }

    /// Resolves when the pool ends the connection, when a request to close it must be handled, and when the grace period of
    /// one may be over.
    pub(super) fn wait_for_close(
        self: &Arc<Self>,
        state: Arc<ConnectionState>,
    ) -> impl Future<Output = ()> + use<> + 'static {
        self.wait_until(move |wakers| {
            let signals = state.signals();
            signals.intersects(Signals::CLOSE | Signals::CLOSE_REQUESTED)
                || signals.contains(Signals::DEADLINE) && wakers.is_close_requested()
        })
    }

    fn wait_until<F: Fn(&Self) -> bool>(self: &Arc<Self>, met: F) -> impl Future<Output = ()> + use<F> {
        let wakers = self.clone();
        async move {
            let mut signalled = pin!(wakers.signalled.notified());
            loop {
                signalled.as_mut().enable();
                if met(&wakers) {
                    return;
                }
                signalled.as_mut().await;
                signalled.set(wakers.signalled.notified());
            }
        }
    }

    /// Records that the owner was asked to close the connection. Must be called before the signal is cleared.
    pub(super) fn set_close_requested(&self) {
        self.close_requested.store(true, Release);
    }

    pub(super) fn is_close_requested(&self) -> bool {
        self.close_requested.load(Acquire)
    }

    /// Adds a stream of pushes, whose waker is woken from now on.
    pub(super) fn add_pushes(&self) -> Arc<AtomicWaker> {
        let waker = Arc::new(AtomicWaker::new());
        self.pushes.lock().push(waker.clone());
        waker
    }

    pub(super) fn remove_pushes(&self, waker: &Arc<AtomicWaker>) {
        self.pushes.lock().retain(|other| !Arc::ptr_eq(other, waker));
    }

    /// Wakes the tasks that wait for pushes.
    pub(super) fn wake_for_pushes(&self) {
        let waiting: Vec<Waker> = self.pushes.lock().iter().filter_map(|waker| waker.take()).collect();
        for waker in waiting {
            let _ = catch_panic(|| waker.wake());
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
        self.wake_for_pushes();
        let _ = catch_panic(|| self.signalled.notify_waiters());
    }
}
