//! Waiting for a permit while the arbiters of other waiting threads may be blocked.

use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::permits::{GroupId, Permits, Ticket, Turn};

/// How long a held peer, or an acceptor in the queue, may take to react to a free permit before one of another arbiter gets it.
const REACTION_TIME: Duration = Duration::from_millis(100);

/// A position in the queue for a permit, left when dropped.
pub(super) struct QueuePosition<'a>(&'a Permits, Ticket);

impl<'a> QueuePosition<'a> {
    pub(super) fn join(permits: &'a Permits, group: GroupId, thread: usize) -> Self {
        QueuePosition(permits, permits.join(group, thread))
    }

    /// Takes a permit, which the caller must give back.
    pub(super) fn poll_take(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.poll_take(&self.1, cx)
    }
}

impl Drop for QueuePosition<'_> {
    fn drop(&mut self) {
        self.0.leave(&self.1);
    }
}

/// Watches whether the held peer whose turn it is takes its permit, while a peer or an acceptor of another thread waits.
pub(super) struct TurnWatch<'a> {
    permits: &'a Permits,
    /// The waiting thread; `None` for an acceptor, which comes after all held peers.
    thread: Option<usize>,
    watched: Option<(Turn, Pin<Box<Sleep>>)>,
}

impl<'a> TurnWatch<'a> {
    pub(super) fn new(permits: &'a Permits, thread: Option<usize>) -> Self {
        TurnWatch { permits, thread, watched: None }
    }

    /// Polls `take`, and passes over the peer whose turn it is if it does not react.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut Context<'_>) -> Poll<()>,
    ) -> Poll<()> {
        loop {
            if take(cx).is_ready() {
                return Poll::Ready(());
            }
            let Some(turn) = self.permits.turn(self.thread) else {
                self.watched = None;
                return Poll::Pending;
            };
            match &mut self.watched {
                Some((watched, over)) if *watched == turn => {
                    ready!(over.as_mut().poll(cx));
                    self.watched = None;
                    self.permits.pass_over(turn);
                }
                _ => self.watched = Some((turn, Box::pin(tokio::time::sleep(REACTION_TIME)))),
            }
        }
    }
}
