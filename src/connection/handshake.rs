//! The handshake of a connection: before `ack`, and on a live connection (STARTTLS). A handshake takes the stream and
//! returns the one to use afterwards.

use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use super::{Closed, Connection, Flags, Paused, Phase, Protocol};
use crate::handshake::{Handshake, HandshakeChain, HandshakeEnd, HandshakeError};

impl<P: Protocol> Connection<P> {
    /// Continues the handshake. Also returns `Pending` after a failure, which ends the connection.
    pub(super) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(chain) = self.conn.handshake.take() {
            let (mut stream, state) = (self.conn.io.take(), self.conn.guard.state().clone());
            let mut since_accept = Duration::ZERO;
            if self.conn.phase() < Phase::Ready {
                // A wait of `init` has read ahead: the bytes belong to the handshake.
                let read = self.conn.unread().map(|read| read.split().freeze());
                stream = stream.put_back(read.unwrap_or_default());
                self.conn.flags.remove(Flags::EOF);
                since_accept = self.conn.guard.age();
            }
            self.cold().handshake = Some(chain.begin(stream, state, since_accept));
        }
        let Some(handshake) = self.cold().handshake.as_mut() else { return Poll::Ready(()) };
        let outcome = ready!(handshake.as_mut().poll(cx));
        self.cold().handshake = None;
        match outcome {
            Ok(done) => {
                self.conn.io = done.stream;
                let before = self.conn.negotiated.take().unwrap_or_default();
                self.conn.negotiated = Some(Box::new(done.negotiated.or(&before)));
                return Poll::Ready(());
            }
            Err(HandshakeEnd::Failed(error)) => self.end(Closed::Handshake(error)),
            Err(HandshakeEnd::Refused(reason)) => self.end(Closed::Refused(reason)),
            Err(HandshakeEnd::Panicked(text)) => self.end(Closed::Panic(text)),
        }
        Poll::Pending
    }

    /// Adds a step to the handshake that has not begun.
    pub(super) fn add_handshake(&mut self, step: Arc<dyn Handshake>) {
        match &mut self.conn.handshake {
            Some(chain) => chain.add(step),
            None => {
                let limits = self.conn.guard.state().listener().limits();
                let (limit, slots) = (limits.config().load().handshake_timeout(), limits.handshakes().clone());
                self.conn.handshake = HandshakeChain::new(vec![step], limit, slots);
            }
        }
    }

    /// Counts what a wait of `init` has read ahead, when no handshake takes it.
    pub(super) fn count_read_ahead(&mut self) {
        let bytes = self.conn.unread().map_or(0, |read| read.len());
        if bytes > 0 {
            self.conn.flags.insert(Flags::UNDECODED);
            self.conn.guard.state().count_read(bytes, self.conn.guard.now());
        }
    }

    /// Continues an upgrade. Bytes queued before it are sent first, in plaintext. Returns true when it is done and
    /// packets are handled again.
    #[inline]
    pub(super) fn poll_upgrade(&mut self, cx: &mut Context<'_>) -> bool {
        self.conn.paused.contains(Paused::UPGRADING) && self.conn.phase() < Phase::Closing && self.poll_upgrade_slow(cx)
    }

    #[cold]
    fn poll_upgrade_slow(&mut self, cx: &mut Context<'_>) -> bool {
        if self.cold().upgrade.is_some() {
            if self.is_waiting() {
                return false;
            }
            // The outbox waits for the upgrade.
            if self.conn.unsent() > self.conn.in_outbox() || self.has(Flags::UNFLUSHED) {
                return false;
            }
            let plaintext = self.conn.unread().map_or(0, |read| read.len());
            if plaintext > 0 {
                self.end(Closed::Handshake(HandshakeError::PlaintextAfterStartTls(plaintext)));
                return false;
            }
            let step = self.cold().upgrade.take();
            step.into_iter().for_each(|step| self.add_handshake(step));
        }
        if self.poll_handshake(cx).is_pending() {
            return false;
        }
        self.conn.paused.remove(Paused::UPGRADING);
        self.begin_detach();
        true
    }
}
