//! One turn of a connection: signals, handshake, waits, messages, packets, one write.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};

use super::{Active, Closed, Conn, Connection, ConnectionContext, Flags, Paused, Phase, Protocol, Timeout, Trigger};
use crate::registry::Signals;
use crate::time::Expired;

/// Bytes that a turn reads before other connections run.
const MAX_BYTES: usize = 64 * 1024;
/// Packets that a turn delivers.
const MAX_PACKETS: u32 = 128;
/// Messages that a turn handles from the mailbox, and from the streams. More would starve the socket, fewer would cost
/// more turns.
const MAX_MESSAGES: u32 = 64;
/// Waits that a turn completes.
const MAX_WAITS: u32 = 128;

/// Milliseconds between probes of a socket that is not being read, to see whether the peer has reset it.
const PROBE_INTERVAL: u64 = 250;

/// The work that is left to a turn.
pub(super) struct Budget {
    pub(super) bytes: usize,
    pub(super) packets: u32,
    pub(super) messages: u32,
    pub(super) items: u32,
    /// Futures of the context that were spawned by others.
    pub(super) futures: u32,
    pub(super) waits: u32,
    /// The budget was used up before the work was done: another turn is needed, after other connections have run.
    pub(super) exhausted: bool,
}

impl Budget {
    fn new() -> Self {
        Budget {
            bytes: MAX_BYTES,
            packets: MAX_PACKETS,
            messages: MAX_MESSAGES,
            items: MAX_MESSAGES,
            futures: MAX_MESSAGES,
            waits: MAX_WAITS,
            exhausted: false,
        }
    }
}

impl<P: Protocol> Connection<P> {
    /// Runs one turn: the calls below, in this order, until there is no work that can be done now.
    // Not inlined: merged into `poll` it costs 7 instructions more per pipelined packet.
    #[inline(never)]
    pub(super) fn turn(&mut self, ctx: &mut ConnectionContext<P>, cx: &mut Context<'_>) -> Poll<()> {
        let mut budget = Budget::new();
        loop {
            self.handle_signals(ctx);
            self.poll_waits(cx, &mut budget);
            self.prepare(cx);
            self.take_mail(ctx, cx, &mut budget);
            self.take_packets(ctx, cx, &mut budget);
            // The answer of a wait that is ready at once shares the write with the answers to the packets around it.
            if self.is_waiting() && self.has_unpolled_wait() && !budget.exhausted {
                continue;
            }
            let reopened = self.write(cx) | self.poll_upgrade(cx);
            if self.poll_closed(cx).is_ready() {
                return Poll::Ready(());
            }
            if !(reopened || self.has_more(ctx)) || budget.exhausted {
                return self.yield_turn(ctx, budget, cx);
            }
        }
    }

    /// Handles the signals of the registry. Those that cannot be handled during a wait stay set.
    #[inline]
    fn handle_signals(&mut self, ctx: &ConnectionContext<P>) {
        self.conn.guard.registry().flush_deferred();
        let signals = self.conn.guard.state().signals();
        if !signals.is_empty() && self.conn.phase() < Phase::Closed {
            self.handle_signals_slow(signals, ctx.is_waiting());
        }
    }

    #[cold]
    fn handle_signals_slow(&mut self, signals: Signals, context_waits: bool) {
        let waiting = self.is_waiting() || context_waits;
        let state = self.conn.guard.state().clone();
        if signals.contains(Signals::KILL) {
            return self.end(Closed::killed(state.cause()));
        }
        // An end that sends needs the waker, which `init` follows.
        let has_waker = self.conn.phase() > Phase::New;
        if signals.contains(Signals::STOP) && has_waker {
            self.close(Closed::Killed);
        }
        if signals.contains(Signals::CLOSE_REQUESTED) && has_waker {
            state.clear(Signals::CLOSE_REQUESTED);
            self.close_on_request();
        }
        if signals.contains(Signals::OUTBOX) {
            state.clear(Signals::OUTBOX);
            self.outbox_signalled(&state);
        }
        if signals.contains(Signals::MAIL) {
            state.clear(Signals::MAIL);
            self.conn.flags.insert(Flags::MAIL);
        }
        if signals.contains(Signals::DEADLINE) {
            state.clear(Signals::DEADLINE);
            self.expire(waiting);
        }
        let can_drain = self.conn.phase() >= Phase::Ready;
        if signals.contains(Signals::DRAIN) && can_drain && !self.is_upgrading() && !waiting {
            state.clear(Signals::DRAIN);
            self.conn.flags.insert(Flags::DRAINING);
            if !self.conn.is_closing() {
                let deadline = self.conn.guard.registry().drain_deadline();
                self.call_caught(Trigger::Shutdown, |me, conn| me.shutdown(deadline, conn));
            }
        }
    }

    /// Handles a deadline that may have passed.
    fn expire(&mut self, waiting: bool) {
        let guard = &self.conn.guard;
        guard.deadlines.mark_changed();
        let (last_read, now) = (guard.state().last_read(), guard.now());
        if self.conn.is_closing() {
            return self.expire_closing(now);
        }
        if self.cannot_detect_close(waiting)
            && let Some(error) = self.conn.io.take_error()
        {
            return self.lose_peer(Closed::from_io(error));
        }
        match self.conn.guard.deadlines.expired(last_read, now) {
            None if waiting => {}
            None => self.watch_passive(now),
            Some(Expired::Age) => self.close(Closed::MaxAge),
            Some(Expired::Send) => self.end(Closed::SendTimeout),
            Some(Expired::Idle) => {
                self.conn.guard.deadlines.restart_idle(now);
                self.call_caught(Trigger::Idle, |me, conn| me.timeout(Timeout::Idle, conn));
            }
            Some(Expired::Packet) => {
                let partial = self.conn.unread().map(|read| read.split().freeze()).unwrap_or_default();
                self.conn.guard.deadlines.decoded(false, false, || now);
                if let Err(text) = self.restart_codec() {
                    return self.end(Closed::Panic(text));
                }
                self.call_caught(Trigger::PacketTimeout, |me, conn| me.timeout(Timeout::Packet(partial), conn));
            }
        }
    }

    /// Makes the connection ready: `init`, then the handshake, then `ack`. A wait returned by `init` comes before the
    /// handshake.
    #[inline]
    fn prepare(&mut self, cx: &mut Context<'_>) {
        if self.conn.phase() < Phase::Ready {
            self.prepare_slow(cx);
        }
    }

    #[cold]
    fn prepare_slow(&mut self, cx: &mut Context<'_>) {
        if self.conn.phase() == Phase::New {
            self.conn.enter(Phase::Handshaking);
            self.conn.guard.state().set_waker(cx.waker().clone());
            self.call_caught(Trigger::Init, |me, conn| me.init(conn));
        }
        if self.conn.phase() != Phase::Handshaking || self.is_waiting() {
            return;
        }
        if self.has_handshake() {
            if self.poll_handshake(cx).is_pending() {
                return;
            }
        } else {
            self.count_read_ahead();
        }
        self.conn.enter(Phase::Ready);
        self.conn.guard.set_ready();
        self.begin_shutdown();
        if self.begin_detach() {
            return;
        }
        self.call_caught(Trigger::Ack, |me, conn| me.ack(conn));
    }

    #[inline]
    pub(super) fn is_upgrading(&self) -> bool {
        self.conn.paused.contains(Paused::UPGRADING)
    }

    /// Whether there is work left that can be done in this turn.
    #[inline]
    fn has_more(&self, ctx: &ConnectionContext<P>) -> bool {
        let signals = self.conn.guard.state().signals();
        if self.is_open() && signals.is_empty() && !self.has(Flags::STREAM_ADDED) && !ctx.has_futures() {
            return false;
        }
        self.has_more_slow(signals, ctx)
    }

    fn has_more_slow(&self, signals: Signals, ctx: &ConnectionContext<P>) -> bool {
        let mut handled_later = Signals::FORCED;
        if self.conn.is_closing() {
            handled_later |= Signals::STOP;
        }
        if self.conn.phase() < Phase::Ready || self.is_upgrading() || self.is_waiting() || ctx.is_waiting() {
            handled_later |= Signals::DRAIN;
        }
        let signalled = !signals.difference(handled_later).is_empty();
        let takes_messages = self.takes_messages();
        let added = takes_messages && (ctx.has_unpolled() || self.has(Flags::STREAM_ADDED) && !ctx.is_waiting());
        let spawned = self.conn.background.as_ref().is_some_and(|background| background.future_added());
        signalled || self.is_waiting() && self.has_unpolled_wait() || added || spawned
    }

    /// Ends the turn: hands back the buffers and arranges to be woken.
    #[inline]
    fn yield_turn(&mut self, ctx: &ConnectionContext<P>, budget: Budget, cx: &mut Context<'_>) -> Poll<()> {
        let paused = !self.is_open() || ctx.is_waiting() || matches!(self.conn.active, Active::Passive);
        let Conn { guard, .. } = &mut self.conn;
        let last_read = guard.state().last_read();
        let resumed = guard.deadlines.set_paused(paused, last_read, || guard.registry().clock().exact());
        if resumed && guard.deadlines.next(last_read).is_some_and(|deadline| deadline <= guard.now()) {
            // The tick may have passed this deadline while it was paused.
            guard.state().signal(Signals::DEADLINE);
        }
        if guard.deadlines.take_changed() {
            self.arm_deadline(last_read, ctx.is_waiting());
        }
        if let Some(buffers) = self.conn.buffers.take() {
            self.conn.buffers = buffers.give_back();
        }
        if budget.exhausted {
            // `wake_by_ref` would not yield on an arbiter. tokio defers this waker until after I/O.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
        Poll::Pending
    }

    #[cold]
    fn arm_deadline(&mut self, last_read: u64, context_waits: bool) {
        let now = self.conn.guard.now();
        let waiting = self.is_waiting() || context_waits;
        let probe = self.cannot_detect_close(waiting).then_some(now + PROBE_INTERVAL);
        let wait = if waiting { self.wait_deadline() } else { self.slowed_deadline().or(self.passive_deadline()) };
        let cold = self.cold.as_ref();
        let closing = cold.and_then(|cold| cold.closing_deadline());
        let next = self.conn.guard.deadlines.next(last_read);
        let next = [next, probe, wait, closing].into_iter().flatten().min();
        self.conn.guard.registry().set_deadline(self.conn.guard.state(), next);
    }
}
