//! How a connection ends: `close` lets what is queued out first, `end` is the one place where it is over.

use std::future::Future;
use std::pin::{pin, Pin};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;
use tracing::{debug, error, info, warn};

use super::Connection;
use super::{Closed, Held, Protocol};
use crate::net::Buffers;
use crate::panic::catch_panic;

/// How long a peer that is still sending is listened to after our last byte, in milliseconds: closing on unread input
/// would be a reset, which can destroy that last byte.
const LINGER_MAX: u64 = 2_000;
/// A peer that has been quiet for so long has stopped sending.
const LINGER_QUIET: u64 = 500;

/// A close that waits for the peer to stop sending.
#[derive(Debug, Default)]
pub(super) struct Linger {
    /// Whether the peer sent anything since we began to close.
    unread: bool,
    until: u64,
    quiet_at: u64,
}

impl Linger {
    pub(super) fn due(&self) -> Option<u64> {
        (self.until != 0).then_some(self.until.min(self.quiet_at))
    }
}

impl<P: Protocol> Connection<P> {
    /// Begins to end: nothing more is taken in, what is queued is sent, then [`end`](Self::end).
    #[cold]
    pub(super) fn close(&mut self, why: Closed) {
        if self.conn.closing() || self.ended {
            return;
        }
        let why = match why {
            Closed::Local | Closed::Peer(_) if self.conn.draining => Closed::Shutdown,
            why => why,
        };
        self.conn.held = self.conn.held & !Held::WAITING | Held::CLOSING;
        if self.opens() {
            // What was to go under the handshake's cover does not go without it.
            self.conn.steps = None;
            self.cold().opening = None;
            self.conn.buffers = None;
        }
        let cold = self.cold();
        let waits = std::mem::take(&mut cold.waits);
        cold.unpolled = false;
        cold.why = Some(why);
        // What is waited for is the user's, and so is its end.
        if let Err(text) = catch_panic(|| drop(waits)) {
            self.cold().why = Some(Closed::Panic(text));
        }
    }

    /// Every ending comes here, once: the last callback, the log line, the count.
    #[cold]
    pub(super) fn end(&mut self, why: Closed) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let why = match why {
            Closed::Peer(_) if self.conn.draining => Closed::Shutdown,
            why => why,
        };
        self.conn.held = self.conn.held & !Held::WAITING | Held::CLOSING;
        match why {
            Closed::Refused(refusal) => self.conn.guard.refuse(refusal),
            _ => self.conn.guard.note(why.reason()),
        }
        // An error of the user's may panic when it is shown.
        let told = catch_panic(|| self.tell(&why));
        let closed = catch_panic(|| self.me.closed(&why));
        let entry = self.conn.guard.state();
        if let Err(text) = told {
            error!(id = %entry.id(), peer = %entry.peer(), panic = text, "the error's text panicked");
        }
        if let Err(text) = closed {
            error!(id = %entry.id(), peer = %entry.peer(), panic = text, "closed() panicked");
        }
    }

    /// Whether the connection is over: a closing one is once its bytes are out and the peer is quiet.
    #[inline]
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.conn.closing() {
            return Poll::Pending;
        }
        self.finish(cx)
    }

    #[cold]
    fn finish(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.ended {
            return Poll::Ready(());
        }
        self.discard(cx);
        if self.conn.unsent() > 0 || self.unflushed {
            return Poll::Pending;
        }
        let lingers = !self.eof && self.cold().linger.unread;
        if lingers || !self.conn.io.is_plain() {
            // An error here means that there is nobody to tell.
            let told = Pin::new(&mut self.conn.io).poll_shutdown(cx).is_ready();
            if (lingers || !told) && self.linger() {
                return Poll::Pending;
            }
        }
        let why = self.cold().why.take();
        self.end(why.unwrap_or(Closed::Local));
        Poll::Ready(())
    }

    /// Whether there is reason, and time, to stay a little longer.
    fn linger(&mut self) -> bool {
        let now = self.conn.guard.now();
        let linger = &mut self.cold().linger;
        if linger.until == 0 {
            (linger.until, linger.quiet_at) = (now + LINGER_MAX, now + LINGER_QUIET);
            self.conn.deadlines.changed = true;
        }
        self.cold().linger.due().is_some_and(|due| now < due)
    }

    /// Reads and forgets, a little: so that the end of the peer's sending is seen.
    fn discard(&mut self, cx: &mut Context<'_>) {
        let mut scratch = Buffers::borrow();
        let mut more = !self.eof;
        for _ in 0..8 {
            if !more {
                break;
            }
            scratch.reserve();
            match poll_read_buf(Pin::new(&mut self.conn.io), cx, &mut scratch.read) {
                Poll::Pending => more = false,
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    let now = self.conn.guard.now();
                    self.conn.guard.state().received(bytes, now);
                    let linger = &mut self.cold().linger;
                    (linger.unread, linger.quiet_at) = (true, now + LINGER_QUIET);
                    self.conn.deadlines.changed = true;
                }
                Poll::Ready(_) => (self.eof, more) = (true, false),
            }
            scratch.read.clear();
        }
        scratch.give_back();
        if more {
            // Nobody else would wake us for what is left: what the last read has not emptied.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
    }

    /// A deadline while closing: nobody reads what is queued.
    pub(super) fn expire_closing(&mut self, now: u64) {
        if (self.conn.unsent() > 0 || self.unflushed) && self.conn.deadlines.send_expired(now) {
            let why = self.cold().why.take();
            self.end(match why {
                None | Some(Closed::Local | Closed::Shutdown | Closed::Peer(_)) => Closed::SendTimeout,
                Some(why) => why,
            });
        }
    }

    /// One line per ending, with the peer's name and never its bytes.
    fn tell(&self, why: &Closed) {
        let entry = self.conn.guard.state();
        let (id, peer, listener) = (entry.id(), entry.peer(), self.conn.listener());
        let (bytes_in, bytes_out, reason) = (entry.bytes_in(), entry.bytes_out(), why.reason().name());
        macro_rules! line {
            ($level:ident) => {
                $level!(%id, %peer, listener, bytes_in, bytes_out, reason, "connection closed: {why}")
            };
        }
        // Quiet endings are told to whoever wants to hear them all; of the others a flood would drown the log.
        macro_rules! some {
            ($level:ident) => {
                if let Some(left_out) = self.conn.guard.registry().shared().endings.allow(why.reason()) {
                    $level!(%id, %peer, listener, bytes_in, bytes_out, reason, left_out, "connection closed: {why}")
                }
            };
        }
        match why {
            Closed::Panic(_) => some!(error),
            Closed::Error(_) => some!(warn),
            Closed::Refused(_) => {
                // By a budget of its own: those of errors are for errors.
                if let Some(left_out) =
                    self.conn.guard.registry().shared().endings.allow(crate::telemetry::CloseReason::Handshake)
                {
                    info!(%id, %peer, listener, left_out, "{why}");
                }
            }
            Closed::Handshake(_) => line!(debug),
            Closed::Local | Closed::Peer(_) | Closed::Shutdown | Closed::Killed => line!(debug),
            _ => some!(info),
        }
    }
}
