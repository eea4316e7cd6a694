//! How a connection ends: `close` sends the queued bytes first; every path leads to `end`.

use std::future::Future;
use std::pin::{pin, Pin};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;
use tracing::error;

use super::background::drop_each;
use super::{Closed, ColdState, Conn, Connection, Flags, Next, Paused, Phase, Protocol, Trigger};
use crate::error::BoxError;
use crate::net::Buffers;
use crate::panic::catch_panic;
use crate::registry::{CloseRequest, LastReply};

/// How long the peer's input is read and discarded after our last byte, in milliseconds. Closing on unread input would
/// reset the connection, which can destroy bytes that the peer has not read yet.
const LINGER_MAX: u64 = 2_000;
/// A peer that has sent nothing for this time, in milliseconds, has stopped sending.
const LINGER_QUIET: u64 = 500;

/// How long a connection that has reached its maximum age may take to send what is queued, in milliseconds.
const AGE_FLUSH: u64 = 500;

/// A close that waits until the peer stops sending.
#[derive(Debug, Default)]
pub(super) struct Linger {
    /// The peer sent something since the close began.
    received: bool,
    until: u64,
    quiet_at: u64,
}

impl<P: Protocol> Conn<P> {
    /// Starts to close, from within a callback: what it does from now on has no effect. [`Connection::complete_close`] does
    /// the rest in the same turn.
    #[cold]
    pub(super) fn fail(&mut self, error: BoxError) {
        self.background.get_or_insert_default().failure = Some(error);
        self.enter(Phase::Closing);
        self.paused.remove(Paused::WAITING);
        if self.handshake.is_some() {
            // Bytes meant to be sent under TLS must not be sent in plaintext.
            self.buffers = None;
        }
    }
}

impl<P: Protocol> ColdState<P> {
    /// When a closing connection must be checked again.
    pub(super) fn closing_deadline(&self) -> Option<u64> {
        let close_by = (self.close_by != 0).then_some(self.close_by);
        self.linger.deadline().into_iter().chain(close_by).min()
    }
}

impl Linger {
    fn deadline(&self) -> Option<u64> {
        (self.until != 0).then_some(self.until.min(self.quiet_at))
    }
}

impl<P: Protocol> Connection<P> {
    /// Starts to close: input and messages are no longer handled, the queued bytes are sent, then [`end`](Self::end) is
    /// called.
    #[cold]
    pub(super) fn close(&mut self, why: Closed) {
        if self.conn.is_closing() {
            return;
        }
        let why = match why {
            Closed::Local(None) | Closed::Peer(_) if self.has(Flags::DRAINING) => Closed::Shutdown,
            why => why,
        };
        self.conn.enter(Phase::Closing);
        self.begin_closing(why);
    }

    fn begin_closing(&mut self, why: Closed) {
        if self.has_handshake() {
            // Bytes meant to be sent under TLS must not be sent in plaintext.
            self.conn.buffers = None;
        }
        if let Some(outbox) = self.conn.guard.state().clone().outbox() {
            if self.has_handshake() || self.is_upgrading() {
                outbox.discard();
            }
            self.conn.flags.set(Flags::OUTBOX, outbox.pending() > 0);
        }
        self.cold().why = Some(why);
        if let Err(text) = self.drop_futures() {
            self.cold().why = Some(Closed::Panic(text));
        }
    }

    /// Completes a close that a callback has started by [`Conn::fail`]. Called wherever the reason is needed.
    #[cold]
    pub(super) fn complete_close(&mut self) {
        if self.conn.phase() == Phase::Closing
            && let Some(error) = self.conn.background.as_mut().and_then(|background| background.failure.take())
        {
            self.begin_closing(Closed::Error(error));
        }
    }

    /// Closes as requested by an operator: the last reply follows the queued bytes.
    #[cold]
    pub(super) fn close_on_request(&mut self) {
        let Some(CloseRequest { last_reply, by }) = self.conn.guard.take_close_request() else { return };
        self.conn.guard.deadlines.mark_changed();
        let cold = self.cold();
        cold.close_by = if cold.close_by == 0 { by } else { cold.close_by.min(by) };
        // A reply that was meant to be sent after a handshake must not be sent in plaintext.
        let sends = self.conn.can_send() && !self.has_handshake() && !self.is_upgrading();
        self.call_caught(Trigger::Own, |_, conn| match last_reply.filter(|_| sends) {
            Some(LastReply::Reply(reply)) => {
                reply.downcast().map_or(Next::Stop, |reply: Box<P::Reply>| Next::SendAndStop(*reply))
            }
            Some(LastReply::Encoded(bytes)) => {
                conn.guard.send_last(&bytes);
                Next::Stop
            }
            None => Next::Stop,
        });
    }

    /// Drops the futures, streams and handshakes of the user under the panic guard.
    fn drop_futures(&mut self) -> Result<(), String> {
        self.conn.paused.remove(Paused::WAITING | Paused::SLOWED);
        let handshake = self.conn.handshake.take();
        let mut dropped = catch_panic(|| drop(handshake));
        if let Some(mut background) = self.conn.background.take() {
            dropped = background.drop_each().and(dropped);
        }
        if let Some(cold) = self.cold.as_mut() {
            let handshake = cold.handshake.take();
            dropped = catch_panic(|| drop(handshake)).and(dropped);
            (cold.wait_added, cold.init_limit) = (false, None);
            dropped = drop_each(std::mem::take(&mut cold.waits)).and(dropped);
        }
        dropped
    }

    /// Records the reason, then calls `closed`. Every path that ends the connection leads here; only the first call
    /// acts. The [`ConnectionGuard`] does the rest when it is dropped.
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
        let dropped = self.drop_futures().and(self.drop_detach());
        let why = dropped.err().map_or(why, Closed::Panic);
        match &why {
            Closed::Refused(reason) => self.conn.guard.refuse(*reason),
            why => {
                // Formatting a user-defined error may panic.
                let detail = catch_panic(|| why.detail()).unwrap_or_else(Some).or_else(|| self.lost_bytes());
                match why {
                    Closed::Handshake(error) => {
                        self.conn.guard.set_handshake_failure(error.kind(), detail.unwrap_or_default());
                    }
                    why => self.conn.guard.set_close_reason(why.reason(), detail),
                }
            }
        }
        #[cfg(feature = "testing")]
        self.record_closed(&why);
        let guard = &self.conn.guard;
        let info = guard.registry().info(guard.state());
        if let Err(panic) = catch_panic(|| self.me.closed(&why, &info)) {
            let state = self.conn.guard.state();
            error!(id = %state.id(), peer = %state.peer(), panic, "the `closed` callback panicked");
        }
    }

    /// What to log about bytes that are still queued when the connection ends.
    fn lost_bytes(&self) -> Option<String> {
        let unsent = self.conn.unsent();
        (unsent > 0).then(|| format!("{unsent} bytes were not sent"))
    }

    /// Whether the connection has ended. A closing connection ends once its bytes are sent and the peer has stopped
    /// sending.
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
        self.complete_close();
        if self.is_detaching() {
            return self.poll_detached();
        }
        self.discard_input(cx);
        if self.conn.unsent() > 0 || self.has(Flags::UNFLUSHED) {
            return Poll::Pending;
        }
        let lingers = !self.has(Flags::EOF) && self.cold().linger.received;
        if lingers || !self.conn.io.is_plain() {
            // An error here means that the peer is gone.
            let is_shut_down = self.has(Flags::SHUT) || Pin::new(&mut self.conn.io).poll_shutdown(cx).is_ready();
            if (lingers || !is_shut_down) && self.linger() {
                return Poll::Pending;
            }
        }
        let why = self.cold().why.take();
        self.end(why.unwrap_or(Closed::Local(None)));
        Poll::Ready(())
    }

    /// Whether to wait longer for the peer to stop sending.
    fn linger(&mut self) -> bool {
        let now = self.conn.guard.now();
        let linger = &mut self.cold().linger;
        if linger.until == 0 {
            (linger.until, linger.quiet_at) = (now + LINGER_MAX, now + LINGER_QUIET);
            self.conn.guard.deadlines.mark_changed();
        }
        self.cold().linger.deadline().is_some_and(|deadline| now < deadline)
    }

    /// Reads and discards input, to detect when the peer stops sending.
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
            // The last read did not empty the socket, so the socket does not wake this task.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
    }

    /// Handles a deadline while closing: the peer may not be reading what is queued.
    pub(super) fn expire_closing(&mut self, now: u64) {
        let cold = self.cold();
        if cold.close_by != 0 && cold.close_by <= now {
            let why = Self::unfinished(cold.why.take());
            return self.end(why.unwrap_or(Closed::Local(None)));
        }
        let has_unsent = self.conn.unsent() > 0 || self.has(Flags::UNFLUSHED);
        let deadlines = &self.conn.guard.deadlines;
        let end = if has_unsent && deadlines.has_send_expired(now) {
            Closed::SendTimeout
        } else if deadlines.age_deadline().is_some_and(|age| age + AGE_FLUSH <= now) {
            Closed::MaxAge
        } else {
            return;
        };
        let why = Self::unfinished(self.cold().why.take());
        self.end(match why {
            None => end,
            Some(Closed::Local(_) | Closed::Shutdown | Closed::Peer(_)) if has_unsent => end,
            Some(why) => why,
        });
    }
}
