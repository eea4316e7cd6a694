//! How the replies in a connection's outbox reach its socket.

use std::future::Future;
use std::io;
use std::pin::{pin, Pin};
use std::task::Context;

use tokio::io::AsyncWrite;

use super::{Closed, Connection, Flags, Paused, Phase, Protocol};
use crate::error::BoxError;
use crate::panic::catch_panic;
use crate::registry::{ConnectionState, OutboxQueue, Segment};

/// How many queued bytes the write buffer gets from the outbox. The rest stays there, where the senders' limit bounds it.
const FILL: usize = 64 * 1024;
/// How many times a turn fills the write buffer before other connections run.
const MAX_FILLS: u32 = 5;

impl<P: Protocol> Connection<P> {
    /// Handles the signal that the outbox may hold replies. Takes those that fit into the write buffer, before the packets of
    /// this turn. While others are left, packets and messages wait.
    #[cold]
    pub(super) fn outbox_signalled(&mut self, state: &ConnectionState) {
        self.conn.flags.insert(Flags::OUTBOX);
        let is_empty = state.outbox().is_none_or(|outbox| self.fill_from_outbox(outbox, FILL));
        if !is_empty || self.conn.unsent() > self.conn.config.settings.high_watermark {
            self.conn.paused.insert(Paused::ABOVE_MARK);
        }
    }

    /// Moves everything from the outbox to the write buffer, so that a last reply comes after it.
    pub(super) fn empty_outbox(&mut self) {
        self.conn.guard.registry().flush_deferred();
        let state = self.conn.guard.state().clone();
        if let Some(outbox) = state.outbox().filter(|outbox| outbox.queued() > 0) {
            self.conn.flags.insert(Flags::OUTBOX);
            self.fill_from_outbox(outbox, usize::MAX);
        }
    }

    /// Moves replies from the outbox to the write buffer while that holds less than `limit` bytes. Returns true if nothing is
    /// left.
    fn fill_from_outbox(&mut self, outbox: &OutboxQueue, limit: usize) -> bool {
        // Replies for a connection that becomes a TLS connection must not be sent in plaintext.
        let can_send =
            matches!(self.conn.phase(), Phase::Ready | Phase::Receiving | Phase::Closing) && !self.is_upgrading();
        // A push that is not counted yet sets the signal afterwards.
        while can_send && outbox.queued() > 0 && self.conn.queued() < limit {
            let Some(segment) = outbox.pop(limit - self.conn.queued()) else { return true };
            match catch_panic(|| self.conn.take_segment(outbox, segment)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.close(Closed::Error(error)),
                Err(text) => {
                    self.end(Closed::Panic(text));
                    return true;
                }
            }
        }
        outbox.queued() == 0
    }

    /// Writes the queued bytes and what is in the outbox, as far as the socket accepts them. Returns true if packets must wait
    /// for replies that are left in the outbox.
    #[cold]
    pub(super) fn write_with_outbox(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let state = self.conn.guard.state().clone();
        let Some(outbox) = state.outbox() else {
            self.conn.flags.remove(Flags::OUTBOX);
            return self.write_queued(cx).map(|()| false);
        };
        if self.has(Flags::UNFLUSHED) && outbox.awaits_flush(state.bytes_out()) {
            if !self.flush(cx)? {
                return Ok(outbox.queued() > 0);
            }
            outbox.sent(state.bytes_out());
        }
        for _ in 0..MAX_FILLS {
            // A later push sets the signal again.
            let is_empty = outbox.queued() == 0 || self.fill_from_outbox(outbox, FILL);
            let before = self.conn.buffered();
            let written = self.write_queued(cx);
            let unsent = self.conn.buffered();
            outbox.wrote(before.saturating_sub(unsent), unsent);
            written?;
            if !self.has(Flags::UNFLUSHED) {
                outbox.sent(state.bytes_out());
            }
            if outbox.pending() == 0 {
                self.conn.guard.report_dropped();
            }
            if outbox.pending() == 0 && !outbox.has_acks() {
                self.conn.flags.remove(Flags::OUTBOX);
                return Ok(false);
            }
            if is_empty || unsent > 0 || self.is_upgrading() {
                return Ok(!is_empty);
            }
        }
        // Lets other connections run: tokio defers this waker until after I/O.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
        Ok(true)
    }

    /// Flushes a buffering stream before more bytes are written to it, since those could delay an acknowledgement without limit.
    /// Returns true when it is flushed.
    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let conn = &mut self.conn;
        let is_flushed = Pin::new(&mut conn.io).poll_flush(cx)?.is_ready();
        conn.flags.set(Flags::UNFLUSHED, !is_flushed);
        let guard = &conn.guard;
        guard.deadlines.wrote(is_flushed, true, || guard.now());
        Ok(is_flushed)
    }
}

impl<P: Protocol> super::Conn<P> {
    /// Moves everything from the outbox to the write buffer, within a callback, so that the next answer comes after it.
    pub(crate) fn take_outbox(&mut self) {
        self.guard.registry().flush_deferred();
        let state = self.guard.state().clone();
        // Replies must not be sent in plaintext once an upgrade was requested.
        let is_upgrading = self.paused.contains(Paused::UPGRADING);
        let Some(outbox) = state.outbox().filter(|_| !self.is_closing() && !is_upgrading) else { return };
        while let Some(segment) = outbox.pop(usize::MAX) {
            self.flags.insert(Flags::OUTBOX);
            if let Err(error) = self.take_segment(outbox, segment) {
                return self.fail(error);
            }
        }
    }

    /// Moves a part of the outbox to the write buffer. Calls user code.
    fn take_segment(&mut self, outbox: &OutboxQueue, segment: Segment) -> Result<(), BoxError> {
        match segment {
            Segment::Copied(bytes) => self.buffers_mut().write.extend_from_slice(&bytes),
            Segment::Shared(bytes) => self.buffers_mut().write.extend_from_slice(&bytes),
            Segment::Reply(reply, estimate) => {
                let before = self.queued();
                let encoded = reply.downcast().map(|reply| self.encode(*reply));
                outbox.encoded(estimate, self.queued() - before);
                if let Ok(Err(error)) = encoded {
                    return Err(error.into());
                }
            }
            Segment::Marked(marked) => {
                self.take_segment(outbox, marked.segment)?;
                outbox.acknowledge_at(self.position(), marked.acks);
            }
        }
        Ok(())
    }

    /// The bytes in the write buffer, also those that are sent before a file.
    fn buffered(&self) -> usize {
        self.buffers.as_ref().map_or(0, |buffers| buffers.write.len() + buffers.before_files())
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
