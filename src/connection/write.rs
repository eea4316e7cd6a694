//! The output of a connection: one write per turn.

use std::future::Future;
use std::io;
use std::pin::{pin, Pin};
use std::task::{Context, Poll};

use bytes::Buf;
use tokio::io::AsyncWrite;

use super::{Closed, Connection, Flags, Paused, Phase, Protocol};
use crate::net::Buffers;

/// Bytes of files that a turn sends before other connections run.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

impl<P: Protocol> Connection<P> {
    /// Writes the queued bytes as far as the socket accepts them. Returns true if the connection can handle packets and
    /// messages again because of this.
    #[inline]
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> bool {
        const UNUSUAL: Flags = Flags::OUTBOX.union(Flags::SHUTTING);
        const PENDING: Flags = Flags::UNFLUSHED.union(UNUSUAL);
        let pending = self.conn.flags & PENDING;
        if self.conn.queued() == 0 && pending.is_empty() && !self.conn.paused.contains(Paused::SENDING_FILE) {
            return false;
        }
        // Bytes sent by `init` are written once the connection is ready.
        if !matches!(self.conn.phase(), Phase::Ready | Phase::Receiving | Phase::Closing) {
            return false;
        }
        const HELD: Paused = Paused::ABOVE_MARK.union(Paused::SENDING_FILE);
        let before = self.conn.paused & HELD;
        let written = match pending.intersects(UNUSUAL) {
            false => self.write_queued(cx).map(|()| false),
            true => self.write_unusual(cx),
        };
        let replies_wait = match written {
            Ok(replies_wait) => replies_wait,
            Err(error) => {
                self.write_failed(error);
                return false;
            }
        };
        let (unsent, settings) = (self.conn.queued() + self.conn.in_outbox(), &self.conn.config.settings);
        let own = if unsent == 0 { 0 } else { self.conn.own_unsent() };
        self.conn.guard.state().set_own_unsent(own);
        if unsent <= settings.low_watermark && !replies_wait {
            self.conn.paused.remove(Paused::ABOVE_MARK);
        } else if unsent > settings.high_watermark || replies_wait {
            self.conn.paused.insert(Paused::ABOVE_MARK);
        }
        !self.conn.paused.contains(before)
    }

    // Always inlined into the hot path, in spite of its second caller.
    #[inline(always)]
    pub(super) fn write_queued(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.conn.paused.contains(Paused::SENDING_FILE) && !self.write_files(cx)? {
            return Ok(());
        }
        let conn = &mut self.conn;
        let queued = &mut conn.buffers.get_or_insert_with(Buffers::borrow).write;
        let state = conn.guard.state();
        let (mut sent, before) = (0, state.bytes_out());
        // Counted before the write: once the peer has received bytes, the count must include them.
        state.set_bytes_out(before + queued.len() as u64);
        let outcome = loop {
            if queued.is_empty() {
                break Ok(());
            }
            match Pin::new(&mut conn.io).poll_write(cx, queued) {
                Poll::Ready(Ok(0)) => break Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => {
                    sent += bytes;
                    if bytes == queued.len() {
                        queued.clear();
                    } else {
                        queued.advance(bytes);
                    }
                }
                Poll::Ready(Err(error)) => break Err(error),
                Poll::Pending => break Ok(()),
            }
        };
        state.set_bytes_out(before + sent as u64);
        let was_unflushed = conn.flags.contains(Flags::UNFLUSHED);
        if !conn.io.is_plain() {
            match Pin::new(&mut conn.io).poll_flush(cx) {
                Poll::Ready(flushed) => {
                    conn.flags.remove(Flags::UNFLUSHED);
                    flushed?;
                }
                Poll::Pending => conn.flags.insert(Flags::UNFLUSHED),
            }
        }
        // Bytes that a buffering stream holds back count as unsent.
        let unflushed = conn.flags.contains(Flags::UNFLUSHED);
        let progress = sent > 0 || was_unflushed && !unflushed;
        let guard = &conn.guard;
        guard.deadlines.wrote(progress, !queued.is_empty() || unflushed, || guard.now());
        outcome
    }

    /// Sends files, each after the bytes queued before it. Returns true when all of them are sent.
    #[cold]
    fn write_files(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let conn = &mut self.conn;
        let state = conn.guard.state();
        let (mut left, mut progress) = (MAX_FILE_BYTES, false);
        let outcome = loop {
            let files = conn.buffers.as_mut().and_then(|buffers| buffers.files.as_mut());
            let Some((before, file)) = files.and_then(|files| files.front_mut()) else { break Ok(true) };
            let io = Pin::new(&mut conn.io);
            let sent = if !before.is_empty() {
                let sent = state.count_write(before.len() as u64, || io.poll_write(cx, before));
                if let Poll::Ready(Ok(bytes)) = &sent {
                    before.advance(*bytes);
                }
                sent
            } else if file.left() > 0 && left > 0 {
                state.count_write(left.min(file.left()), || file.poll(io, cx, left))
            } else if file.left() == 0 {
                conn.buffers.as_mut().and_then(|buffers| buffers.files.as_mut()).and_then(|files| files.pop_front());
                continue;
            } else {
                // Lets other connections run: tokio defers this waker until after I/O.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
                break Ok(false);
            };
            match sent {
                Poll::Ready(Ok(0)) => break Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => {
                    left = left.saturating_sub(bytes as u64);
                    progress = true;
                }
                Poll::Ready(Err(error)) => break Err(error),
                Poll::Pending => break Ok(false),
            }
        };
        let first = conn.buffers.as_ref().and_then(|buffers| buffers.files.as_ref()).and_then(|files| files.front());
        let mut waits_for_peer = first.is_some_and(|(_, file)| !file.is_reading());
        if let Ok(true) = outcome {
            conn.paused.remove(Paused::SENDING_FILE);
            if let Some(buffers) = &mut conn.buffers {
                buffers.files = None;
            }
        } else if !conn.io.is_plain() {
            // Flushed so that the bytes written so far do not wait for the next piece.
            let unflushed = Pin::new(&mut conn.io).poll_flush(cx)?.is_pending();
            progress |= conn.flags.contains(Flags::UNFLUSHED) && !unflushed;
            conn.flags.set(Flags::UNFLUSHED, unflushed);
            waits_for_peer |= unflushed;
        }
        let guard = &conn.guard;
        guard.deadlines.wrote(progress, waits_for_peer, || guard.now());
        outcome
    }

    /// Ends the connection after a failed write. A close in progress keeps its reason, unless it was an orderly one.
    #[cold]
    fn write_failed(&mut self, error: io::Error) {
        self.complete_close();
        let (why, truncated) = match self.cold.as_mut() {
            Some(cold) => (cold.why.take(), cold.truncated),
            None => (None, false),
        };
        match why {
            None if truncated => self.lose_peer(Closed::Truncated),
            None | Some(Closed::Local(_) | Closed::Shutdown | Closed::Detached) => {
                self.lose_peer(Closed::from_io(error))
            }
            Some(why) => self.end(why),
        }
    }
}
