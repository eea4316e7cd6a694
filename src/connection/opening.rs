//! The way from accepted to ready where there is a handshake: the stream goes, and comes back as it is to be used.

use std::task::{ready, Context, Poll};

use super::Connection;
use crate::panic::catch_panic;
use crate::protocol::{Closed, Held, Protocol};
use crate::socket::{NotOpened, Steps};
use crate::transport::HandshakeError;

impl<P: Protocol> Connection<P> {
    /// Goes on with the handshake. Pending as well when it has failed: then the connection has ended.
    pub(super) fn shake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(steps) = self.conn.steps.take() {
            let (stream, entry) = (self.conn.io.take(), self.conn.guard.state().clone());
            self.busy().opening = Some(steps.begin(stream, entry));
        }
        let Some(opening) = self.busy().opening.as_mut() else { return Poll::Ready(()) };
        // A step may be the user's own.
        let shaken = match catch_panic(|| opening.as_mut().poll(cx)) {
            Ok(shaken) => ready!(shaken),
            Err(text) => return self.refuse_to_open(Closed::Panic(text)),
        };
        self.busy().opening = None;
        match shaken {
            Err(NotOpened::Failed(error)) => self.refuse_to_open(Closed::Handshake(error)),
            Err(NotOpened::Refused(refusal)) => self.refuse_to_open(Closed::Refused(refusal)),
            Ok(shaken) => {
                self.conn.io = shaken.stream;
                let before = self.conn.learnt.take().unwrap_or_default();
                self.conn.learnt = Some(Box::new(shaken.learnt.or(&before)));
                Poll::Ready(())
            }
        }
    }

    /// Goes on with an upgrade: first what is queued leaves in clear. True when it is done, and packets are taken again.
    #[inline]
    pub(super) fn upgrade(&mut self, cx: &mut Context<'_>) -> bool {
        self.conn.held & Held::UPGRADING != 0 && !self.ended && !self.conn.closing() && self.go_on_upgrading(cx)
    }

    #[cold]
    fn go_on_upgrading(&mut self, cx: &mut Context<'_>) -> bool {
        if self.busy().upgrade.is_some() {
            if self.conn.unsent() > 0 || self.unflushed {
                return false;
            }
            let in_clear = self.conn.unread().map_or(0, |read| read.len());
            if in_clear > 0 {
                self.end(Closed::Handshake(HandshakeError::PlaintextAfterStartTls(in_clear)));
                return false;
            }
            let step = self.busy().upgrade.take();
            let limits = self.conn.guard.state().port().limits();
            let limit = limits.policy().handshake_timeout;
            self.conn.steps = Steps::new(step.into_iter().collect(), limit, limits.handshakes().clone());
        }
        if self.shake(cx).is_pending() {
            return false;
        }
        self.conn.held &= !Held::UPGRADING;
        true
    }

    fn refuse_to_open(&mut self, why: Closed) -> Poll<()> {
        self.end(why);
        Poll::Pending
    }
}
