//! One turn of a connection: what was ordered, what came in, one write, and out again.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use actix::dev::channel::AddressReceiver;

use super::{Active, Closed, Conn, Held, Protocol, Timeout};
use super::{Connection, ConnectionContext, Trigger};
use crate::panic::catch_panic;
use crate::registry::Signals;
use crate::time::Expired;

/// How many bytes a turn reads before others get theirs.
const BYTES: usize = 64 * 1024;
/// How many packets a turn delivers.
const PACKETS: u32 = 128;
/// How many messages a turn takes from the mailbox, and as many from the streams. More starves the socket, fewer cost
/// more turns.
const MESSAGES: u32 = 64;

/// Milliseconds between looks at the socket of a connection that does not read: whether the peer reset it.
const PROBE_INTERVAL: u64 = 250;

/// What a turn may still do.
pub(super) struct Budget {
    pub(super) bytes: usize,
    pub(super) packets: u32,
    pub(super) messages: u32,
    pub(super) items: u32,
    /// The budget ended before the work did: another turn is needed, after others had theirs.
    pub(super) more: bool,
}

impl<P: Protocol> Connection<P> {
    /// One turn. The story of a connection is the order of the calls in here.
    // Compiled by itself: merged into the poll it costs more, 7 instructions a pipelined packet.
    #[inline(never)]
    pub(super) fn turn(
        &mut self,
        mailbox: &mut AddressReceiver<Self>,
        ctx: &mut ConnectionContext<P>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut budget = Budget { bytes: BYTES, packets: PACKETS, messages: MESSAGES, items: MESSAGES, more: false };
        loop {
            self.handle_signals(ctx);
            self.prepare(cx);
            self.wait(cx);
            self.take_mail(mailbox, ctx, cx, &mut budget);
            self.take_packets(ctx, cx, &mut budget);
            let room_again = self.write(cx) | self.upgrade(cx);
            if self.poll_closed(cx).is_ready() {
                return Poll::Ready(());
            }
            if !(room_again || self.has_more(ctx)) || budget.more {
                return self.yield_turn(ctx, budget, cx);
            }
        }
    }

    /// Does what the table has on order. What cannot be done during a wait stays ordered.
    #[inline]
    fn handle_signals(&mut self, ctx: &ConnectionContext<P>) {
        let orders = self.conn.guard.state().signals();
        if orders != 0 && !self.ended {
            self.handle_signals_slow(orders, ctx.waits());
        }
    }

    #[cold]
    fn handle_signals_slow(&mut self, orders: u8, context_waits: bool) {
        let waiting = self.waiting() || context_waits;
        let entry = self.conn.guard.state().clone();
        if orders & Signals::KILL != 0 {
            return self.end(Closed::Killed);
        }
        if orders & Signals::STOP != 0 {
            self.close(Closed::Killed);
        }
        if orders & Signals::MAIL != 0 {
            entry.clear(Signals::MAIL);
            self.mail = true;
        }
        if orders & Signals::DUE != 0 {
            entry.clear(Signals::DUE);
            self.expire(waiting);
        }
        if orders & Signals::DRAIN != 0 && self.ready() && !self.upgrading() && !waiting && !self.ended {
            entry.clear(Signals::DRAIN);
            self.conn.draining = true;
            if !self.conn.closing() {
                let deadline = self.conn.guard.registry().drain_progress().and_then(|drain| drain.deadline);
                self.step(Trigger::Shutdown, |me, conn| me.shutdown(deadline, conn));
            }
        }
    }

    /// A deadline may have come.
    fn expire(&mut self, waiting: bool) {
        self.conn.deadlines.changed = true;
        let (heard, now) = (self.conn.guard.state().last_read(), self.conn.guard.now());
        if self.conn.closing() {
            return self.expire_closing(now);
        }
        if self.cannot_detect_close()
            && let Some(error) = self.conn.io.take_error()
        {
            return self.end(Closed::from_io(error));
        }
        match self.conn.deadlines.expired(heard, now) {
            None => {}
            Some(Expired::Age) if waiting => {}
            Some(Expired::Age) => self.close(Closed::MaxAge),
            Some(Expired::Send) => self.end(Closed::SendTimeout),
            Some(Expired::Idle) => {
                self.conn.deadlines.idle_again(now);
                self.step(Trigger::Idle, |me, conn| me.timeout(Timeout::Idle, conn));
            }
            Some(Expired::Packet) => {
                let partial = self.conn.unread().map(|read| read.split().freeze()).unwrap_or_default();
                self.conn.deadlines.decoded(false, false, now);
                match catch_panic(|| (self.conn.factory.codec)()) {
                    Ok(codec) => self.conn.codec = codec,
                    Err(text) => return self.end(Closed::Panic(text)),
                }
                self.step(Trigger::PacketTimeout, |me, conn| me.timeout(Timeout::Packet(partial), conn));
            }
        }
    }

    /// From accepted to ready: `init`, then the handshake, then `ack`; a wait that `init` asked for lies before the handshake.
    #[inline]
    fn prepare(&mut self, cx: &mut Context<'_>) {
        if !self.ready() && !self.ended {
            self.prepare_slow(cx);
        }
    }

    #[cold]
    fn prepare_slow(&mut self, cx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.begun, true) {
            self.conn.guard.state().set_waker(cx.waker().clone());
            self.step(Trigger::Own, |me, conn| me.init(conn));
        }
        if self.conn.held & !(Held::ABOVE_MARK | Held::SENDING) == Held::NEW {
            if self.opens() && self.shake(cx).is_pending() {
                return;
            }
            self.conn.held &= !Held::NEW;
            self.conn.guard.ready();
            self.step(Trigger::Own, |me, conn| me.ack(conn));
        }
    }

    /// Waits for the futures that callbacks asked for, one after the other.
    fn wait(&mut self, cx: &mut Context<'_>) {
        while self.waiting() {
            let cold = self.cold();
            cold.unpolled = false;
            let Some((trigger, future)) = cold.waits.front_mut() else { return };
            let trigger = *trigger;
            match catch_panic(|| future.as_mut().poll(cx)) {
                Err(text) => return self.end(Closed::Panic(text)),
                Ok(Poll::Pending) => return self.read_ahead(cx),
                Ok(Poll::Ready(then)) => {
                    cold.waits.pop_front();
                    if cold.waits.is_empty() {
                        self.conn.held &= !Held::WAITING;
                    }
                    self.step(trigger, then);
                }
            }
        }
    }

    /// Something is left to do in this very turn.
    #[inline]
    fn has_more(&self, ctx: &ConnectionContext<P>) -> bool {
        let entry = self.conn.guard.state();
        if self.conn.held == 0 && entry.signals() == 0 && !self.conn.unpolled && !ctx.busy() {
            return false;
        }
        let stopped = if self.conn.closing() { Signals::STOP | Signals::FORCED } else { Signals::FORCED };
        let held = stopped
            | if !self.ready() || self.upgrading() || self.waiting() || ctx.waits() { Signals::DRAIN } else { 0 };
        let ordered = entry.signals() & !held != 0;
        let unpolled = self.cold.as_ref().is_some_and(|cold| cold.unpolled);
        let added = self.open() && (ctx.unpolled() || self.conn.unpolled && !ctx.waits());
        ordered || unpolled || added || self.conn.held == Held::NEW && !self.opens()
    }

    /// Leaves the turn: hands back the buffers, and sees to it that somebody wakes us.
    #[inline]
    fn yield_turn(&mut self, ctx: &ConnectionContext<P>, budget: Budget, cx: &mut Context<'_>) -> Poll<()> {
        let (heard, now) = (self.conn.guard.state().last_read(), self.conn.guard.now());
        let paused = !self.open() || ctx.waits() || matches!(self.conn.active, Active::Passive);
        let Conn { deadlines, guard, .. } = &mut self.conn;
        let resumed = deadlines.pause(paused, heard, || guard.registry().clock().exact());
        if resumed && deadlines.due(heard).is_some_and(|due| due <= now) {
            // The tick may have come, and may come again, while it stood still.
            guard.state().signal(Signals::DUE);
        }
        if self.conn.deadlines.changed {
            self.conn.deadlines.changed = false;
            self.arm(heard, now);
        }
        if let Some(buffers) = self.conn.buffers.take() {
            self.conn.buffers = buffers.give_back();
        }
        if budget.more {
            // Waking ourselves would be no yield on an arbiter: tokio defers this waker until after I/O.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
        Poll::Pending
    }

    #[cold]
    fn arm(&mut self, heard: u64, now: u64) {
        let mut due = self.conn.deadlines.due(heard);
        if let Some(linger) = self.cold.as_ref().and_then(|cold| cold.linger.due()) {
            due = Some(due.map_or(linger, |due| due.min(linger)));
        }
        // What is overdue waits for the end of a wait.
        if self.cannot_detect_close() || due.is_some_and(|due| due <= now && self.waiting()) {
            due = Some(due.filter(|due| *due > now).map_or(now + PROBE_INTERVAL, |due| due.min(now + PROBE_INTERVAL)));
        }
        self.conn.guard.state().set_due(due);
    }
}
