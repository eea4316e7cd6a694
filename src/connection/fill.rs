//! The way from a connection's outbox to its socket.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::Context;

use super::{Closed, Connection, Flags, Paused, Phase, Protocol};
use crate::panic::catch_panic;
use crate::registry::{OutboxQueue, Segment};

/// How many queued bytes the write buffer gets from the outbox. The rest stays there, where the senders' limit bounds it.
const FILL: usize = 64 * 1024;
/// How many times a turn fills the write buffer before other connections run.
const MAX_FILLS: u32 = 4;

impl<P: Protocol> Connection<P> {
    /// Notes that the outbox may hold replies, and takes those that fit: they were sent before the packets of this turn.
    #[cold]
    pub(super) fn outbox_signalled(&mut self) {
        self.conn.flags.insert(Flags::OUTBOX);
        self.fill_from_outbox(FILL);
        if self.conn.unsent() > self.conn.config.settings.high_watermark {
            self.conn.paused.insert(Paused::ABOVE_MARK);
        }
    }

    /// Moves everything from the outbox to the write buffer, so that a last reply comes after it.
    pub(super) fn empty_outbox(&mut self) {
        if self.conn.guard.state().outbox().is_some_and(|outbox| outbox.queued() > 0) {
            self.conn.flags.insert(Flags::OUTBOX);
            self.fill_from_outbox(usize::MAX);
        }
    }

    /// Moves replies from the outbox to the write buffer while that holds less than `limit` bytes.
    fn fill_from_outbox(&mut self, limit: usize) {
        // Replies for a connection that becomes a TLS connection must not be sent in plaintext.
        let can_send = matches!(self.conn.phase(), Phase::Ready | Phase::Closing);
        if !can_send || self.is_upgrading() {
            return;
        }
        let state = self.conn.guard.state().clone();
        let Some(outbox) = state.outbox() else { return };
        while self.conn.queued() < limit {
            match outbox.pop(limit - self.conn.queued()) {
                None => return,
                Some(Segment::Copied(bytes)) => self.conn.buffers_mut().write.extend_from_slice(&bytes),
                Some(Segment::Shared(bytes)) => {
                    self.conn.buffers_mut().write.extend_from_slice(&bytes);
                    if let Err(text) = catch_panic(|| drop(bytes)) {
                        return self.end(Closed::Panic(text));
                    }
                }
                Some(Segment::Reply(reply, estimate)) => {
                    let before = self.conn.queued();
                    let encoded = catch_panic(|| match reply.downcast() {
                        Ok(reply) => self.conn.encode(*reply).map_err(Into::into),
                        Err(_) => Ok(()),
                    });
                    outbox.encoded(estimate, self.conn.queued().saturating_sub(before));
                    match encoded {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return self.close(Closed::Error(error)),
                        Err(text) => return self.end(Closed::Panic(text)),
                    }
                }
            }
        }
    }

    /// Writes the queued bytes and what is in the outbox, as far as the socket accepts them.
    #[cold]
    pub(super) fn write_with_outbox(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let state = self.conn.guard.state().clone();
        for fills in 0.. {
            self.fill_from_outbox(FILL);
            let before = self.conn.queued();
            let written = self.write_queued(cx);
            let unsent = self.conn.queued();
            let Some(outbox) = state.outbox() else {
                self.conn.flags.remove(Flags::OUTBOX);
                return written;
            };
            outbox.wrote(before.saturating_sub(unsent), unsent);
            written?;
            if outbox.pending() == 0 {
                self.conn.flags.remove(Flags::OUTBOX);
                return Ok(());
            }
            if unsent > 0 || outbox.queued() == 0 || self.is_upgrading() {
                return Ok(());
            }
            if fills == MAX_FILLS {
                // Lets other connections run: tokio defers this waker until after I/O.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
                return Ok(());
            }
        }
        Ok(())
    }
}

impl<P: Protocol> super::Conn<P> {
    /// Moves everything from the outbox to the write buffer, within a callback, so that the next answer comes after it.
    pub(crate) fn take_outbox(&mut self) {
        let state = self.guard.state().clone();
        let Some(outbox) = state.outbox().filter(|_| self.phase() == Phase::Ready) else { return };
        while let Some(segment) = outbox.pop(usize::MAX) {
            self.flags.insert(Flags::OUTBOX);
            match segment {
                Segment::Copied(bytes) => self.buffers_mut().write.extend_from_slice(&bytes),
                Segment::Shared(bytes) => self.buffers_mut().write.extend_from_slice(&bytes),
                Segment::Reply(reply, estimate) => {
                    let before = self.queued();
                    let encoded = reply.downcast().map(|reply| self.encode(*reply));
                    outbox.encoded(estimate, self.queued() - before);
                    if let Ok(Err(error)) = encoded {
                        return self.fail(error.into());
                    }
                }
            }
        }
    }

    /// The bytes in the outbox that are not in the write buffer.
    #[inline]
    pub(super) fn in_outbox(&self) -> usize {
        if self.flags.contains(Flags::OUTBOX) {
            self.guard.state().outbox().map_or(0, OutboxQueue::queued)
        } else {
            0
        }
    }
}
