//! What other parts of the program use of one connection: its outbox, its label, its groups, and the reason for which they end it.

use std::sync::atomic::Ordering::*;
use std::sync::Arc;

use bytes::Bytes;

use super::acks::Ack;
use super::format::{AtomicFormat, Format};
use super::groups::Groups;
use super::outbox::{OutboxQueue, Payload, Pushed};
use super::{Batch, ConnectionPhase, ConnectionState, Registry, Signals};
use crate::config::{Settings, SlowConsumer};
use crate::sync::{fence, AtomicBool, AtomicU32, AtomicU64, AtomicU8, AtomicUsize, Mutex, OnceBox};
use crate::telemetry::CloseReason;

/// The part of a [`ConnectionState`] that messages use. A connection that nothing was sent to has no [`Extras`].
#[derive(Debug, Default)]
pub(super) struct Messaging {
    extras: OnceBox<Extras>,
    phase: AtomicU8,
    format: AtomicFormat,
    /// Why the connection was killed: a [`CloseReason`], plus 1.
    cause: AtomicU8,
    /// It was asked to close.
    asked_to_close: AtomicBool,
    /// The bytes that its own callbacks have queued and that are not yet with the kernel.
    own_unsent: AtomicU32,
}

#[derive(Debug, Default)]
struct Extras {
    outbox: OutboxQueue,
    label: Mutex<Option<Arc<str>>>,
    groups: Groups,
}

/// The limit of the outboxes of a pool, and what happens at the limit.
#[derive(Debug)]
pub(crate) struct OutboxLimit {
    bytes: AtomicUsize,
    closes: AtomicBool,
    dropped: AtomicU64,
}

impl OutboxLimit {
    pub(crate) fn new(settings: &Settings) -> Self {
        let limit = OutboxLimit { bytes: AtomicUsize::new(0), closes: false.into(), dropped: 0.into() };
        limit.set(settings);
        limit
    }

    /// Takes effect for the next reply of every connection.
    pub(crate) fn set(&self, settings: &Settings) {
        self.bytes.store(settings.outbox, Relaxed);
        self.closes.store(settings.slow_consumer == SlowConsumer::Close, Relaxed);
    }

    /// The number of replies that were left out, over all connections so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

impl ConnectionState {
    fn extras(&self) -> &Extras {
        let extras = self.messaging.extras.get_or_init(Box::default);
        // Pairs with `begin_closing` and `forget_format`: either they see the outbox, or the next check here sees what they have
        // changed.
        fence(SeqCst);
        extras
    }

    /// The outbox, if something was sent to the connection.
    #[inline]
    pub(crate) fn outbox(&self) -> Option<&OutboxQueue> {
        self.messaging.extras.get().map(|extras| &extras.outbox)
    }

    /// The topics and names of the connection, if it has or had any.
    pub(super) fn groups(&self) -> Option<&Groups> {
        self.messaging.extras.get().map(|extras| &extras.groups)
    }

    pub(super) fn groups_or_new(&self) -> &Groups {
        &self.extras().groups
    }

    /// Arranges that `ack` is resolved when everything in the outbox, and the connection's bytes up to this position, have been
    /// handed to the kernel. Called by the connection, which then handles [`Signals::OUTBOX`].
    pub(crate) fn acknowledge(&self, position: u64, ack: Ack) {
        let outbox = &self.extras().outbox;
        outbox.acknowledge_at(position, outbox.mark(ack));
        self.add_signals(Signals::OUTBOX);
    }

    /// Whether nothing more is accepted for the connection.
    pub(crate) fn is_closing(&self) -> bool {
        self.phase() == ConnectionPhase::Closing || self.signals().contains(Signals::KILL)
    }

    /// Whether the connection is closing, or will be once it handles the request to close. Then it has no names any more.
    pub(crate) fn is_ending(&self) -> bool {
        self.messaging.asked_to_close.load(Acquire) || self.is_closing()
    }

    pub(super) fn set_asked_to_close(&self) {
        self.messaging.asked_to_close.store(true, Release);
    }

    pub(crate) fn phase(&self) -> ConnectionPhase {
        match self.messaging.phase.load(Acquire) {
            0 => ConnectionPhase::Handshaking,
            1 => ConnectionPhase::Open,
            2 => ConnectionPhase::Waiting,
            _ => ConnectionPhase::Closing,
        }
    }

    /// Records the phase, which never leaves [`ConnectionPhase::Closing`].
    pub(crate) fn set_phase(&self, phase: ConnectionPhase) {
        if self.phase() != ConnectionPhase::Closing {
            self.messaging.phase.store(phase as u8, Release);
        }
    }

    /// Why the connection does not accept a payload now.
    #[inline]
    fn rejects(&self, payload: &Payload<'_>) -> Option<Pushed> {
        if self.is_closing() {
            return Some(Pushed::Closed);
        }
        match payload {
            Payload::Encoded(_, Some(format)) if *format != self.format() => Some(Pushed::FormatChanged),
            Payload::Reply(reply, _) if !self.has_replies_of((**reply).type_id()) => Some(Pushed::OtherType),
            _ => None,
        }
    }

    /// Closes the outbox to senders. What is queued stays.
    pub(crate) fn begin_closing(&self) {
        self.set_phase(ConnectionPhase::Closing);
        fence(SeqCst);
        if let Some(outbox) = self.outbox() {
            outbox.close();
        }
    }

    /// See [`ConnectionGuard::send_last`](super::ConnectionGuard::send_last).
    pub(super) fn send_last(&self, bytes: &Bytes) {
        if !self.is_closing() {
            self.extras().outbox.push_last(bytes);
        }
    }

    /// Drops what is queued.
    pub(super) fn discard_outbox(&self) {
        self.begin_closing();
        if let Some(outbox) = self.outbox() {
            outbox.discard();
        }
    }

    pub(crate) fn label(&self) -> Option<Arc<str>> {
        self.messaging.extras.get().and_then(|extras| extras.label.lock().clone())
    }

    pub(super) fn set_label(&self, label: Option<Arc<str>>) {
        *self.extras().label.lock() = label;
    }

    /// The bytes that are queued and not yet with the kernel, including the outbox.
    pub(crate) fn unsent(&self) -> u64 {
        let pending = self.outbox().map_or(0, OutboxQueue::pending);
        u64::from(self.messaging.own_unsent.load(Relaxed)) + pending as u64
    }

    /// Records the bytes that the connection's own callbacks have queued, after a write.
    #[inline]
    pub(crate) fn set_own_unsent(&self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if self.messaging.own_unsent.load(Relaxed) != bytes {
            self.messaging.own_unsent.store(bytes, Relaxed);
        }
    }

    /// The number of replies that did not fit into its outbox.
    pub(crate) fn dropped(&self) -> u64 {
        self.outbox().map_or(0, OutboxQueue::dropped)
    }

    pub(crate) fn format(&self) -> Format {
        self.messaging.format.get()
    }

    pub(crate) fn set_format(&self, format: Format) {
        self.messaging.format.set(format);
    }

    /// Records that only the connection's own codec can encode its replies. What others have encoded before is in the outbox
    /// now, or is not accepted.
    pub(crate) fn forget_format(&self) {
        self.set_format(Format::OWN);
        fence(SeqCst);
    }

    /// Why the connection was killed.
    pub(crate) fn cause(&self) -> CloseReason {
        let cause = usize::from(self.messaging.cause.load(Acquire));
        cause.checked_sub(1).and_then(|cause| CloseReason::ALL.get(cause)).copied().unwrap_or(CloseReason::Killed)
    }

    /// Ends the connection at once for this reason, without waking it. Returns false if it was ended before.
    fn end_unwoken(&self, reason: CloseReason) -> bool {
        let is_first = self.messaging.cause.compare_exchange(0, reason as u8 + 1, AcqRel, Acquire).is_ok();
        is_first && self.add_signals(Signals::KILL)
    }

    /// Ends the connection at once for this reason. Returns false if it was ended before.
    pub(crate) fn end(&self, reason: CloseReason) -> bool {
        let ended = self.end_unwoken(reason);
        if ended {
            self.wake();
        }
        ended
    }
}

/// Replies that were left out.
impl OutboxQueue {
    pub(crate) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// The number of replies that were left out because there was no room for them.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// The number of replies that were left out since the last call, for a report. Called by the connection only.
    pub(crate) fn take_dropped(&self) -> u64 {
        let dropped = self.dropped();
        dropped - self.reported.swap(dropped, Relaxed)
    }
}

impl Registry {
    /// Kills a connection of this registry. Returns false if it was killed before.
    pub(crate) fn kill(&self, state: &ConnectionState) -> bool {
        let killed = state.signal(Signals::KILL);
        // The next reply of a burst does not count it.
        self.flush_deferred();
        killed
    }

    /// Queues a payload for one connection, and wakes it.
    pub(crate) fn send_now<'a>(&self, state: &ConnectionState, payload: Payload<'a>) -> (Pushed, Option<Payload<'a>>) {
        self.flush_deferred();
        let (pushed, rejected, signalled) = self.push(state, payload);
        if signalled {
            state.wake();
        }
        (pushed, rejected)
    }

    /// The bytes for which a connection's outbox has room.
    pub(crate) fn outbox_room(&self, state: &ConnectionState) -> usize {
        let pending = state.outbox().map_or(0, OutboxQueue::pending);
        self.shared.outbox_limit.bytes.load(Relaxed).saturating_sub(pending)
    }

    /// Queues a payload as [`send_now`](Self::send_now) does. Takes `ack` once it is queued.
    pub(crate) fn send_acknowledged<'a>(
        &self,
        state: &ConnectionState,
        payload: Payload<'a>,
        ack: &mut Option<Ack>,
    ) -> (Pushed, Option<Payload<'a>>) {
        self.flush_deferred();
        let (limit, outbox) = (self.shared.outbox_limit.bytes.load(Relaxed), &state.extras().outbox);
        let (pushed, rejected) = outbox.push_acknowledged(payload, ack, limit, |payload| state.rejects(payload));
        if self.signals(state, outbox, &pushed) {
            state.wake();
        }
        (pushed, rejected)
    }

    /// Queues a payload. Also returns whether the connection must be woken.
    #[inline]
    fn push<'a>(&self, state: &ConnectionState, payload: Payload<'a>) -> (Pushed, Option<Payload<'a>>, bool) {
        let (limit, outbox) = (self.shared.outbox_limit.bytes.load(Relaxed), &state.extras().outbox);
        let (pushed, rejected) = outbox.push(payload, limit, |payload| state.rejects(payload));
        let signalled = self.signals(state, outbox, &pushed);
        (pushed, rejected, signalled)
    }

    /// Sets the signal that follows from the outcome of a push, or counts the payload as left out. Returns whether the connection
    /// must be woken.
    #[inline(always)]
    fn signals(&self, state: &ConnectionState, outbox: &OutboxQueue, pushed: &Pushed) -> bool {
        let limit = &self.shared.outbox_limit;
        match pushed {
            Pushed::Queued => state.add_signals(Signals::OUTBOX),
            Pushed::Full if limit.closes.load(Relaxed) => state.end_unwoken(CloseReason::SlowConsumer),
            Pushed::Full | Pushed::TooLarge => {
                outbox.count_dropped();
                limit.dropped.fetch_add(1, Relaxed);
                // The connection reports it. A full outbox has set the signal before.
                state.add_signals(Signals::OUTBOX)
            }
            Pushed::Closed | Pushed::FormatChanged | Pushed::OtherType => false,
        }
    }
}

impl Batch<'_> {
    /// Queues a payload in the outbox of a connection of this registry. A payload that is not queued is given back.
    #[inline]
    pub(crate) fn send<'a>(
        &mut self,
        state: &Arc<ConnectionState>,
        payload: Payload<'a>,
    ) -> (Pushed, Option<Payload<'a>>) {
        let (pushed, rejected, signalled) = self.registry().push(state, payload);
        if signalled {
            self.wake_later(state);
        }
        (pushed, rejected)
    }
}
