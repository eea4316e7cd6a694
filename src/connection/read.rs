//! The input of a connection: packets from the socket, messages from the mailbox and from streams.

use std::any::TypeId;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use actix::dev::EnvelopeProxy;
use bytes::BytesMut;
use tokio_util::codec::Decoder;
use tokio_util::io::poll_read_buf;

use super::turn::Budget;
use super::{Active, Closed, Connection, ConnectionContext, Flags, Packet, Phase, Protocol, Trigger};
use crate::error::BoxError;
use crate::framing::Framing;
use crate::net::{Buffers, READ_BUFFER};
use crate::panic::catch_panic;

/// What most connections do not have: the end of their input, or a packet rate.
const UNUSUAL: Flags = Flags::EOF.union(Flags::RATED);

type DecodeResult<P> = Result<Option<Packet<P>>, <<P as Protocol>::Codec as Decoder>::Error>;

impl<P: Protocol> Connection<P> {
    /// Reads from the socket, and delivers every complete packet of a read before the next read.
    pub(super) fn take_packets(&mut self, ctx: &ConnectionContext<P>, cx: &mut Context<'_>, budget: &mut Budget) {
        if ctx.is_waiting() && matches!(self.conn.phase(), Phase::Ready | Phase::Receiving) {
            return self.watch_context_wait(cx);
        }
        let mut was_short = false;
        while self.is_open() || self.poll_slowed(cx) {
            self.deliver(budget);
            self.announce_passive();
            if !self.is_open() || matches!(self.conn.active, Active::Passive) {
                return;
            }
            if budget.packets == 0 {
                budget.exhausted = true;
                return;
            }
            if self.has(Flags::UNDECODED) {
                continue;
            }
            if self.conn.flags.intersects(UNUSUAL) {
                if self.has(Flags::EOF) {
                    self.half_close();
                    // `half_closed` may have changed the codec.
                    if self.has(Flags::UNDECODED) {
                        continue;
                    }
                    return;
                }
                if self.slow_down() {
                    continue;
                }
            }
            if budget.bytes == 0 {
                budget.exhausted = true;
                return;
            }
            if was_short && self.conn.io.poll_read_ready(cx).is_pending() {
                return;
            }
            match self.read(cx, false) {
                Poll::Ready(bytes) => {
                    was_short = bytes < READ_BUFFER;
                    budget.bytes = budget.bytes.saturating_sub(bytes.max(1));
                }
                Poll::Pending => return,
            }
        }
    }

    /// One read into the shared buffer; `ahead` during a wait. The end of input and errors are handled here.
    #[inline]
    pub(super) fn read(&mut self, cx: &mut Context<'_>, ahead: bool) -> Poll<usize> {
        let conn = &mut self.conn;
        let buffers = conn.buffers.get_or_insert_with(Buffers::borrow);
        buffers.reserve();
        match poll_read_buf(Pin::new(&mut conn.io), cx, &mut buffers.read) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(bytes)) => {
                conn.flags.insert(Flags::UNDECODED);
                if bytes == 0 {
                    conn.flags.insert(Flags::EOF);
                } else {
                    conn.guard.state().count_read(bytes, conn.guard.now());
                    conn.guard.deadlines.received();
                }
                Poll::Ready(bytes)
            }
            Poll::Ready(Err(error)) => {
                self.read_failed(error, ahead);
                Poll::Ready(0)
            }
        }
    }

    #[cold]
    fn read_failed(&mut self, error: io::Error, ahead: bool) {
        if !self.conn.io.is_truncation(&error) {
            return self.lose_peer(Closed::from_io(error));
        }
        if !ahead {
            return self.end(Closed::Truncated);
        }
        // Like any FIN, one without `close_notify` does not end the wait.
        self.conn.flags.insert(Flags::EOF);
        self.cold().truncated = true;
    }

    #[cold]
    fn is_truncated(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.truncated)
    }

    /// Delivers complete packets until none is left, all under one panic guard.
    fn deliver(&mut self, budget: &mut Budget) {
        if !self.has(Flags::UNDECODED) {
            return;
        }
        // Moved out of the connection while packets are decoded from it: only the codec uses it.
        let mut read = std::mem::take(&mut self.conn.buffers_mut().read);
        let before = self.conn.guard.callbacks();
        let outcome = catch_panic(|| self.deliver_from(&mut read, budget));
        // Each packet was one callback, including one that panicked.
        let delivered = self.conn.guard.callbacks() - before;
        self.conn.guard.state().count_packets(delivered);
        self.conn.buffers_mut().read = read;
        let guard = &self.conn.guard;
        let (deadlines, now) = (&guard.deadlines, || guard.now());
        match outcome {
            Ok(Some(rest)) => {
                deadlines.decoded(delivered > 0, rest || deadlines.continues_packet(delivered > 0), now);
                self.check_unparsed();
            }
            Ok(None) => {
                deadlines.decoded(delivered > 0, false, now);
                self.handle_decode_error(budget);
            }
            Err(text) => self.end(Closed::Panic(text)),
        }
    }

    /// Closes the connection if a codec leaves more bytes than allowed. `Framing` has a limit of its own, `max_frame`.
    #[inline]
    fn check_unparsed(&mut self) {
        if TypeId::of::<P::Codec>() == TypeId::of::<Framing>() {
            return;
        }
        let (length, limit) = (self.conn.buffers_mut().read.len(), self.conn.config.settings.max_read_buffer);
        if length > limit && self.is_open() {
            self.exceed_read_buffer(length as u64, limit as u64);
        }
    }

    /// Delivers packets from `read`. Returns `None` if the codec may have more packets, else whether it has the start of one.
    fn deliver_from(&mut self, read: &mut BytesMut, budget: &mut Budget) -> Option<bool> {
        let mut rest = None;
        let (mut left, unusual) = (budget.packets, self.conn.flags.intersects(UNUSUAL));
        let mut at_end = false;
        while self.is_open() && (matches!(self.conn.active, Active::Always) || self.takes_packets()) {
            if left == 0 {
                budget.exhausted = true;
                break;
            }
            let before = read.len();
            match self.decode(read, unusual, &mut at_end) {
                Ok(Some(packet)) => {
                    left -= 1;
                    if !matches!(self.conn.active, Active::Always) {
                        self.count_down_active();
                    }
                    self.conn.guard.next_callback();
                    self.call(Trigger::Packet, |me, conn| me.packet(packet, conn));
                }
                Ok(None) => {
                    self.conn.flags.remove(Flags::UNDECODED);
                    // Also if the codec took the bytes out of the buffer.
                    rest = Some(before > 0);
                    break;
                }
                Err(error) => {
                    let error: BoxError = error.into();
                    if at_end {
                        self.close(Closed::from(error).at_end_of_input());
                    } else {
                        self.raise_decode_error(error);
                    }
                    break;
                }
            }
        }
        budget.packets = left;
        rest
    }

    /// Decodes the next packet.
    #[inline(always)]
    fn decode(&mut self, read: &mut BytesMut, unusual: bool, at_end: &mut bool) -> DecodeResult<P> {
        #[cfg(feature = "testing")]
        if let Some(packet) = self.take_stepped_packet() {
            return Ok(if unusual { self.pay_for(packet) } else { Some(packet) });
        }
        if unusual {
            self.decode_unusual(read, at_end)
        } else {
            self.conn.codec.decode(read)
        }
    }

    /// Decodes a packet at the end of input, or of a connection with a packet rate. Closes the connection if there is no token.
    #[cold]
    #[inline(never)]
    fn decode_unusual(&mut self, read: &mut BytesMut, at_end: &mut bool) -> DecodeResult<P> {
        let eof = self.has(Flags::EOF) && !self.is_truncated();
        let codec = &mut self.conn.codec;
        let decoded = if eof { decode_last(codec, read, at_end) } else { codec.decode(read) };
        // The protocol may answer bytes that cannot be decoded as well.
        let needs_token = match decoded {
            Ok(None) => false,
            Ok(Some(_)) => true,
            Err(_) => !*at_end,
        };
        if needs_token && !self.take_token() {
            self.close(Closed::PacketRate);
            return Ok(None);
        }
        decoded
    }

    /// Whether the active mode lets one more packet through.
    #[cold]
    fn takes_packets(&self) -> bool {
        !matches!(self.conn.active, Active::Passive | Active::Count(0))
    }

    #[cold]
    fn count_down_active(&mut self) {
        match &mut self.conn.active {
            Active::Always | Active::Passive => {}
            Active::Once => self.conn.active = Active::Passive,
            Active::Count(left) => *left -= 1,
        }
    }

    /// Calls `passive` when a count of packets is used up.
    #[inline]
    fn announce_passive(&mut self) {
        if !matches!(self.conn.active, Active::Always) {
            self.announce_passive_slow();
        }
    }

    #[cold]
    fn announce_passive_slow(&mut self) {
        if self.conn.active == Active::Count(0) && self.is_open() {
            self.conn.active = Active::Passive;
            self.call_caught(Trigger::Passive, |me, conn| me.passive(conn));
            // Set again by `passive` itself, it is announced already: another call would never end.
            if self.conn.active == Active::Count(0) {
                self.conn.active = Active::Passive;
            }
        }
    }

    /// Handles the end of input, after all packets before it were delivered.
    fn half_close(&mut self) {
        if self.is_truncated() {
            return self.end(Closed::Truncated);
        }
        if !self.has(Flags::HALF_CLOSED) {
            self.conn.flags.insert(Flags::HALF_CLOSED);
            // For the probe: a socket that was read to its end does not report a reset.
            self.conn.guard.deadlines.mark_changed();
            self.call_caught(Trigger::HalfClosed, |me, conn| me.half_closed(conn));
        }
        let can_send = self.conn.can_send();
        let stays_open = self.conn.config.settings.half_close && can_send || self.is_waiting();
        if !stays_open && self.conn.phase() < Phase::Closing {
            self.close(Closed::Peer(None));
        }
    }

    /// Handles messages from the mailbox and items of the streams, a quota of each, and polls the futures of the
    /// context.
    #[inline]
    pub(super) fn take_mail(&mut self, ctx: &mut ConnectionContext<P>, cx: &mut Context<'_>, budget: &mut Budget) {
        if ctx.has_futures() {
            self.poll_futures(ctx, cx, budget);
        }
        if self.has(Flags::MAIL) && self.takes_messages() {
            self.take_messages(ctx, budget);
        }
        if self.conn.background.is_some() && !self.conn.is_closing() {
            self.poll_background(ctx, cx, budget);
        }
    }

    fn take_messages(&mut self, ctx: &mut ConnectionContext<P>, budget: &mut Budget) {
        if !ctx.find_mailbox(self.conn.guard.state()) {
            self.conn.flags.remove(Flags::MAIL);
            return;
        }
        let waker = Waker::from(self.conn.guard.state().clone());
        let mut cx = Context::from_waker(&waker);
        let outcome = catch_panic(|| {
            while self.takes_messages() && !ctx.is_waiting() {
                if budget.messages == 0 {
                    budget.exhausted = true;
                    return;
                }
                let Some(mut message) = ctx.next_message(&mut cx) else {
                    self.conn.flags.remove(Flags::MAIL);
                    return;
                };
                budget.messages -= 1;
                self.conn.guard.next_callback();
                message.handle(self, ctx);
                self.check_stopped(ctx);
            }
        });
        if let Err(text) = outcome {
            self.end(Closed::Panic(text));
        }
    }

    fn poll_futures(&mut self, ctx: &mut ConnectionContext<P>, cx: &mut Context<'_>, budget: &mut Budget) {
        if !self.takes_messages() {
            return;
        }
        let held = ctx.held();
        self.cold().held = Some(held.clone());
        let outcome = catch_panic(|| ctx.poll_futures(self, cx, &mut budget.futures));
        self.cold().held = None;
        held.set(false);
        match outcome {
            Ok(is_done) => budget.exhausted |= !is_done,
            Err(text) => return self.end(Closed::Panic(text)),
        }
        if !ctx.is_waiting() {
            self.forget_context_wait();
        }
        self.check_stopped(ctx);
    }

    /// Closes the connection if a message handler has stopped the context.
    #[inline]
    fn check_stopped(&mut self, ctx: &ConnectionContext<P>) {
        if ctx.is_stopped() && !self.conn.is_closing() {
            self.close(Closed::Local(None));
        }
    }
}

/// Decodes at the end of input. Sets `at_end` if the codec needs more bytes for another packet: an error that follows is then
/// about the end of input and not about the bytes.
#[cold]
fn decode_last<C: Decoder>(codec: &mut C, read: &mut BytesMut, at_end: &mut bool) -> Result<Option<C::Item>, C::Error> {
    match codec.decode(read)? {
        Some(packet) => Ok(Some(packet)),
        None => {
            *at_end = true;
            codec.decode_eof(read)
        }
    }
}
