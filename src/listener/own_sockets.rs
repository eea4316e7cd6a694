//! A listening socket for each acceptor: which acceptor accepts from which socket, and handles of several sockets.
//!
//! The kernel has a queue for each socket and assigns peers to the sockets by a hash. A socket stays open as long as the
//! listener, and is always assigned to an acceptor, so that no queue is lost when acceptors are restarted or stopped.

use std::io;
use std::task::{Context, Poll};

use super::{Accept, Accepted};

/// The sockets that an acceptor accepts from. A handle is opened again when they have changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// How many times the listener was opened.
    pub(super) opened: usize,
    /// The positions of the sockets.
    pub(super) sockets: Vec<usize>,
}

/// The sockets of an acceptor. Each socket has an acceptor among the first `acceptors`, and each acceptor has a socket.
pub(super) fn assigned(slot: usize, acceptors: usize, sockets: usize) -> Vec<usize> {
    if slot < acceptors && acceptors <= sockets {
        (slot..sockets).step_by(acceptors).collect()
    } else {
        vec![slot % sockets]
    }
}

/// A handle of several sockets, which take turns.
pub(super) struct SeveralSockets<A> {
    sockets: Vec<A>,
    /// The socket that is accepted from next.
    next: usize,
}

impl<A: Accept> SeveralSockets<A> {
    pub(super) fn new(sockets: Vec<A>) -> Self {
        SeveralSockets { sockets, next: 0 }
    }
}

impl<A: Accept> Accept for SeveralSockets<A> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let count = self.sockets.len();
        for socket in (self.next..count).chain(0..self.next) {
            if let Poll::Ready(ready) = self.sockets[socket].poll_ready(cx) {
                self.next = socket;
                return Poll::Ready(ready);
            }
        }
        Poll::Pending
    }

    fn try_accept(&mut self) -> io::Result<Accepted> {
        let accepted = self.sockets[self.next].try_accept();
        // After another error, the same socket is tried again.
        if accepted.as_ref().map_or_else(is_empty, |_| true) {
            self.next = (self.next + 1) % self.sockets.len();
        }
        accepted
    }
}

/// A listening socket that is accepted from without waiting for it.
pub(super) trait Queue: 'static {
    /// Accepts the first peer of the queue. `WouldBlock` if there is none.
    fn accept_now(&self) -> io::Result<Accepted>;
}

/// The queues of all sockets of a listener that closes, one after the other. It needs no descriptors, and so it also reaches
/// the queue of an acceptor that is not running or whose arbiter is blocked.
pub(super) struct AllQueues<Q> {
    queues: Vec<Q>,
    next: usize,
}

impl<Q: Queue> AllQueues<Q> {
    /// `first` is the position of the queue to begin with.
    pub(super) fn new(queues: Vec<Q>, first: usize) -> Self {
        AllQueues { next: first % queues.len().max(1), queues }
    }
}

impl<Q: Queue> Accept for AllQueues<Q> {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn try_accept(&mut self) -> io::Result<Accepted> {
        for _ in 0..self.queues.len() {
            match self.queues[self.next].accept_now() {
                Err(error) if is_empty(&error) => self.next = (self.next + 1) % self.queues.len(),
                accepted => return accepted,
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

fn is_empty(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_socket_has_one_acceptor() {
        for sockets in 1..10 {
            for acceptors in 1..=sockets {
                let mut all: Vec<_> = (0..acceptors).flat_map(|slot| assigned(slot, acceptors, sockets)).collect();
                all.sort_unstable();
                assert_eq!(all, (0..sockets).collect::<Vec<_>>(), "{acceptors} acceptors");
                assert!((0..acceptors).all(|slot| !assigned(slot, acceptors, sockets).is_empty()));
            }
        }
    }

    #[test]
    fn further_acceptors_share_the_sockets() {
        let each: Vec<_> = (0..5).map(|slot| assigned(slot, 5, 2)).collect();
        assert_eq!(each, [[0], [1], [0], [1], [0]]);
        assert_eq!(assigned(3, 2, 4), [3], "an acceptor that is about to stop");
    }
}
