//! [`Acks`], the acknowledgements that are resolved when bytes of a connection have been handed to the kernel.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::outbox::Segment;
use crate::panic::catch_panic;
use crate::sync::Mutex;

/// Resolves a future when bytes have been handed to the kernel. If it is dropped, the future fails.
pub(crate) type Ack = oneshot::Sender<()>;

/// Resolves the futures of these acknowledgements. Their wakers may be those of a user-defined executor.
pub(crate) fn resolve(acks: impl IntoIterator<Item = Ack>) {
    for ack in acks {
        let _ = catch_panic(|| ack.send(()));
    }
}

/// A segment of an outbox with acknowledgements for everything up to its end.
pub(crate) struct Marked {
    pub(crate) segment: Segment,
    pub(crate) acks: Vec<Ack>,
    /// The bytes that count for the segment in addition to its own.
    pub(crate) surplus: usize,
}

/// The acknowledgements for what is in a connection's write buffer, each with its position among all bytes that the connection
/// sends. The positions ascend.
#[derive(Default)]
pub(super) struct Acks(Mutex<VecDeque<(u64, Ack)>>);

impl Acks {
    pub(super) fn push(&self, position: u64, acks: impl IntoIterator<Item = Ack>) {
        let mut waiting = self.0.lock();
        if waiting.len() == waiting.capacity() {
            // Otherwise those of dropped futures would stay until the peer reads.
            waiting.retain(|(_, ack)| !ack.is_closed());
        }
        waiting.extend(acks.into_iter().map(|ack| (position, ack)));
    }

    /// Whether one is due once the bytes that the stream has accepted are flushed.
    pub(super) fn is_due(&self, position: u64) -> bool {
        self.0.lock().front().is_some_and(|(until, _)| *until <= position)
    }

    /// Resolves those up to this position. Returns true if none is left.
    pub(super) fn resolve_until(&self, position: u64) -> bool {
        loop {
            let mut waiting = self.0.lock();
            let is_due = waiting.front().is_some_and(|(until, _)| *until <= position);
            let Some((_, ack)) = is_due.then(|| waiting.pop_front()).flatten() else { return waiting.is_empty() };
            drop(waiting);
            resolve([ack]);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Fails all of them.
    pub(super) fn fail(&self) {
        let failed = std::mem::take(&mut *self.0.lock());
        for (_, ack) in failed {
            let _ = catch_panic(|| drop(ack));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::check;

    #[test]
    fn acknowledgements_of_dropped_futures_do_not_pile_up() {
        check(|| {
            let acks = Acks::default();
            let (kept, mut acknowledged) = oneshot::channel();
            acks.push(1, [kept]);
            for _ in 0..100 {
                acks.push(2, [oneshot::channel().0]);
            }
            assert!(acks.0.lock().capacity() <= 16);
            acks.resolve_until(1);
            assert_eq!(acknowledged.try_recv(), Ok(()));
            assert!(acks.resolve_until(2));
        });
    }
}
