//! What a connection does while it waits: it polls the future, watches the peer, and bounds the wait once the peer has left.
//!
//! Waits are those that callbacks returned (`conn.wait`, `conn.blocking`), and those of the actix context (`ctx.wait`).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio_util::io::poll_read_buf;

use super::turn::Budget;
use super::wait::{Then, Wait, WaitEnded};
use super::{Active, Closed, Connection, Flags, Paused, Phase, Protocol};
use crate::handshake::HandshakeError;
use crate::net::{Buffers, READ_BUFFER};
use crate::panic::catch_panic;
use crate::registry::{ConnectionPhase, Signals};

impl<P: Protocol> Connection<P> {
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.conn.paused.contains(Paused::WAITING)
    }

    /// Whether a wait was added that has not been polled.
    #[cold]
    pub(super) fn has_unpolled_wait(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.wait_added)
    }

    /// Whether messages are handled. With the option, they are during a wait as well, until another wait is queued behind it.
    /// A connection that is slowed handles them.
    #[inline]
    pub(super) fn takes_messages(&self) -> bool {
        self.conn.paused.is_empty() || self.takes_messages_slow()
    }

    #[cold]
    fn takes_messages_slow(&self) -> bool {
        let paused = self.conn.paused.difference(Paused::SLOWED);
        let waits = self.cold.as_ref().map(|cold| &cold.waits);
        let allows = || waits.is_some_and(|waits| waits.len() == 1 && waits[0].1.options().takes_messages());
        paused.is_empty() || paused == Paused::WAITING && allows()
    }

    /// The options of the wait in progress.
    fn wait_options(&self) -> Option<Wait> {
        let (_, wait) = self.cold.as_ref()?.waits.front()?;
        Some(wait.options())
    }

    /// Records for reports whether the connection waits.
    #[cold]
    pub(super) fn record_waiting(&self, waiting: bool) {
        if self.conn.phase() == Phase::Ready {
            let phase = if waiting { ConnectionPhase::Waiting } else { ConnectionPhase::Open };
            self.conn.guard.state().set_phase(phase);
        }
    }

    /// Polls the futures that callbacks returned, one after the other.
    #[inline]
    pub(super) fn poll_waits(&mut self, cx: &mut Context<'_>, budget: &mut Budget) {
        if self.is_waiting() {
            self.poll_waits_slow(cx, budget);
        }
    }

    fn poll_waits_slow(&mut self, cx: &mut Context<'_>, budget: &mut Budget) {
        while self.is_waiting() {
            if budget.waits == 0 {
                budget.exhausted = true;
                return;
            }
            let cold = self.cold();
            cold.wait_added = false;
            let Some((_, wait)) = cold.waits.front_mut() else { return };
            match catch_panic(|| wait.future().poll(cx)) {
                Err(text) => return self.end(Closed::Panic(text)),
                Ok(Poll::Ready(then)) => {
                    budget.waits -= 1;
                    self.finish_wait(then);
                }
                Ok(Poll::Pending) => {
                    self.watch_peer(cx);
                    match self.wait_ended() {
                        Some(why) => self.end_wait(why),
                        None => return self.bound_wait(cx),
                    }
                }
            }
        }
    }

    /// Why the wait in progress ends before its future is done, according to its options.
    fn wait_ended(&self) -> Option<WaitEnded> {
        let (options, cold) = (self.wait_options()?, self.cold.as_ref()?);
        let is_draining = || self.has(Flags::DRAINING) || self.conn.guard.state().signals().contains(Signals::DRAIN);
        if options.ends_when_peer_leaves() && cold.peer_left != 0 {
            Some(WaitEnded::PeerLeft)
        } else if options.ends_when_draining() && is_draining() {
            Some(WaitEnded::Draining)
        } else {
            None
        }
    }

    /// Ends the wait in progress, which has options.
    fn end_wait(&mut self, why: WaitEnded) {
        let Some((_, wait)) = self.cold().waits.front_mut() else { return };
        wait.set_ended(why);
        match catch_panic(|| wait.future().poll(&mut Context::from_waker(Waker::noop()))) {
            Err(text) => self.end(Closed::Panic(text)),
            Ok(Poll::Ready(then)) => self.finish_wait(then),
            Ok(Poll::Pending) => {}
        }
    }

    fn finish_wait(&mut self, then: Then<P>) {
        let cold = self.cold();
        let Some((trigger, _)) = cold.waits.pop_front() else { return };
        (cold.wait_since, cold.blind_since, cold.init_limit) = (0, 0, None);
        if cold.waits.is_empty() {
            self.conn.paused.remove(Paused::WAITING);
            self.record_waiting(false);
        }
        self.conn.guard.deadlines.mark_changed();
        self.call_caught(trigger, then);
    }

    /// Ends the connection because the peer is lost. The closure of a wait with `until_peer_leaves` is called first.
    #[cold]
    pub(super) fn lose_peer(&mut self, why: Closed) {
        if !self.conn.is_closing() && self.wait_options().is_some_and(|options| options.ends_when_peer_leaves()) {
            self.end_wait(WaitEnded::PeerLeft);
        }
        self.end(why);
    }

    /// Watches the peer during a wait of the context.
    #[cold]
    pub(super) fn watch_context_wait(&mut self, cx: &mut Context<'_>) {
        self.watch_peer(cx);
        self.bound_wait(cx);
    }

    /// Checks during a wait whether the peer has left: by reading ahead, at most one buffer, else by asking the stream.
    fn watch_peer(&mut self, cx: &mut Context<'_>) {
        if self.conn.phase() < Phase::Ready {
            self.read_before_handshake(cx);
        } else {
            self.read_ahead(cx);
        }
        if self.conn.is_closing() {
            return;
        }
        let now = self.conn.guard.now();
        let has_left = match (self.has(Flags::EOF), self.reads_ahead()) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => self.conn.io.is_read_closed(),
        };
        let is_blind = self.has(Flags::EOF) || !self.reads_ahead();
        let cold = self.cold();
        cold.wait_since = if cold.wait_since == 0 { now } else { cold.wait_since };
        match has_left {
            Some(true) if cold.peer_left == 0 => cold.peer_left = now,
            Some(true) => {}
            Some(false) => cold.blind_since = 0,
            None if cold.blind_since == 0 => cold.blind_since = now,
            None => {}
        }
        if is_blind {
            // For the probe, and for the deadline of the wait.
            self.conn.guard.deadlines.mark_changed();
        }
    }

    /// Whether a wait reads ahead now. Not while the connection is passive, the buffer is full, or the bytes belong to an
    /// upgrade.
    fn reads_ahead(&mut self) -> bool {
        if self.conn.unread().is_some_and(|read| read.len() >= READ_BUFFER) {
            return false;
        }
        self.conn.phase() < Phase::Ready || !matches!(self.conn.active, Active::Passive) && !self.is_upgrading()
    }

    pub(super) fn read_ahead(&mut self, cx: &mut Context<'_>) {
        while !self.has(Flags::EOF) && self.conn.phase() < Phase::Closed && self.reads_ahead() {
            if self.read(cx, true).is_pending() {
                return;
            }
        }
    }

    /// Reads ahead while `init` waits. The bytes may belong to a handshake: they are not counted yet.
    fn read_before_handshake(&mut self, cx: &mut Context<'_>) {
        while !self.has(Flags::EOF) && self.reads_ahead() {
            let conn = &mut self.conn;
            let buffers = conn.buffers.get_or_insert_with(Buffers::borrow);
            buffers.reserve();
            match poll_read_buf(Pin::new(&mut conn.io), cx, &mut buffers.read) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => conn.flags.insert(Flags::EOF),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return self.lose_peer(Closed::from_io(error)),
            }
        }
        // The peer has sent no request, so no answer is due.
        let has_left = self.has(Flags::EOF) && self.conn.unread().is_none() && !self.conn.config.settings.half_close;
        if has_left && !self.wait_options().is_some_and(|options| options.ends_when_peer_leaves()) {
            self.close(Closed::Peer(None));
        }
    }

    /// Forgets a wait of the context that is over.
    #[cold]
    pub(super) fn forget_context_wait(&mut self) {
        if let Some(cold) = self.cold.as_mut().filter(|cold| cold.waits.is_empty()) {
            (cold.wait_since, cold.blind_since) = (0, 0);
        }
    }

    /// Ends the connection if the time of the wait is over.
    fn bound_wait(&mut self, cx: &mut Context<'_>) {
        let now = self.conn.guard.now();
        if self.wait_deadline().is_some_and(|deadline| deadline <= now) {
            self.close(Closed::Idle);
        } else if self.conn.phase() == Phase::Handshaking {
            self.bound_init(cx);
        }
    }

    /// When a wait is given up because the peer has left, or may have: after the idle timeout, unless the wait has a
    /// limit of its own. Only meaningful during a wait.
    ///
    /// Counted from the FIN, or from the start of a wait that began after it.
    pub(super) fn wait_deadline(&self) -> Option<u64> {
        let cold = self.cold.as_ref()?;
        if self.wait_options().is_some_and(|options| options.is_limited()) {
            return None;
        }
        let since = match cold.peer_left {
            0 => cold.blind_since,
            left => left.max(cold.wait_since),
        };
        self.conn.guard.deadlines.idle_deadline_after(since)
    }

    /// Ends a connection whose `init` waits for longer than the handshake timeout, counted from the accept on.
    fn bound_init(&mut self, cx: &mut Context<'_>) {
        let Some(limit) = self.conn.config.handshake_timeout() else { return };
        let left = limit.saturating_sub(self.conn.guard.age());
        let timer = self.cold().init_limit.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
        if timer.as_mut().poll(cx).is_ready() {
            self.end(Closed::Handshake(HandshakeError::Timeout(limit)));
        }
    }

    /// Whether reads cannot detect that the peer is gone, so that the socket must be probed.
    pub(super) fn cannot_detect_close(&mut self, waiting: bool) -> bool {
        let unread = self.is_passive() || self.conn.paused.contains(Paused::SLOWED) || self.has(Flags::EOF);
        !self.conn.is_closing() && (unread || waiting && !self.reads_ahead())
    }
}
