//! The pool's hold on a socket that it does not drive itself: limits, orders, and how it ended.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tracing::{debug, error, info, warn};

use super::wakers::SocketWakers;
use crate::registry::{ActivityGuard, ConnectionGuard, ConnectionState, Signals};
use crate::telemetry::{CloseReason, RefusalReason};
use crate::time::{Deadlines, Expired};

/// The limits that act in a socket; milliseconds, 0 for "never".
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketLimits {
    pub(crate) idle: u32,
    pub(crate) send: u32,
    pub(crate) max_age: u32,
}

impl SocketLimits {
    pub(crate) fn shortest(&self) -> u32 {
        [self.idle, self.send, self.max_age].into_iter().filter(|limit| *limit > 0).min().unwrap_or(0)
    }
}

/// Held by the socket, and by the task that serves it: whoever goes last gives the seat back.
pub(crate) struct SocketState {
    bell: Arc<SocketWakers>,
    deadlines: RefCell<Deadlines>,
    /// The peer was seen to leave.
    left: Cell<bool>,
    /// And cut TLS short: what fails then fails for that.
    cut_short: Cell<bool>,
    /// What the pool did to it: its reads and writes fail.
    ended: Cell<Option<CloseReason>>,
    /// How it ended, said by who knows.
    noted: Cell<Option<CloseReason>>,
    refused: Cell<Option<RefusalReason>>,
    why: RefCell<Option<String>>,
    guard: ConnectionGuard,
}

impl SocketState {
    pub(super) fn new(guard: ConnectionGuard, limits: SocketLimits) -> Self {
        let opened = guard.state().opened();
        let mut deadlines = Deadlines::new(limits.idle, 0, limits.send, opened, limits.max_age);
        // The peer's silence counts while somebody listens.
        deadlines.set_paused(true, opened, || opened);
        let bell = SocketWakers::hang(guard.state());
        let shared = SocketState {
            bell,
            deadlines: RefCell::new(deadlines),
            left: Cell::new(false),
            cut_short: Cell::new(false),
            ended: Cell::new(None),
            noted: Cell::new(None),
            refused: Cell::new(None),
            why: RefCell::new(None),
            guard,
        };
        shared.arm();
        shared
    }

    /// It is handed over to whoever serves it.
    pub(crate) fn ready(&self) {
        self.guard.ready();
    }

    /// A rule or a limit keeps out whom the peer claims to be: it counts as refused, not as closed.
    pub(super) fn refuse(&self, refusal: RefusalReason) {
        self.refused.set(Some(refusal));
    }

    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        self.guard.state()
    }

    /// Marks the connection as being at work, until the mark is dropped.
    pub(crate) fn at_work(&self) -> ActivityGuard<'_> {
        self.guard.at_work()
    }

    pub(super) fn listener(&self) -> &str {
        self.state().port().name()
    }

    pub(super) fn draining(&self) -> impl Future<Output = ()> + 'static {
        self.bell.rung(self.state().clone(), Signals::DRAIN | Signals::END)
    }

    pub(crate) fn killed(&self) -> impl Future<Output = ()> + 'static {
        self.bell.rung(self.state().clone(), Signals::END)
    }

    /// How it ended, said by who knows. The first word counts.
    pub(crate) fn note(&self, reason: CloseReason, why: Option<String>) {
        if self.noted.get().is_none() {
            let is_its_fruit = self.cut_short.get() && matches!(reason, CloseReason::Error | CloseReason::Peer);
            self.noted.set(Some(if is_its_fruit { CloseReason::Truncated } else { reason }));
            self.why.replace(why);
        }
    }

    /// Signals and deadlines, as errors of the read or write that meets them.
    pub(super) fn check(&self) -> io::Result<()> {
        let orders = self.state().signals();
        if orders & Signals::END != 0 {
            self.ended.set(self.ended.get().or(Some(CloseReason::Killed)));
        } else if orders & Signals::DUE != 0 {
            self.state().clear(Signals::DUE);
            self.expire();
        }
        match self.ended.get() {
            Some(CloseReason::Killed) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "ended by the pool")),
            Some(reason) => Err(io::Error::new(io::ErrorKind::TimedOut, reason.name())),
            None => Ok(()),
        }
    }

    fn expire(&self) {
        let expired = self.deadlines.borrow().expired(self.state().last_read(), self.guard.now());
        match expired {
            Some(Expired::Age) => self.ended.set(Some(CloseReason::MaxAge)),
            Some(Expired::Send) => self.ended.set(Some(CloseReason::SendTimeout)),
            Some(Expired::Idle) => self.ended.set(Some(CloseReason::Idle)),
            Some(Expired::Packet) | None => self.arm(),
        }
    }

    pub(super) fn waits_to_read<T>(&self, cx: &Context<'_>) -> Poll<io::Result<T>> {
        self.bell.reader.register(cx.waker());
        self.pause(false);
        self.waits()
    }

    pub(super) fn waits_to_write<T>(&self, cx: &Context<'_>) -> Poll<io::Result<T>> {
        self.bell.writer.register(cx.waker());
        self.deadlines.borrow_mut().wrote(false, true, self.guard.now());
        self.waits()
    }

    /// Looks once more, now that an order would wake us.
    fn waits<T>(&self) -> Poll<io::Result<T>> {
        if std::mem::take(&mut self.deadlines.borrow_mut().changed) {
            self.arm();
        }
        match self.check() {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    pub(super) fn has_read(&self, bytes: usize, room: usize) {
        let now = self.guard.now();
        if bytes > 0 {
            self.state().received(bytes, now);
        } else if room > 0 {
            self.left.set(true);
        }
        self.pause(true);
    }

    /// The peer's silence counts while somebody listens. A pause begins where the peer was heard, so stamps do.
    fn pause(&self, paused: bool) {
        self.deadlines.borrow_mut().set_paused(paused, self.state().last_read(), || self.guard.now());
    }

    /// Counts bytes before the peer can have them; answers with the count as it was, for what was not taken.
    pub(super) fn is_writing(&self, bytes: usize) -> u64 {
        let before = self.state().bytes_out();
        self.state().set_bytes_out(before + bytes as u64);
        before
    }

    pub(super) fn has_written(&self, before: u64, bytes: usize) {
        self.state().set_bytes_out(before + bytes as u64);
        if bytes > 0 {
            self.deadlines.borrow_mut().wrote(true, false, self.guard.now());
        }
    }

    /// Nothing waits to be written any more.
    pub(super) fn is_out(&self) {
        self.deadlines.borrow_mut().wrote(true, false, self.guard.now());
    }

    pub(super) fn cut_short(&self) {
        self.cut_short.set(true);
    }

    pub(super) fn failed(&self, error: io::Error) -> io::Error {
        use io::ErrorKind::*;
        if matches!(error.kind(), ConnectionReset | BrokenPipe | ConnectionAborted | NotConnected) {
            self.left.set(true);
        }
        error
    }

    fn arm(&self) {
        let due = self.deadlines.borrow().due(self.state().last_read());
        self.state().set_due(due);
    }

    /// Nobody said how it ended: it is told from what was seen.
    fn reason(&self) -> CloseReason {
        let orders = self.state().signals();
        match self.ended.get().or(self.noted.get()) {
            Some(reason) => reason,
            None if std::thread::panicking() => CloseReason::Panic,
            None if orders & Signals::END != 0 => CloseReason::Killed,
            None if orders & Signals::DRAIN != 0 => CloseReason::Shutdown,
            None if self.cut_short.get() => CloseReason::Truncated,
            None if self.left.get() => CloseReason::Peer,
            None => CloseReason::Local,
        }
    }
}

impl Drop for SocketState {
    fn drop(&mut self) {
        let reason = self.reason();
        self.guard.note(reason);
        let entry = self.guard.state();
        // Whoever still waits for the drain need not wait any longer.
        entry.signal(Signals::KILL);
        if let Some(refusal) = self.refused.get() {
            // By a budget of its own: those of errors are for errors.
            if let Some(left_out) = self.guard.registry().shared().endings.allow(CloseReason::Handshake) {
                let (id, peer, listener, reason) = (entry.id(), entry.peer(), &**entry.port().name(), refusal.name());
                info!(%id, %peer, listener, left_out, "refused: {reason}");
            }
            return self.guard.refuse(refusal);
        }
        let (id, peer, listener, reason_name) = (entry.id(), entry.peer(), &**entry.port().name(), reason.name());
        let (bytes_in, bytes_out) = (entry.bytes_in(), entry.bytes_out());
        let why = self.why.get_mut().take().unwrap_or_default();
        macro_rules! line {
            ($level:ident) => {
                $level!(%id, %peer, listener, bytes_in, bytes_out, reason = reason_name, "connection closed: {why}")
            };
        }
        macro_rules! some {
            ($level:ident) => {
                if let Some(left_out) = self.guard.registry().shared().endings.allow(reason) {
                    $level!(%id, %peer, listener, bytes_in, bytes_out, reason = reason_name, left_out, "connection closed: {why}")
                }
            };
        }
        match reason {
            CloseReason::Panic => some!(error),
            CloseReason::Error => some!(warn),
            _ => line!(debug),
        }
    }
}
