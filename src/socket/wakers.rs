//! Who is woken when a socket's connection gets an order: whoever reads, writes or waits for the drain.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Wake, Waker};

use futures::task::AtomicWaker;
use tokio::sync::Notify;

use crate::registry::ConnectionState;

#[derive(Debug, Default)]
pub(super) struct SocketWakers {
    pub(super) reader: AtomicWaker,
    pub(super) writer: AtomicWaker,
    drain: Notify,
}

impl SocketWakers {
    /// A bell that the connection's orders ring.
    pub(super) fn hang(entry: &ConnectionState) -> Arc<Self> {
        let bell = Arc::new(SocketWakers::default());
        entry.set_waker(Waker::from(bell.clone()));
        bell
    }

    /// Resolves when any of these was ordered.
    pub(super) fn rung(
        self: &Arc<Self>,
        entry: Arc<ConnectionState>,
        orders: u8,
    ) -> impl Future<Output = ()> + 'static {
        let bell = self.clone();
        async move {
            let mut rung = pin!(bell.drain.notified());
            loop {
                rung.as_mut().enable();
                if entry.signals() & orders != 0 {
                    return;
                }
                rung.as_mut().await;
                rung.set(bell.drain.notified());
            }
        }
    }
}

impl Wake for SocketWakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.reader.wake();
        self.writer.wake();
        self.drain.notify_waiters();
    }
}
