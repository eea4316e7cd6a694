//! How a connection ends: `close` lets what is queued out first; every ending comes to `end`.

use std::future::Future;
use std::pin::{pin, Pin};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;
use tracing::error;

use super::{Closed, Connection, Flags, Paused, Phase, Protocol};
use crate::net::Buffers;
use crate::panic::catch_panic;

/// How long input of the peer is read and discarded after our last byte, in milliseconds: closing on unread input would
/// reset the connection, which can destroy that last byte.
const LINGER_MAX: u64 = 2_000;
/// A peer that has sent nothing for this time, in milliseconds, has stopped sending.
const LINGER_QUIET: u64 = 500;

/// A close that waits until the peer stops sending.
#[derive(Debug, Default)]
pub(super) struct Linger {
    /// The peer sent something since the close began.
    received: bool,
    until: u64,
    quiet_at: u64,
}

impl Linger {
    pub(super) fn deadline(&self) -> Option<u64> {
        (self.until != 0).then_some(self.until.min(self.quiet_at))
    }
}

impl<P: Protocol> Connection<P> {
    /// Begins to close: nothing more is taken in, what is queued is sent, then [`end`](Self::end) is called.
    #[cold]
    pub(super) fn close(&mut self, why: Closed) {
        if self.conn.is_closing() {
            return;
        }
        let why = match why {
            Closed::Local | Closed::Peer(_) if self.has(Flags::DRAINING) => Closed::Shutdown,
            why => why,
        };
        self.conn.enter(Phase::Closing);
        self.conn.paused.remove(Paused::WAITING);
        if self.has_handshake() {
            // What was to be sent under TLS must not be sent without it.
            self.conn.handshake = None;
            self.cold().handshake = None;
            self.conn.buffers = None;
        }
        let cold = self.cold();
        let waits = std::mem::take(&mut cold.waits);
        cold.wait_added = false;
        cold.why = Some(why);
        // The futures are the user's, and so is their drop.
        if let Err(text) = catch_panic(|| drop(waits)) {
            self.cold().why = Some(Closed::Panic(text));
        }
    }

    /// Every ending comes here, once: the reason is recorded, then `closed` is called. The [`ConnectionGuard`] does the rest
    /// when it is dropped.
    ///
    /// [`ConnectionGuard`]: crate::registry::ConnectionGuard
    #[cold]
    pub(super) fn end(&mut self, why: Closed) {
        if self.conn.phase() == Phase::Closed {
            return;
        }
        let why = match why {
            Closed::Peer(_) if self.has(Flags::DRAINING) => Closed::Shutdown,
            why => why,
        };
        self.conn.enter(Phase::Closed);
        self.conn.paused.remove(Paused::WAITING);
        match &why {
            Closed::Refused(reason) => self.conn.guard.refuse(*reason),
            why => {
                // An error of the user's may panic when it is formatted.
                let detail = catch_panic(|| why.detail()).unwrap_or_else(Some);
                self.conn.guard.set_close_reason(why.reason(), detail);
            }
        }
        if let Err(panic) = catch_panic(|| self.me.closed(&why)) {
            let state = self.conn.guard.state();
            error!(id = %state.id(), peer = %state.peer(), panic, "the `closed` callback panicked");
        }
    }

    /// Whether the connection has ended: a closing one does once its bytes are sent and the peer has stopped sending.
    #[inline]
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.conn.is_closing() {
            return Poll::Pending;
        }
        self.poll_closed_slow(cx)
    }

    #[cold]
    fn poll_closed_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.conn.phase() == Phase::Closed {
            return Poll::Ready(());
        }
        self.discard_input(cx);
        if self.conn.unsent() > 0 || self.has(Flags::UNFLUSHED) {
            return Poll::Pending;
        }
        let lingers = !self.has(Flags::EOF) && self.cold().linger.received;
        if lingers || !self.conn.io.is_plain() {
            // An error here means that the peer is gone.
            let is_shut_down = Pin::new(&mut self.conn.io).poll_shutdown(cx).is_ready();
            if (lingers || !is_shut_down) && self.linger() {
                return Poll::Pending;
            }
        }
        let why = self.cold().why.take();
        self.end(why.unwrap_or(Closed::Local));
        Poll::Ready(())
    }

    /// Whether to stay a little longer.
    fn linger(&mut self) -> bool {
        let now = self.conn.guard.now();
        let linger = &mut self.cold().linger;
        if linger.until == 0 {
            (linger.until, linger.quiet_at) = (now + LINGER_MAX, now + LINGER_QUIET);
            self.conn.guard.deadlines.mark_changed();
        }
        self.cold().linger.deadline().is_some_and(|deadline| now < deadline)
    }

    /// Reads a little and discards it, to see when the peer stops sending.
    fn discard_input(&mut self, cx: &mut Context<'_>) {
        let mut scratch = Buffers::borrow();
        let mut more = !self.has(Flags::EOF);
        for _ in 0..8 {
            if !more {
                break;
            }
            scratch.reserve();
            match poll_read_buf(Pin::new(&mut self.conn.io), cx, &mut scratch.read) {
                Poll::Pending => more = false,
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    let now = self.conn.guard.now();
                    self.conn.guard.state().count_read(bytes, now);
                    let linger = &mut self.cold().linger;
                    (linger.received, linger.quiet_at) = (true, now + LINGER_QUIET);
                    self.conn.guard.deadlines.mark_changed();
                }
                Poll::Ready(_) => {
                    self.conn.flags.insert(Flags::EOF);
                    more = false;
                }
            }
            scratch.read.clear();
        }
        scratch.give_back();
        if more {
            // The last read did not empty the socket, so the socket will not wake us.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
    }

    /// Handles a deadline while closing: the peer may not be reading what is queued.
    pub(super) fn expire_closing(&mut self, now: u64) {
        let has_unsent = self.conn.unsent() > 0 || self.has(Flags::UNFLUSHED);
        if has_unsent && self.conn.guard.deadlines.has_send_expired(now) {
            let why = self.cold().why.take();
            self.end(match why {
                None | Some(Closed::Local | Closed::Shutdown | Closed::Peer(_)) => Closed::SendTimeout,
                Some(why) => why,
            });
        }
    }
}
