//! What goes out: one write a turn.

use std::future::Future;
use std::io;
use std::pin::{pin, Pin};
use std::task::{Context, Poll};

use bytes::Buf;
use tokio::io::AsyncWrite;

use super::Connection;
use super::{Closed, Held, Protocol};
use crate::net::Buffers;

/// How many bytes of files a turn sends before others get theirs.
const FILE_BYTES: u64 = 1024 * 1024;

impl<P: Protocol> Connection<P> {
    /// Writes what is queued, as far as the socket takes it. True if that made room for taking things in again.
    #[inline]
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> bool {
        if self.conn.queued() == 0 && !self.unflushed && self.conn.held & Held::SENDING == 0 {
            return false;
        }
        // What `init` sends waits until the connection is ready.
        if self.ended || self.conn.held & (Held::NEW | Held::CLOSING) == Held::NEW {
            return false;
        }
        let before = self.conn.held;
        if let Err(error) = self.write_queued(cx) {
            self.lost(error);
            return false;
        }
        let (unsent, terms) = (self.conn.queued(), &self.conn.factory.terms);
        let was_held = before & (Held::ABOVE_MARK | Held::SENDING);
        if unsent <= terms.low_watermark {
            self.conn.held &= !Held::ABOVE_MARK;
        } else if unsent > terms.high_watermark {
            self.conn.held |= Held::ABOVE_MARK;
        }
        self.conn.held & was_held != was_held
    }

    fn write_queued(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.conn.held & Held::SENDING != 0 && !self.write_files(cx)? {
            return Ok(());
        }
        let conn = &mut self.conn;
        let queued = &mut conn.buffers.get_or_insert_with(Buffers::borrow).write;
        let (mut sent, before) = (0, conn.guard.state().bytes_out());
        // Counted before the peer can have them, so that whoever has heard from the peer finds them counted.
        conn.guard.state().set_bytes_out(before + queued.len() as u64);
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
        conn.guard.state().set_bytes_out(before + sent as u64);
        let kept_back = self.unflushed;
        if !conn.io.is_plain() {
            match Pin::new(&mut conn.io).poll_flush(cx) {
                Poll::Ready(flushed) => {
                    self.unflushed = false;
                    flushed?;
                }
                Poll::Pending => self.unflushed = true,
            }
        }
        // What a layer of its own keeps back is not out either.
        let progress = sent > 0 || kept_back && !self.unflushed;
        conn.deadlines.wrote(progress, !queued.is_empty() || self.unflushed, conn.guard.now());
        outcome
    }

    /// Sends files, each behind what was written before it; true when they are all out.
    #[cold]
    fn write_files(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let conn = &mut self.conn;
        let entry = conn.guard.state();
        let (mut left, mut progress) = (FILE_BYTES, false);
        let outcome = loop {
            let files = conn.buffers.as_mut().and_then(|buffers| buffers.files.as_mut());
            let Some((before, file)) = files.and_then(|files| files.front_mut()) else { break Ok(true) };
            let counted = entry.bytes_out();
            let sent = if !before.is_empty() {
                entry.set_bytes_out(counted + before.len() as u64);
                let sent = Pin::new(&mut conn.io).poll_write(cx, before);
                if let Poll::Ready(Ok(bytes)) = &sent {
                    before.advance(*bytes);
                }
                sent
            } else if file.left() > 0 && left > 0 {
                entry.set_bytes_out(counted + left.min(file.left()));
                file.poll(Pin::new(&mut conn.io), cx, left)
            } else if file.left() == 0 {
                conn.buffers.as_mut().and_then(|buffers| buffers.files.as_mut()).and_then(|files| files.pop_front());
                continue;
            } else {
                // Others get their turn: tokio defers this waker until after I/O.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
                break Ok(false);
            };
            let bytes = if let Poll::Ready(Ok(bytes)) = &sent { *bytes as u64 } else { 0 };
            entry.set_bytes_out(counted + bytes);
            left = left.saturating_sub(bytes);
            progress |= bytes > 0;
            match sent {
                Poll::Ready(Ok(0)) => break Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => break Err(error),
                Poll::Pending => break Ok(false),
            }
        };
        conn.deadlines.wrote(progress, !matches!(outcome, Ok(true)), conn.guard.now());
        if let Ok(true) = outcome {
            conn.held &= !Held::SENDING;
            if let Some(buffers) = &mut conn.buffers {
                buffers.files = None;
            }
        } else if !conn.io.is_plain() {
            // What is out so far shall not wait for the next piece.
            self.unflushed = Pin::new(&mut conn.io).poll_flush(cx)?.is_pending();
        }
        outcome
    }

    /// A write failed: what is queued cannot be sent. An ending under way keeps its reason, unless it was a quiet one.
    #[cold]
    fn lost(&mut self, error: io::Error) {
        let why = self.cold.as_mut().and_then(|cold| cold.why.take());
        self.end(match why {
            None | Some(Closed::Local | Closed::Shutdown) => Closed::from_io(error),
            Some(why) => why,
        });
    }
}
