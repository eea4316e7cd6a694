//! What comes in: packets from the socket, messages from the mailbox and the streams.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use actix::dev::channel::AddressReceiver;
use actix::dev::EnvelopeProxy;
use bytes::BytesMut;
use futures::Stream as _;
use tokio_util::codec::Decoder;
use tokio_util::io::poll_read_buf;

use super::turn::Budget;
use super::{Active, Closed, Protocol};
use super::{Connection, ConnectionContext, Trigger};
use crate::error::BoxError;
use crate::net::{Buffers, READ_BUFFER};
use crate::panic::catch_panic;

impl<P: Protocol> Connection<P> {
    /// Reads, and delivers every whole packet of a read before the next one.
    pub(super) fn take_packets(&mut self, ctx: &ConnectionContext<P>, cx: &mut Context<'_>, budget: &mut Budget) {
        if ctx.waits() && self.open() {
            return self.read_ahead(cx);
        }
        let mut short = false;
        while self.open() {
            self.deliver(budget);
            self.tell_passive();
            if !self.open() || matches!(self.conn.active, Active::Passive) {
                return;
            }
            if budget.packets == 0 {
                budget.more = true;
                return;
            }
            if self.undecoded {
                continue;
            }
            if self.eof {
                return self.half_close();
            }
            if budget.bytes == 0 {
                budget.more = true;
                return;
            }
            if short && self.conn.io.is_drained(cx) {
                return;
            }
            match self.read(cx) {
                Poll::Ready(bytes) => {
                    short = bytes < READ_BUFFER;
                    budget.bytes = budget.bytes.saturating_sub(bytes.max(1));
                }
                Poll::Pending => return,
            }
        }
    }

    /// One read into the shared buffer. The end of input and errors are taken note of.
    #[inline]
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let conn = &mut self.conn;
        let buffers = conn.buffers.get_or_insert_with(Buffers::borrow);
        buffers.reserve();
        match poll_read_buf(Pin::new(&mut conn.io), cx, &mut buffers.read) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(bytes)) => {
                self.undecoded = true;
                if bytes == 0 {
                    self.eof = true;
                } else {
                    conn.guard.state().received(bytes, conn.guard.now());
                    conn.deadlines.on_read();
                }
                Poll::Ready(bytes)
            }
            Poll::Ready(Err(error)) => {
                let truncated = conn.io.is_truncation(&error);
                self.end(if truncated { Closed::Truncated } else { Closed::from_io(error) });
                Poll::Ready(0)
            }
        }
    }

    /// Delivers whole packets until none is left, under one guard for all of them.
    fn deliver(&mut self, budget: &mut Budget) {
        if !self.undecoded {
            return;
        }
        // Out of the connection while packets are taken from it: only the codec touches it.
        let mut read = std::mem::take(&mut self.conn.buffers_mut().read);
        let begun = self.conn.guard.callbacks();
        let outcome = catch_panic(|| self.deliver_from(&mut read, budget));
        // Each packet was a callback, the one that panicked too.
        let delivered = self.conn.guard.callbacks() - begun;
        self.conn.guard.state().delivered(delivered);
        let partial = !self.undecoded && !read.is_empty();
        self.conn.buffers_mut().read = read;
        match outcome {
            Ok(()) => self.conn.deadlines.decoded(delivered > 0, partial, self.conn.guard.now()),
            Err(text) => self.end(Closed::Panic(text)),
        }
    }

    fn deliver_from(&mut self, read: &mut BytesMut, budget: &mut Budget) {
        let (mut left, eof) = (budget.packets, self.eof);
        while self.open() && (matches!(self.conn.active, Active::Always) || self.takes_packet()) {
            if left == 0 {
                budget.more = true;
                break;
            }
            let codec = &mut self.conn.codec;
            match if eof { codec.decode_eof(read) } else { codec.decode(read) } {
                Ok(Some(packet)) => {
                    left -= 1;
                    if !matches!(self.conn.active, Active::Always) {
                        self.count_packet();
                    }
                    self.conn.guard.go_on();
                    let next = self.me.packet(packet, &mut self.conn);
                    self.apply(next, Trigger::Own);
                }
                Ok(None) => {
                    self.undecoded = false;
                    break;
                }
                Err(error) => {
                    self.close(Closed::from(Into::<BoxError>::into(error)));
                    break;
                }
            }
        }
        budget.packets = left;
    }

    /// Whether the active mode lets one more packet through.
    #[cold]
    fn takes_packet(&self) -> bool {
        !matches!(self.conn.active, Active::Passive | Active::Count(0))
    }

    /// The active mode moves on with a packet.
    #[cold]
    fn count_packet(&mut self) {
        match &mut self.conn.active {
            Active::Always | Active::Passive => {}
            Active::Once => self.conn.active = Active::Passive,
            Active::Count(left) => *left -= 1,
        }
    }

    /// A count of packets that is used up turns passive, and the connection is told.
    #[inline]
    fn tell_passive(&mut self) {
        if !matches!(self.conn.active, Active::Always) {
            self.turn_passive();
        }
    }

    #[cold]
    fn turn_passive(&mut self) {
        if self.conn.active == Active::Count(0) && self.open() {
            self.conn.active = Active::Passive;
            self.step(Trigger::Own, |me, conn| me.passive(conn));
        }
    }

    /// The peer has shut its side, and all that came before is delivered.
    fn half_close(&mut self) {
        if !self.half_closed {
            self.half_closed = true;
            self.step(Trigger::HalfClosed, |me, conn| me.half_closed(conn));
        }
        if !self.conn.factory.terms.half_close && !self.waiting() && !self.conn.closing() && !self.ended {
            self.close(Closed::Peer(None));
        }
    }

    /// Whether nothing would tell that the peer is gone: passive, or with as much read ahead as there may be.
    pub(super) fn cannot_detect_close(&mut self) -> bool {
        matches!(self.conn.active, Active::Passive)
            || self.waiting() && self.conn.unread().is_some_and(|read| read.len() >= READ_BUFFER)
    }

    /// During a wait: reads ahead, one buffer at the most, to see whether the peer is still there.
    pub(super) fn read_ahead(&mut self, cx: &mut Context<'_>) {
        // Before the handshake nothing is ours to read.
        if matches!(self.conn.active, Active::Passive) || self.opens() {
            return;
        }
        while !self.eof && !self.ended && self.conn.unread().map_or(0, |read| read.len()) < READ_BUFFER {
            if self.read(cx).is_pending() {
                return;
            }
        }
        let gone = self.eof && !self.half_closed && self.conn.unread().is_none();
        if gone && !self.ended && !self.conn.factory.terms.half_close {
            self.close(Closed::Peer(None));
        }
    }

    /// Messages from the mailbox and items of the streams, a quota of each, and futures of the context.
    #[inline]
    pub(super) fn take_mail(
        &mut self,
        mailbox: &mut AddressReceiver<Self>,
        ctx: &mut ConnectionContext<P>,
        cx: &mut Context<'_>,
        budget: &mut Budget,
    ) {
        if ctx.busy() {
            self.run_futures(ctx, cx);
        }
        if self.mail && self.open() {
            self.take_messages(mailbox, ctx, budget);
        }
        if self.conn.streams.is_some() {
            self.take_items(ctx, cx, budget);
        }
    }

    fn take_messages(
        &mut self,
        mailbox: &mut AddressReceiver<Self>,
        ctx: &mut ConnectionContext<P>,
        budget: &mut Budget,
    ) {
        let waker = Waker::from(self.conn.guard.state().clone());
        let mut cx = Context::from_waker(&waker);
        let outcome = catch_panic(|| {
            while self.open() && !ctx.waits() {
                if budget.messages == 0 {
                    budget.more = true;
                    return;
                }
                match Pin::new(&mut *mailbox).poll_next(&mut cx) {
                    Poll::Ready(Some(mut message)) => {
                        budget.messages -= 1;
                        self.conn.guard.go_on();
                        message.handle(self, ctx);
                        self.check_stopped(ctx);
                    }
                    Poll::Ready(None) | Poll::Pending => {
                        self.mail = false;
                        return;
                    }
                }
            }
        });
        if let Err(text) = outcome {
            self.end(Closed::Panic(text));
        }
    }

    fn take_items(&mut self, ctx: &ConnectionContext<P>, cx: &mut Context<'_>, budget: &mut Budget) {
        while self.open() && !ctx.waits() {
            if budget.items == 0 {
                budget.more = true;
                return;
            }
            self.conn.unpolled = false;
            let Some(streams) = self.conn.streams.as_mut() else { return };
            match catch_panic(|| Pin::new(&mut **streams).poll_next(cx)) {
                Err(text) => return self.end(Closed::Panic(text)),
                Ok(Poll::Pending) => return,
                Ok(Poll::Ready(None)) => self.conn.streams = None,
                Ok(Poll::Ready(Some(message))) => {
                    budget.items -= 1;
                    self.step(Trigger::Own, |me, conn| me.user(message, conn));
                }
            }
        }
    }

    fn run_futures(&mut self, ctx: &mut ConnectionContext<P>, cx: &mut Context<'_>) {
        if !self.open() {
            return;
        }
        if let Err(text) = catch_panic(|| ctx.run(self, cx)) {
            return self.end(Closed::Panic(text));
        }
        self.check_stopped(ctx);
    }

    /// A handler may have stopped its context, as actix's actors do.
    #[inline]
    fn check_stopped(&mut self, ctx: &ConnectionContext<P>) {
        if ctx.is_stopped() && !self.conn.closing() {
            self.close(Closed::Local);
        }
    }
}
