//! What goes out: one write a turn.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use tokio::io::AsyncWrite;

use super::Connection;
use crate::protocol::{Closed, Held, Protocol};
use crate::table::Buffers;

impl<P: Protocol> Connection<P> {
    /// Writes what is queued, as far as the socket takes it. True if that made room for taking things in again.
    #[inline]
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> bool {
        if self.conn.unsent() == 0 && !self.unflushed {
            return false;
        }
        // What `init` sends waits until the connection is ready.
        if self.ended || self.conn.held & (Held::NEW | Held::CLOSING) == Held::NEW {
            return false;
        }
        if let Err(error) = self.write_queued(cx) {
            self.lost(error);
            return false;
        }
        let (unsent, terms) = (self.conn.unsent(), &self.conn.charter.terms);
        let was_above = self.conn.held & Held::ABOVE_MARK != 0;
        if unsent <= terms.low_watermark {
            self.conn.held &= !Held::ABOVE_MARK;
        } else if unsent > terms.high_watermark {
            self.conn.held |= Held::ABOVE_MARK;
        }
        was_above && self.conn.held & Held::ABOVE_MARK == 0
    }

    fn write_queued(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let conn = &mut self.conn;
        let queued = &mut conn.buffers.get_or_insert_with(Buffers::borrow).write;
        let (mut sent, before) = (0, conn.seat.entry().bytes_out());
        // Counted before the peer can have them, so that whoever has heard from the peer finds them counted.
        conn.seat.entry().set_bytes_out(before + queued.len() as u64);
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
        conn.seat.entry().set_bytes_out(before + sent as u64);
        conn.timer.wrote(sent > 0, !queued.is_empty(), conn.seat.now());
        if !conn.io.is_plain() {
            match Pin::new(&mut conn.io).poll_flush(cx) {
                Poll::Ready(flushed) => {
                    self.unflushed = false;
                    flushed?;
                }
                Poll::Pending => self.unflushed = true,
            }
        }
        outcome
    }

    /// A write failed: what is queued cannot be sent. An ending under way keeps its reason, unless it was a quiet one.
    #[cold]
    fn lost(&mut self, error: io::Error) {
        let why = self.busy.as_mut().and_then(|busy| busy.why.take());
        self.end(match why {
            None | Some(Closed::Local | Closed::Shutdown) => Closed::from_io(error),
            Some(why) => why,
        });
    }
}
