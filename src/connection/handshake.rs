//! The way from accepted to ready where there is a handshake: the stream goes, and comes back as it is to be used.

use std::task::{ready, Context, Poll};

use super::Connection;
use super::{Closed, Held, Protocol};
use crate::handshake::HandshakeError;
use crate::handshake::{HandshakeChain, HandshakeFailure};
use crate::panic::catch_panic;

impl<P: Protocol> Connection<P> {
    /// Goes on with the handshake. Pending as well when it has failed: then the connection has ended.
    pub(super) fn shake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(steps) = self.conn.steps.take() {
            let (stream, entry) = (self.conn.io.take(), self.conn.guard.state().clone());
            self.cold().opening = Some(steps.begin(stream, entry));
        }
        let Some(opening) = self.cold().opening.as_mut() else { return Poll::Ready(()) };
        // A step may be the user's own.
        let shaken = match catch_panic(|| opening.as_mut().poll(cx)) {
            Ok(shaken) => ready!(shaken),
            Err(text) => return self.refuse_to_open(Closed::Panic(text)),
        };
        self.cold().opening = None;
        match shaken {
            Err(HandshakeFailure::Failed(error)) => self.refuse_to_open(Closed::Handshake(error)),
            Err(HandshakeFailure::Refused(refusal)) => self.refuse_to_open(Closed::Refused(refusal)),
            Ok(shaken) => {
                self.conn.io = shaken.stream;
                let before = self.conn.negotiated.take().unwrap_or_default();
                self.conn.negotiated = Some(Box::new(shaken.negotiated.or(&before)));
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
        if self.cold().upgrade.is_some() {
            if self.conn.unsent() > 0 || self.unflushed {
                return false;
            }
            let in_clear = self.conn.unread().map_or(0, |read| read.len());
            if in_clear > 0 {
                self.end(Closed::Handshake(HandshakeError::PlaintextAfterStartTls(in_clear)));
                return false;
            }
            let step = self.cold().upgrade.take();
            let limits = self.conn.guard.state().port().limits();
            let limit = limits.policy().handshake_timeout;
            self.conn.steps = HandshakeChain::new(step.into_iter().collect(), limit, limits.handshakes().clone());
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
